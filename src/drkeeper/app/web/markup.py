"""HTML of the pages: elements as :mod:`drkeeper.markup` makes them, and links to our own pages."""

from urllib.parse import quote, urlencode

from drkeeper.markup import Child, Markup, document, escaped, tag, visible

__all__ = ["Child", "Markup", "address", "document", "escaped", "link", "tag", "visible"]


def address(*parts: str, **query: str | int | None) -> str:
    """Return the path of a page: ``address("policy", "a/b")`` is ``/policy/a%2Fb``.

    Args:
        parts: The steps of the path, each of any characters.
        query: Its parameters; those that are ``None`` or empty are left out.
    """
    path = "/" + "/".join(quote(part, safe="", errors="replace") for part in parts)
    given = {key: str(value) for key, value in query.items() if value not in {None, ""}}
    return f"{path}?{urlencode(given, errors='replace')}" if given else path


def link(text: Child, *parts: str, **query: str | int | None) -> Markup:
    """Return a link to one of our own pages."""
    return tag("a", text, href=address(*parts, **query))
