"""What a reader of the whole journal knows beyond the state that it ends in.

The state forgets sessions and commits that no live snapshot names, and what was swept. `check` wants
to judge every object by what was once signed about it, so a journal that is read in full keeps that.
"""

from dataclasses import dataclass, field

from drkeeper.repository.journal_body import CommitBody, CondemnBody, OpenBody
from drkeeper.repository.journal_entry import JournalEntry
from drkeeper.repository.places import inventory_name
from drkeeper.repository.state import SessionSlots


@dataclass(slots=True)
class Witness:
    """Everything that valid entries have ever said about stored objects.

    Attributes:
        slots: Hex session to its key slots, of every session that was ever opened.
        inventories: Name to digest of the inventory of every commit that was ever made.
        condemned: Every object that was ever condemned, as ``<kind>/<hex id>``.
    """

    slots: dict[str, SessionSlots] = field(default_factory=dict)
    inventories: dict[str, bytes] = field(default_factory=dict)
    condemned: set[str] = field(default_factory=set)

    def see(self, entry: JournalEntry) -> None:
        """Take in a valid entry."""
        match entry.body:
            case OpenBody() as body:
                self.slots[body.session] = SessionSlots(body.keyring, body.keyslots)
            case CommitBody() as body:
                name = inventory_name(bytes.fromhex(body.session), body.inventory.k)
                self.inventories[name] = bytes.fromhex(body.inventory.digest)
            case CondemnBody() as body:
                self.condemned.update(body.objects)
            case _:
                pass
