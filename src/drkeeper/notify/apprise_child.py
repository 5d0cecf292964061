"""Apprise in a process of its own: tells once what standard input says, and ends.

Run as a file, so it needs nothing of drkeeper. It says nothing, since all that it could say may
hold secrets; its exit code says how it went.
"""

import json
import math
import resource
import signal
import sys
from typing import IO, Final

TOLD: Final = 0
FAILED: Final = 9
UNKNOWN_URL: Final = 100
"""And beyond: the position of the first URL that Apprise does not know."""

_MOST_BYTES: Final = 1 << 30
"""Address space: an answer without end ends the child. Source: ours; Apprise itself needs 300 MB."""


def main(source: IO[bytes]) -> int:
    """Tell what one JSON object asks for, and return the exit code."""
    asked = json.load(source)
    # Should the parent be gone, nobody else would end this.
    signal.alarm(math.ceil(asked["seconds"]) + 1)
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_BYTES, _MOST_BYTES))
    import apprise  # noqa: PLC0415 - an extra, and slow to import

    ours = apprise.Apprise()
    for position, url in enumerate(asked["urls"]):
        if not ours.add(url):
            return UNKNOWN_URL + position
    told = ours.notify(
        title=asked["title"], body=asked["body"], notify_type=asked["kind"], body_format="text"
    )
    return TOLD if told else FAILED


if __name__ == "__main__":
    sys.exit(main(sys.stdin.buffer))
