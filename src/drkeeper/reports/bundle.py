"""The bundle that is handed over: a report, the signed events it was computed from, and the verifier.

A tar whose bytes follow from its content alone: no names of users, no time but the report's own.

Source:
    docs/evidence.md, "The bundle"; POSIX.1-2017, pax, "ustar".
"""

import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from datetime import datetime
from importlib import resources
from typing import Any, Final, Protocol

from drkeeper.reports.form import json_bytes
from drkeeper.reports.html.page import html_bytes

_README: Final = """Recovery evidence of {quarter}

report.json        the report; all else that shows it is made from this
report.html        the same for people; not verified: drkeeper report --from report.json makes it anew
ledger.jsonl       the events of the ledger that it was computed from, with signed checkpoints
checkpoint.note    the newest of these checkpoints: keep it, and hold the next bundle against it
verify_report.py   holds all of these against each other; read it first: one file, in five parts

To verify, with Python 3.11 and the package cryptography, and without drkeeper:

    python3 verify_report.py BUNDLE.tar --quarter {quarter} --key KEY [--checkpoint NOTE]

KEY is the public signing key of the machine that signs (drksign1...). Do not take it from whoever gave
you the bundle: get it from the recovery kit or the repository. NOTE is the checkpoint.note of the last bundle.
"""


class Exports(Protocol):
    """What a bundle asks a ledger."""

    def export(self, *, first: int = 1, last: int | None = None) -> Iterator[str]:
        """Yield events as lines, with checkpoints."""
        ...

    def checkpoints(self, *, limit: int = ...) -> list[Any]:
        """Return what was signed, newest first."""
        ...

    def last_event(self) -> Any:  # noqa: ANN401 - an event, or nothing
        """Return the newest event."""
        ...


def bundle_bytes(report: Mapping[str, Any], ledger: Exports) -> bytes:
    """Return the bundle of a report.

    Args:
        report: As it was computed from ``ledger``.
        ledger: Of which are taken the events up to the first checkpoint that covers the report, and
            the event after it: that shows that the quarter was over.

    Raises:
        LedgerError: The ledger cannot be read, or is damaged.
    """
    quarter = report["quarter"]
    lines = list(_covering(report["identity"]["last"], ledger))
    notes = [each for each in map(json.loads, lines) if each["type"] == "checkpoint"]
    newest = max(notes, key=lambda each: each["size"], default=None)
    files = {
        "README.txt": _README.format(quarter=quarter).encode(),
        "ledger.jsonl": "".join(f"{line}\n" for line in lines).encode(),
        "report.html": html_bytes(dict(report)),
        "report.json": json_bytes(dict(report)),
        "verify_report.py": verifier(),
    }
    if newest is not None:
        files["checkpoint.note"] = newest["note"].encode()
    at = int(datetime.fromisoformat(report["until"]).timestamp())
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in sorted(files):
            content = files[name]
            member = tarfile.TarInfo(f"drkeeper-report-{quarter}/{name}")
            member.size, member.mtime, member.mode = len(content), at, 0o644
            tar.addfile(member, io.BytesIO(content))
    return written.getvalue()


def verifier() -> bytes:
    """Return the program that verifies a bundle."""
    return resources.files("drkeeper.reports").joinpath("static", "verify_report.txt").read_bytes()


def _covering(last: int, ledger: Exports) -> Iterator[str]:
    """Yield the events that a report needs, and the checkpoints over them."""
    newest = ledger.last_event().seq
    wanted = min(last + 1, newest)
    signed = [each.size for each in ledger.checkpoints(limit=1 << 31) if each.size <= newest]
    size = min((each for each in signed if each >= wanted), default=newest)
    for line in ledger.export(last=size):
        value = json.loads(line)
        if value["type"] != "checkpoint" or value["size"] <= size:
            yield line
