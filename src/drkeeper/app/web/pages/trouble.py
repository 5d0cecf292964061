"""Pages for what could not be shown."""

from drkeeper.app.web.frame import Page
from drkeeper.app.web.markup import link, tag


def trouble_page(status: int, title: str, hint: str) -> Page:
    """Return a page that says what is wrong and what to do.

    Args:
        status: Of the answer.
        title: What is wrong: a phrase.
        hint: What to do next: a sentence.
    """
    text = title if title[:1].isupper() else title[:1].upper() + title[1:]
    body = tag(
        "div",
        tag("p", status, class_="trouble-code", aria_hidden="true"),
        tag("h1", text),
        tag("p", hint),
        tag("p", link("Back to the overview", "")),
        class_="trouble",
    )
    return Page(text, body, status=status)
