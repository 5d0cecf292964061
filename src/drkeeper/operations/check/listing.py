"""What the store lists, told apart by name (docs/format.md 1)."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from sys import intern

from drkeeper.operations.check.findings import Notes, Severity
from drkeeper.storage.base import ObjectInfo

_SEALED = re.compile(r"(packs|meta|refs)/([0-9a-f]{2})/(\2[0-9a-f]{30})")
_OTHERS = re.compile(
    r"drkeeper\.json|journal/[0-9]{16}|keyslots/[0-9a-f]{32}/[1-9][0-9]*\.(data|meta|refs)\.age"
    r"|inventory/[0-9a-f]{32}/[0-9]{6}|logs/[0-9a-f]{32}/[a-z0-9._-]{1,64}/[0-9]{12}"
    r"|ledger/[0-9a-f]{32}/[0-9]{12}|rescue/[0-9]{6}"
)
_PROBE = re.compile(r"probe/[0-9a-z]+(/.*)?")


@dataclass(slots=True)
class Listing:
    """Every object of the repository, by name.

    Attributes:
        lengths: Name to stored length.
        stored_bytes: Their sum.
    """

    lengths: dict[str, int] = field(default_factory=dict)
    stored_bytes: int = 0

    def sealed(self) -> list[str]:
        """Return the names of packs, meta and refs objects."""
        return [name for name in self.lengths if _SEALED.fullmatch(name)]


def list_objects(objects: Iterable[ObjectInfo], notes: Notes) -> Listing:
    """Take in everything the store lists; what does not belong is noted."""
    listing = Listing()
    for info in objects:
        if _SEALED.fullmatch(info.key) or _OTHERS.fullmatch(info.key):
            # Shared with the tables of what is needed and known: names are most of the memory.
            listing.lengths[intern(info.key)] = info.stored_bytes
            listing.stored_bytes += info.stored_bytes
        elif _PROBE.fullmatch(info.key):
            notes.add(
                Severity.NOTE, "probe", info.key, "is left from an interrupted probe of the store"
            )
        else:
            notes.add(Severity.WARNING, "stray", info.key, "is no object of a repository")
    return listing
