"""The local copy of the journal's state: only ever a way to save time.

Its digest stands in the pin, so what is read here was written here; still, anything unexpected only
means that the journal is read from the beginning. It is MessagePack because that is read twenty times
as fast as the JSON of the journal, and every command of a machine begins here.
"""

from typing import Final

import msgspec

from drkeeper.errors import IntegrityError
from drkeeper.repository.journal_body import CommitBody
from drkeeper.repository.journal_start import Resume
from drkeeper.repository.state import Checkpoint, JournalState

_FORMAT: Final = 2


class _Copy(msgspec.Struct, forbid_unknown_fields=True):
    format: int
    repository: bytes
    n: int
    digest: bytes
    read_to: int
    state: Checkpoint
    commits: dict[int, CommitBody]


_decoder = msgspec.msgpack.Decoder(_Copy)


def encode_copy(resume: Resume) -> bytes:
    """Return the bytes of a copy."""
    state = resume.state
    return msgspec.msgpack.encode(
        {
            "format": _FORMAT,
            "repository": state.repository,
            "n": state.n,
            "digest": state.digest,
            "read_to": resume.read_to,
            "state": state.to_checkpoint(),
            "commits": resume.commits,
        }
    )


def decode_copy(data: bytes, repository: bytes) -> Resume | None:
    """Read a copy; ``None`` when it is not one of this repository and this version."""
    try:
        copy = _decoder.decode(data)
        if copy.format != _FORMAT or copy.repository != repository:
            return None
        state = JournalState.restored(
            copy.state, repository=repository, n=copy.n, digest=copy.digest
        )
    except (msgspec.MsgspecError, UnicodeDecodeError, IntegrityError):
        return None
    resume = Resume(state, copy.read_to, copy.commits)
    return resume if resume.complete else None
