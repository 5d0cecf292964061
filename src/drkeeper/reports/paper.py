"""A report as PDF: the page as HTML, laid out by WeasyPrint, which is an extra.

Nothing is fetched while it is laid out: the page needs nothing, and what it does not need it must not have.
"""

from datetime import datetime
from typing import Any, NoReturn

from drkeeper.errors import ConfigurationError
from drkeeper.reports.html.page import html_bytes


def pdf_bytes(report: dict[str, Any]) -> bytes:
    """Return a report as PDF, from its JSON alone.

    Raises:
        ConfigurationError: The extra is not installed, or a library of the system is missing.
    """
    try:
        from weasyprint import HTML  # noqa: PLC0415 - an extra, and it takes half a second
    except ImportError as error:
        raise ConfigurationError(
            "PDF needs the extra pdf, which is not installed",
            hint="Run pip install 'drkeeper[pdf]', or print the report as HTML from a browser.",
        ) from error
    except OSError as error:
        raise ConfigurationError(
            f"PDF needs a library of the system that is missing: {error}",
            hint="Install Pango (Debian: libpango-1.0-0 libpangoft2-1.0-0), or ask for HTML.",
        ) from error
    page = HTML(string=html_bytes(report).decode(), url_fetcher=_refuse, base_url="about:blank")
    made: bytes = page.write_pdf(pdf_identifier=_name(report), custom_metadata=False)
    return made


def _name(report: dict[str, Any]) -> bytes:
    """Return what makes the file's identifier the same each time."""
    root = report["identity"]["root"]
    until = datetime.fromisoformat(report["until"])
    return f"{root[:16]}{until:%Y%m%d}".encode()


def _refuse(url: str, *_more: object, **_settings: object) -> NoReturn:
    """Fetch nothing.

    Raises:
        ValueError: Always.
    """
    raise ValueError(f"a report does not need {url[:100]!r}")
