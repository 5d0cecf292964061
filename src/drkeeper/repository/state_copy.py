"""The local copy of the journal's state: only ever a way to save time.

Its digest stands in the pin, so what is read here was written here; still, anything unexpected only
means that the journal is read from the beginning.
"""

from typing import Final

from drkeeper.errors import IntegrityError
from drkeeper.repository.commit import Commit
from drkeeper.repository.journal import Resume
from drkeeper.repository.state import JournalState
from drkeeper.repository.strict_json import MalformedError, encode, parse_object

_FORMAT: Final = 1


def encode_copy(resume: Resume) -> bytes:
    """Return the bytes of a copy."""
    state = resume.state
    return encode(
        {
            "format": _FORMAT,
            "repository": state.repository.hex(),
            "n": state.n,
            "digest": state.digest.hex(),
            "read_to": resume.read_to,
            "state": state.to_checkpoint(),
            "commits": [
                [n, commit.digest.hex(), commit.to_json()] for n, commit in resume.commits.items()
            ],
        }
    )


def decode_copy(data: bytes, repository: bytes) -> Resume | None:
    """Read a copy; ``None`` when it is not one of this repository and this version."""
    try:
        value = parse_object(data)
        if value["format"] != _FORMAT or value["repository"] != repository.hex():
            return None
        state = JournalState.from_checkpoint(
            value["state"],
            repository=repository,
            n=value["n"],
            digest=bytes.fromhex(value["digest"]),
        )
        commits = {
            n: Commit.from_json(n, bytes.fromhex(digest), body)
            for n, digest, body in value["commits"]
            if n in state.commits
        }
        return Resume(state, int(value["read_to"]), commits)
    except (MalformedError, IntegrityError, KeyError, TypeError, ValueError):
        return None
