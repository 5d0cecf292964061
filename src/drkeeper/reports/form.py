"""The form of a report: its name, its sections, and how it is spelt."""

import io
import json
from typing import Any, Final

FORM: Final = "drkeeper/report/1"
"""Names this form. Source: docs/evidence.md."""

SECTIONS: Final = (
    *("identity", "scope", "people", "sampling", "timeline", "rto", "rpo", "integrity"),
    *("controls", "security", "results", "issues", "review", "standards", "evidence"),
)
"""The fifteen, in the order in which they are shown."""


def json_bytes(report: dict[str, Any]) -> bytes:
    """Spell a report: the one form of it, that digests are of."""
    encoder = json.JSONEncoder(ensure_ascii=True, allow_nan=False, sort_keys=True, indent=1)
    written = io.BytesIO()
    for part in encoder.iterencode(report):  # a report may name millions of events
        written.write(part.encode("ascii"))
    written.write(b"\n")
    return written.getvalue()
