"""Put a report together: from the ledger and the configuration to the bytes that are handed over."""

import json
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from drkeeper.app.config.configuration import Configuration
from drkeeper.app.wiring.repositories import Passphrase
from drkeeper.app.wiring.runs import ledger_place, open_run_ledger
from drkeeper.clock import Clock
from drkeeper.errors import ConfigurationError
from drkeeper.model.policy import Policy
from drkeeper.model.schedule import in_words
from drkeeper.reports.form import FORM, json_bytes
from drkeeper.reports.quarters import Quarter, quarter_from_text
from drkeeper.reports.scope import PolicyScope, RepositoryScope, Scope

if TYPE_CHECKING:  # SQLAlchemy takes 0.2 s to import
    from drkeeper.ledger.ledger import Ledger

FORMATS = ("html", "pdf", "json", "csv")


def make_report(
    configuration: Configuration, quarter: Quarter, clock: Clock, *, until: datetime | None = None
) -> dict[str, Any]:
    """Compute the report of a quarter.

    Args:
        configuration: What is promised.
        quarter: Which one.
        clock: Tells whether it is over.
        until: Up to when a quarter that is not over is reported; now, when ``None``.

    Raises:
        InstantNotReachableError: The quarter has not begun, or the ledger has nothing of it.
        IntegrityError: The ledger's chain is not sound.
        LedgerError: It cannot be read.
    """
    with ExitStack() as stack:
        ledger = stack.enter_context(_reading(configuration, clock))
        return report_of(ledger, configuration, quarter, until or clock.now())


def make_bundle(
    configuration: Configuration, quarter: Quarter, clock: Clock, *, until: datetime | None = None
) -> tuple[dict[str, Any], bytes]:
    """Compute the report of a quarter and put it into a bundle.

    Raises:
        InstantNotReachableError: The quarter has not begun, or the ledger has nothing of it.
        IntegrityError: The ledger's chain is not sound.
        LedgerError: It cannot be read.
    """
    from drkeeper.reports.bundle import bundle_bytes  # noqa: PLC0415 - few ask

    with ExitStack() as stack:
        ledger = stack.enter_context(_reading(configuration, clock))
        report = report_of(ledger, configuration, quarter, until or clock.now())
        return report, bundle_bytes(report, ledger)


def report_of(
    ledger: "Ledger", configuration: Configuration, quarter: Quarter, now: datetime
) -> dict[str, Any]:
    """Compute the report of a quarter from an open ledger.

    Raises:
        InstantNotReachableError: The quarter has not begun, or the ledger has nothing of it.
        IntegrityError: The ledger's chain is not sound.
        LedgerError: It cannot be read.
    """
    from drkeeper.reports.report import compute  # noqa: PLC0415 - it needs SQLAlchemy

    return compute(ledger, scope_of(configuration), quarter, now)


def sign_ledger(
    configuration: Configuration, clock: Clock, passphrase: Passphrase | None
) -> list[str]:
    """Sign the ledger and store it, so that a bundle is covered; return what could not be done."""
    from drkeeper.app.wiring.ledger_copies import copy_quietly  # noqa: PLC0415 - few ask

    return copy_quietly(configuration, clock, passphrase)


def signed_up_to(configuration: Configuration, clock: Clock) -> int:
    """Return how many events of the ledger are covered by a checkpoint.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    with _reading(configuration, clock) as ledger:
        return max((each.size for each in ledger.checkpoints(limit=1)), default=0)


def read_report(path: Path) -> dict[str, Any]:
    """Read a report back, to show it in another form.

    Raises:
        ConfigurationError: It cannot be read, or is no report.
    """
    try:
        report = json.loads(path.read_bytes())
        if isinstance(report, dict) and report["form"] == FORM:
            quarter_from_text(report["identity"]["quarter"])  # it becomes the name of a file
            return report
    except OSError as error:
        raise ConfigurationError(
            f"cannot read {path}: {error.strerror}", hint="Give the path of a report.json."
        ) from error
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        pass
    raise ConfigurationError(f"{path} is not a report", hint=_REPORT_HINT)


_REPORT_HINT = "Give the report.json of a bundle, or what --format json wrote."


def rendered(report: dict[str, Any], form: str) -> bytes:
    """Return a report in one of ``FORMATS``.

    Raises:
        ConfigurationError: PDF is asked for, and the extra is not installed; or a report that was
            read back is malformed.
    """
    makers: dict[str, Callable[[dict[str, Any]], bytes]] = {
        "json": json_bytes,
        "html": _html,
        "csv": _csv,
        "pdf": _pdf,
    }
    try:
        return makers[form](report)
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        # One that was computed here has all that is shown; one that was read back may not.
        raise ConfigurationError("report is malformed", hint=_REPORT_HINT) from error


def save(path: Path, content: bytes) -> None:
    """Write a report in the place of another: for this user only, the old one or the new one.

    Raises:
        ConfigurationError: It cannot be written.
        NoSpaceError: The file system is full.
    """
    from drkeeper.repository.private_file import replace_private  # noqa: PLC0415 - see the package

    replace_private(str(path), content)


def scope_of(configuration: Configuration) -> Scope:
    """Return what a report takes from the configuration."""
    definitions = configuration.definitions()
    policies = [
        PolicyScope(
            policy=name,
            definition=definitions[name],
            source=policy.source.kind,
            protects=tuple(policy.source.paths),
            repository=policy.repository,
            schedule=_schedule(policy),
            keeps=tuple(policy.retention.in_words()),
            rpo=policy.objectives.rpo,
            rto=policy.objectives.rto,
        )
        for name, policy in sorted(configuration.policies.items())
    ]
    repositories = [
        RepositoryScope(
            name=name,
            store=_shown(each.store),
            medium="object store" if each.store.startswith("s3:") else "folder",
            check_within=each.check_within,
        )
        for name, each in sorted(configuration.repositories.items())
    ]
    return Scope(
        host=configuration.host, policies=tuple(policies), repositories=tuple(repositories)
    )


def _schedule(policy: Policy) -> str:
    if policy.schedule is not None:
        return f"{in_words(policy.schedule)} ({policy.zone_name})"
    return "as often as the RPO needs" if policy.objectives.rpo is not None else ""


def _reading(configuration: Configuration, clock: Clock) -> "Ledger":
    place = ledger_place(configuration)
    return open_run_ledger(place, host=configuration.host, clock=clock, read_only=True)


def _shown(store: str) -> str:
    """Return the address of a store without user, password or query."""
    if "://" not in store:
        return store
    parts = urlsplit(store)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _html(report: dict[str, Any]) -> bytes:
    from drkeeper.reports.html.page import html_bytes  # noqa: PLC0415 - one form of many

    return html_bytes(report)


def _csv(report: dict[str, Any]) -> bytes:
    from drkeeper.reports.table import csv_bytes  # noqa: PLC0415 - one form of many

    return csv_bytes(report)


def _pdf(report: dict[str, Any]) -> bytes:
    from drkeeper.reports.paper import pdf_bytes  # noqa: PLC0415 - an extra

    return pdf_bytes(report)
