"""HTML and SVG that cannot be broken out of: every text is escaped unless it was built here.

Names of files, policies and hosts, error messages and logs come from outside. There is one way to
make an element, :func:`tag`, and it escapes; there is no way to paste strings together into one.
"""

import html
import re
import unicodedata
from collections.abc import Iterable
from typing import Final, TypeAlias, Union


class Markup(str):
    """Text that is HTML already; only this module makes it."""

    __slots__ = ()


Child: TypeAlias = Union[str, int, Iterable["Child"], None]  # noqa: UP007 - a name in quotes
"""What may stand in an element: texts (escaped), elements, nothing, or any nesting of these."""

_SHAPES: Final = frozenset({"rect", "line", "circle", "path", "polyline"})
"""Shapes of SVG, which is written with a slash at their end."""
_EMPTY: Final = frozenset({"meta", "link", "br", "hr", "input", "col"}) | _SHAPES
"""Elements without content. Source: HTML, "Void elements"; SVG's shapes."""

_NAME: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9-]*")
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp", "Co", "Cn"})
"""Categories of characters that show nothing or move what is shown. Source: Unicode, 4.5."""


def visible(text: str) -> str:
    r"""Return ``text`` with characters that hide or reorder others as ``\x1b`` or ``\u202e``.

    Lines and tabs stay. Bytes that were no UTF-8 (PEP 383) become ``\xff`` likewise, so that the
    answer can always be encoded.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_shown, text))


def _shown(character: str) -> str:
    code = ord(character)
    if character in "\n\t" or unicodedata.category(character) not in _HIDDEN:
        return character
    if 0xDC80 <= code <= 0xDCFF:  # noqa: PLR2004 - PEP 383: a byte that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"  # noqa: PLR2004 - one byte


def escaped(child: Child) -> Markup:
    """Return a child as HTML: elements as they are, texts escaped, the nested joined."""
    if child is None:
        return Markup()
    if isinstance(child, Markup):
        return child
    if isinstance(child, str):
        return Markup(html.escape(visible(child), quote=True))
    if isinstance(child, int):
        return Markup(str(child))
    return Markup("".join(map(escaped, child)))


def tag(name: str, /, *children: Child, **attributes: str | int | bool | None) -> Markup:
    """Return one element.

    Args:
        name: Of the element; written in the code, never from outside.
        children: What stands in it.
        attributes: ``class_`` is ``class``, ``data_label`` is ``data-label``; ``True`` is an
            attribute without a value, ``None`` and ``False`` leave it out.

    Raises:
        ValueError: A name is none; a defect of the caller.
    """
    parts = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        word = key.rstrip("_").replace("_", "-")
        parts.append(word if value is True else f'{word}="{escaped(str(value))}"')
    for word in (name, *(part.partition("=")[0] for part in parts)):
        if not _NAME.fullmatch(word):
            raise ValueError(f"{word!r} is no name of an element or attribute")
    opening = " ".join(parts)
    if name in _EMPTY and not children:
        return Markup(f"<{opening}>" if name not in _SHAPES else f"<{opening}/>")
    return Markup(f"<{opening}>{escaped(children)}</{name}>")


def document(head: Child, body: Child) -> bytes:
    """Return a whole page as it is sent."""
    page = tag("html", tag("head", head), tag("body", body), lang="en")
    return f"<!doctype html>\n{page}\n".encode()
