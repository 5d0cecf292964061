"""What is exported can be verified by a stranger, and nothing else can."""

import importlib.util
import json
from pathlib import Path

import pytest

from doubles.drilling import AT, end, plan
from doubles.ledgers import ledger_at, live_through
from drkeeper.crypto.merkle import Proofs, leaf_hash, root_of
from drkeeper.crypto.signing import SigningKey
from drkeeper.errors import LedgerError
from drkeeper.ledger.events import Event, hashed_bytes, link

TOOL = Path(__file__).parents[3] / "tools" / "verify_export.py"
KEY = SigningKey(bytes(range(32)))
KEYS = (KEY.verify_key.hex, str(KEY.verify_key))


@pytest.fixture(scope="module")
def tool():
    """The tool as a module: it imports nothing of drkeeper."""
    spec = importlib.util.spec_from_file_location("verify_export", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A ledger with three checkpoints, a drill, and two events that nobody has signed."""
    path = tmp_path_factory.mktemp("ledger") / "state" / "ledger.sqlite"
    with ledger_at(path) as ledger:
        ledger.sign(KEY)
        live_through(ledger, 5, runs=4)
        ledger.sign(KEY)
        planned = ledger.plan_drill(plan())
        ledger.declare_drill(planned.id, AT)
        ledger.end_drill(planned.id, end())
        ledger.sign(KEY)
        ledger.open_action("one", "ops")
        ledger.open_action("two", "ops")
        yield ledger


@pytest.fixture
def judge(tool, tmp_path, capsys):
    """Verify lines as somebody at a shell does; returns exit code and what was said."""

    def judge(lines, *notes, key=KEYS[0]):
        path = tmp_path / "export.jsonl"
        path.write_text("".join(f"{line}\n" for line in lines))
        files = []
        for number, note in enumerate(notes):
            (tmp_path / f"note{number}").write_text(note)
            files += ["--checkpoint", str(tmp_path / f"note{number}")]
        code = tool.main([str(path), "--key", key, *files])
        said = capsys.readouterr()
        return code, said.out + said.err

    return judge


@pytest.mark.parametrize("key", KEYS, ids=["hex", "bech32"])
def test_an_export_is_verified_without_drkeeper(world, judge, key):
    """The whole chain, with its checkpoints, holds; what nobody has signed yet is counted."""
    newest = world.checkpoints()[0]
    code, said = judge(world.export(), newest.note, key=key)
    assert code == 0, said
    assert f"up to event {newest.size}; 2 not yet signed" in said
    assert "ended drills" in said


def test_the_tool_imports_nothing_of_drkeeper():
    """A stranger reads it in one sitting: standard library and cryptography, at most 300 lines."""
    text = TOOL.read_text()
    assert "import drkeeper" not in text
    assert "from drkeeper" not in text
    assert len(text.splitlines()) <= 300


def test_a_part_is_proven_event_by_event(world, judge):
    """Any span is verified by itself; an event edited in it is found."""
    size = world.last_event().seq
    for first, last in ((2, 2), (2, size), (5, 9), (size - 2, size - 1), (1, 7), (1, 1)):
        lines = [*world.export(first=first, last=last)]
        code, said = judge(lines)
        assert code == 0, (first, last, said)
        assert f"({first} to {last})" in said
        edited = [edit(line, seq=first, at="2020-01-01T00:00:00.000000Z") for line in lines]
        assert judge(edited)[0] == 1, (first, last)


@pytest.mark.parametrize("span", [(0, 1), (3, 2), (1, 10**6)])
def test_a_span_that_is_not_there_is_refused(world, span):
    """Nothing is exported for events that the chain has not."""
    with pytest.raises(LedgerError, match="there are no events"):
        list(world.export(first=span[0], last=span[1]))


def edit(line, seq, **changes):
    value = json.loads(line)
    if value["type"] == "event" and value["seq"] == seq:
        value |= changes
    return json.dumps(value)


def recomputed(lines, change):
    """Change the events, and compute all hashes, the root and the size anew."""
    values = [json.loads(line) for line in lines]
    made, leaves, prev = [], [], bytes(32)
    for each in change([value for value in values if value["type"] == "event"]):
        event = link(len(made) + 1, prev, each["at"], kind=each["kind"], body=each["body"])
        hashes = {"seq": event.seq, "prev": event.prev.hex(), "hash": event.hash.hex()}
        made.append(each | hashes)
        leaves.append(leaf_hash(hashed_bytes(event)))
        prev = event.hash
    head = values[0] | {"last": len(made), "size": len(made), "root": root_of(leaves).hex()}
    notes = [value for value in values if value["type"] == "checkpoint"]
    kept = [note for note in notes if note["size"] <= len(made)]
    return [json.dumps(value) for value in (head, *made, *kept)]


def continued(lines, before):
    """Keep the checkpoints that were signed before an event, with the proofs that a forger who has
    the honest events up to there can make anew for his own history."""
    values = [json.loads(line) for line in lines]
    head, events = values[0], [value for value in values if value["type"] == "event"]
    bodies = [
        Event(e["seq"], e["at"], e["kind"], e["body"], bytes.fromhex(e["prev"]), b"")
        for e in events
    ]
    proofs = Proofs([leaf_hash(hashed_bytes(event)) for event in bodies])
    notes = [
        value | {"consistency": [p.hex() for p in proofs.consistency(value["size"], head["size"])]}
        for value in values
        if value["type"] == "checkpoint" and value["size"] < before
    ]
    return [json.dumps(value) for value in (head, *events, *notes)]


FORGERIES = {
    "edited": lambda events: [
        *events[:3],
        events[3] | {"body": events[3]["body"].replace('"', "'", 1)},
        *events[4:],
    ],
    "deleted": lambda events: events[:3] + events[4:],
    "reordered": lambda events: [*events[:3], events[4], events[3], *events[5:]],
    "added": lambda events: events[:4] + events[3:],
}


@pytest.mark.parametrize("change", FORGERIES.values(), ids=FORGERIES)
def test_a_changed_history_is_found(world, judge, change):
    """Edited, deleted, moved and added events are found, as they stand and with all hashes computed
    anew, by the checkpoints that the export itself must bear."""
    lines = [*world.export()]
    events = [json.loads(line) for line in lines if json.loads(line)["type"] == "event"]
    rest = [line for line in lines if json.loads(line)["type"] != "event"]
    code, said = judge([rest[0], *map(json.dumps, change(events)), *rest[1:]])
    assert code == 1
    assert "NOT VERIFIED" in said
    code, said = judge(recomputed(lines, change))
    assert code == 1
    assert "NOT VERIFIED" in said


def test_a_recomputed_history_without_its_checkpoints_is_found(world, judge):
    """Leaving out the checkpoints that would tell leaves nothing signed; one kept elsewhere tells."""
    forged = recomputed([*world.export()], FORGERIES["edited"])
    bare = [line for line in forged if json.loads(line)["type"] != "checkpoint"]
    assert judge(bare)[1] == "NOT VERIFIED: nothing was signed\n"
    first = [line for line in forged if json.loads(line).get("size") in {1, len(bare) - 1}]
    assert judge([*bare, first[1]])[0] == 1  # its proof is of another history
    assert judge(bare, world.checkpoints()[0].note)[0] == 1


def test_a_shortened_history_is_found_by_a_checkpoint_kept_elsewhere(world, judge):
    """An old export verifies as what it is, and not against what was signed later."""
    short = [*world.export(last=5)]
    kept = [line for line in short if json.loads(line).get("size", 0) <= 5]
    assert judge(kept)[0] == 0
    code, said = judge(kept, world.checkpoints()[0].note)
    assert code == 1
    assert "is missing in the export" in said


def test_a_changed_rto_is_found(world, judge):
    """Even in events that nobody has signed yet, a drill's RTO must be what its phases say."""
    lines = [*world.export()]
    (drill,) = [
        json.loads(line) for line in lines[-12:] if json.loads(line).get("kind") == "drill.ended"
    ]
    body = json.loads(drill["body"])
    assert body["achieved_rto_us"] == 12_000_000
    forged = json.dumps(
        body | {"achieved_rto_us": 1_000_000}, sort_keys=True, separators=(",", ":")
    )

    def change(events):
        return [e | {"body": forged} if e["seq"] == drill["seq"] else e for e in events]

    early = continued(recomputed(lines, change), before=drill["seq"])
    code, said = judge(early)
    assert code == 1
    assert "an RTO its phases have not" in said


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.replace('"type":"export"', '"type":"other"'),
        lambda text: text.replace("ledger-export/1", "ledger-export/2"),
        lambda text: text.replace('"note":"', '"note":"x'),
        lambda text: text.replace('"consistency":["', '"consistency":["00'),
        lambda text: text[: len(text) // 2],
        lambda _: "",
        lambda text: "[" * 100_000 + text,
        lambda text: text.replace('"seq":2', '"seq":"2"'),
        lambda text: text.replace('"prev":"', '"prev":"zz', 1),
    ],
    ids=["type", "form", "note", "proof", "half", "empty", "deep", "text", "hex"],
)
def test_malformed_exports_are_findings_not_crashes(world, judge, spoil):
    """Whatever stands in the file, the answer is a sentence and exit code 1."""
    text = spoil("\n".join(world.export()))
    code, said = judge(text.split("\n"))
    assert code == 1
    assert said.startswith("NOT VERIFIED: ")


def test_another_key_verifies_nothing(world, judge):
    """Who signs with a key of his own has signed nothing; a misspelt key is not taken."""
    stranger = SigningKey(bytes(32)).verify_key
    assert judge(world.export(), key=stranger.hex)[0] == 1
    assert judge(world.export(), key=KEYS[1][:-1] + ("q" if KEYS[1][-1] != "q" else "p"))[0] == 1
