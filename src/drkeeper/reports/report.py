"""The report of a quarter as one value of JSON, computed from the ledger and the configuration.

The same ledger, configuration, quarter and end give the same bytes. Every row says by which events of
the ledger it is known; what cannot be known is said to be unknown.

Source:
    The form is normative in docs/evidence.md, "The JSON".
"""

from datetime import datetime
from typing import Any

from drkeeper.errors import InstantNotReachableError
from drkeeper.model.instants import exact_rfc3339
from drkeeper.reports.findings import findings
from drkeeper.reports.form import FORM, SECTIONS
from drkeeper.reports.history import Reads, read_history
from drkeeper.reports.period import Period, stops_of
from drkeeper.reports.quarters import Quarter
from drkeeper.reports.scope import Scope
from drkeeper.reports.sections import coverage, frame, outcomes, recovery, soundness, standards


def compute(ledger: Reads, scope: Scope, quarter: Quarter, now: datetime) -> dict[str, Any]:
    """Return the report of a quarter.

    Args:
        ledger: Read up to the end of the quarter, or to ``now``.
        scope: What is promised.
        quarter: Which one.
        now: Up to when a quarter is reported that is not over.

    Raises:
        InstantNotReachableError: The quarter has not begun, or the ledger has nothing of it.
        IntegrityError: The ledger's chain is not sound.
        LedgerError: It cannot be read.
    """
    if now <= quarter.begin:
        raise InstantNotReachableError(
            f"quarter {quarter} has not begun",
            hint=f"Ask for {quarter.before(1)}, or wait until {quarter.begin:%Y-%m-%d}.",
        )
    until = min(now, quarter.end)
    history = read_history(ledger, stops_of(quarter, until), quarter.begin)
    period = Period(history, scope, quarter, until)
    if period.last.size <= period.before.size:
        raise InstantNotReachableError(
            f"ledger has nothing of quarter {quarter}",
            hint="Ask for a quarter in which drkeeper ran.",
        )
    return _sections(period)


def _sections(period: Period) -> dict[str, Any]:
    made: dict[str, Any] = {
        "identity": frame.identity(period),
        "scope": coverage.scope(period),
        "people": frame.people(period),
        "sampling": coverage.sampling(period),
        "timeline": coverage.timeline(period),
        "rto": recovery.rto(period),
        "rpo": recovery.rpo(period),
        "integrity": soundness.integrity(period),
        "controls": soundness.controls(period),
        "security": soundness.security(period),
        "results": outcomes.results(period),
        "issues": outcomes.issues(period),
        "evidence": frame.evidence(period),
    }
    made["standards"] = standards.mapping(made)
    made["review"] = frame.review(period, findings(made))
    return {
        "form": FORM,
        "quarter": str(period.quarter),
        "until": exact_rfc3339(period.until),
        **{name: made[name] for name in SECTIONS},
    }
