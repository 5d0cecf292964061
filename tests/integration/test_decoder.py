"""The independent decoder: docs/format.md says enough to read everything drkeeper writes."""

import ast
import importlib.util
import os
import random
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

import trees
from doubles.crafted import SESSION, Crafter, file
from doubles.real_repository import Facts, Maker, RealRepository, Snapshot, make, tree_facts
from doubles.repositories import Fixture, draft, new_repository
from drkeeper.model.entry import EntryFlag, Extra, sort_key
from drkeeper.repository.commit import commit_body
from drkeeper.repository.journal_body import format_instant
from drkeeper.repository.journal_entry import entry_name
from drkeeper.repository.reader import SnapshotReader
from drkeeper.storage.folder import FolderStore

TOOL = Path(__file__).parents[2] / "tools" / "decode_repository.py"


class Decoder:
    """The tool as a process."""

    def __init__(self, made: RealRepository, folder: Path, scratch: Path) -> None:
        self.folder = folder
        self.admin = made.keys.admins[0]
        self.identity = scratch / "identity"
        assert made.keys.recovery is not None
        self.identity.write_text(made.keys.recovery.to_text(), encoding="utf-8")

    def run(self, *words: str, admin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run it; never asks anything."""
        options = ["--identity", str(self.identity), "--admin", admin or self.admin]
        return subprocess.run(
            [sys.executable, TOOL, self.folder, *options, *words],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            env={"PATH": os.environ["PATH"]},
        )

    def ok(self, *words: str) -> list[str]:
        """Return its lines; it must succeed."""
        done = self.run(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[RealRepository, Decoder]:
    """Return a repository in a folder that holds everything, and a decoder for it."""
    scratch = tmp_path_factory.mktemp("decoder")
    folder = scratch / "store"
    folder.mkdir()
    made = make(FolderStore(str(folder)), scratch)
    return made, Decoder(made, folder, scratch)


def restored(decoder: Decoder, snapshot: Snapshot, target: Path) -> Facts:
    """Restore a snapshot with the tool and say what it made."""
    decoder.ok("restore", str(snapshot.n), str(target))
    return tree_facts(os.fsencode(target) + snapshot.root)


def test_the_decoder_stands_alone():
    """It imports nothing of drkeeper and is short enough to be read in one sitting."""
    text = TOOL.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 500
    imported = [
        name
        for statement in ast.walk(ast.parse(text))
        if isinstance(statement, ast.Import | ast.ImportFrom)
        for name in [getattr(statement, "module", None), *(a.name for a in statement.names)]
    ]
    assert not [name for name in imported if name and name.startswith("drkeeper")]


def test_it_lists_what_drkeeper_lists(made):
    """Every live snapshot in journal order: number, instant, completeness, policy, entries."""
    repository, decoder = made[0].open(), made[1]
    expected = []
    for commit in repository.live_commits():
        root = SnapshotReader(repository, commit).root
        state = "complete" if commit.complete else "partial"
        at = root.consistent_at
        expected.append(f"{commit.n} {at} {state} {root.policy} {commit.counts.entries}")
    assert decoder.ok("list") == expected
    assert len(expected) == len(made[0].snapshots)


def test_it_names_the_junk(made):
    """Void entries are told, and only those."""
    repository, decoder = made[0].open(full=True), made[1]
    told = decoder.run("list").stderr.splitlines()
    assert [line.split(":")[0] for line in told] == [
        f"void entry {void.n}" for void in repository.journal.voids
    ]


def test_it_lists_the_entries_that_drkeeper_reads(made):
    """All entries of all snapshots, with metadata and digests."""
    repository, decoder = made[0].open(), made[1]
    for commit in repository.live_commits():
        reader = SnapshotReader(repository, commit)
        expected = [
            "\t".join(
                str(value)
                for value in (
                    e.type,
                    e.mode,
                    e.uid,
                    e.gid,
                    e.mtime_ns,
                    e.ctime_ns,
                    e.size,
                    e.digest.hex(),
                    ascii(e.path),
                )
            )
            for number in range(len(reader.root.pieces))
            for e in reader.piece(number).entries
        ]
        assert decoder.ok("entries", str(commit.n)) == expected


def test_it_restores_every_snapshot(made, tmp_path):
    """Complete snapshots come back as the source was: types, modes, owners, times, content."""
    repository, decoder = made
    for snapshot in repository.snapshots:
        facts = restored(decoder, snapshot, tmp_path / str(snapshot.n))
        if snapshot.complete:
            assert facts == snapshot.facts


def test_it_restores_a_partial_snapshot(made, tmp_path):
    """A partial snapshot comes back as a prefix of the source in path order, and nothing else."""
    repository, decoder = made
    for snapshot in repository.snapshots:
        if snapshot.complete:
            continue
        facts = restored(decoder, snapshot, tmp_path / str(snapshot.n))
        order = sorted(snapshot.facts, key=sort_key)
        assert sorted(facts, key=sort_key) == order[: len(facts)]
        assert 1 < len(facts) < len(order)
        for path, (mode, _, size, _, content, *_) in facts.items():
            if not path or mode != snapshot.facts[path][0]:
                continue
            assert (size, content) == (snapshot.facts[path][2], snapshot.facts[path][4])


def test_it_restores_a_tree_with_everything(tmp_path):
    """Names of any bytes, every mode and time, links, holes, attributes and ACLs, special files."""
    scratch = tmp_path / "scratch"
    folder, tree = tmp_path / "store", tmp_path / "tree"
    for path in (scratch, folder, tree):
        path.mkdir()
    builders = [
        trees._names,
        trees._sizes,
        trees._modes,
        trees._times,
        trees._symlinks,
        trees._hard_links,
        trees._fifo,
        _holes,
        trees._wide,
        trees._directories,
    ]
    if os.geteuid() == 0:
        # Without privileges a file's own mode may forbid setting what it had.
        builders += [trees._user_xattrs, trees._owners]
        builders += [trees._acls] if shutil.which("setfacl") else []
    for build in builders:
        build(os.fsencode(tree))
    maker = Maker(FolderStore(str(folder)), scratch)
    maker.back_up(tree, policy="everything")
    decoder = Decoder(maker.made, folder, scratch)
    snapshot = maker.made.snapshots[0]
    assert restored(decoder, snapshot, tmp_path / "out") == snapshot.facts


def _holes(root: bytes) -> None:
    """Files with holes, but none that takes a minute to read."""
    folder = root + b"/holes"
    os.mkdir(folder)
    mib = trees.MIB
    trees.hole(folder + b"/leading", 3 * mib, [(2 * mib, mib)])
    trees.hole(folder + b"/trailing", 3 * mib, [(0, mib)])
    trees.hole(folder + b"/only", 5 * mib, [])
    trees.hole(folder + b"/comb", 64 * 8192, [(at * 8192, 4096) for at in range(64)])
    trees.hole(folder + b"/odd-end", 2 * mib + 77, [(0, 1), (2 * mib, 77)])


def test_any_identity_that_opens_data_will_do(made, tmp_path):
    """The verifier's key file reads everything; the host's reads lists, and no content."""
    repository, decoder = made
    snapshot = repository.snapshots[0]
    recovery = decoder.identity.read_text(encoding="utf-8")
    try:
        decoder.identity.write_text(repository.keys.verifier.to_text(), encoding="utf-8")
        assert restored(decoder, snapshot, tmp_path / "out") == snapshot.facts
        decoder.identity.write_text(repository.keys.host.to_text(), encoding="utf-8")
        assert decoder.ok("entries", str(snapshot.n))
        refused = decoder.run("restore", str(snapshot.n), str(tmp_path / "refused"))
        assert (refused.returncode, "no identity opens keyslots/" in refused.stderr) == (1, True)
    finally:
        decoder.identity.write_text(recovery, encoding="utf-8")


@pytest.mark.parametrize("name", ["drkeeper.json", "journal", "packs", "meta", "keyslots"])
def test_it_refuses_changed_bytes(made, tmp_path, name):
    """A changed byte where it reads ends in an error or a snapshot that is not there."""
    repository, decoder = made
    copy = tmp_path / "store"
    shutil.copytree(decoder.folder, copy)
    for path in [copy / name] if (copy / name).is_file() else sorted((copy / name).rglob("*")):
        if path.is_file():
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.chmod(0o600)
            path.write_bytes(data)
    damaged = Decoder(repository, copy, tmp_path)
    newest = repository.snapshots[-1]
    done = damaged.run("restore", str(newest.n), str(tmp_path / "out"))
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")


def test_it_refuses_another_admin(made):
    """Who gives the admin key from the recovery kit is not shown another repository."""
    other = new_repository().keys.admins[0]
    done = made[1].run("list", admin=other)
    assert (done.returncode, "entry 1" in done.stderr) == (1, True)


# -- what is too large or too rare for a real backup in a test


@pytest.fixture(scope="module")
def tool():
    """Return the decoder as a module."""
    spec = importlib.util.spec_from_file_location("decode_repository", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def crafted(tool, folder: Path, crafter: Crafter, reader: SnapshotReader):
    """Return the decoder's reader and commit of a crafted snapshot."""
    repository = crafter.repository
    journal = type("Journal", (), {"repository": repository.id.hex()})()
    decoder = tool.Reader(folder, journal, [])
    decoder.keys = {
        (SESSION.hex(), "data"): repository.keys.data,
        (SESSION.hex(), "meta"): repository.keys.meta,
    }
    return decoder, {"root": reader.commit.root.to_json()}


def test_it_joins_continued_entries(tool, tmp_path):
    """A file whose extents fill three entries, in two pieces, comes back whole; also its hard link."""
    crafter = Crafter(tmp_path / "store", chunk_bytes=64)
    content = os.urandom(64 * 90)
    linked = {"inode": 7, "links": 2}
    first, second = (crafter.piece([file(name, content, **linked)]) for name in (b"huge", b"link"))
    runs = [split_entry(piece) for piece in (first, second)]
    pieces = [
        crafter.tables(runs[0][:2], []),
        crafter.tables(runs[0][2:] + runs[1], []),
    ]
    for piece in pieces:
        piece.packs, piece.chunks = first.packs, first.chunks
    decoder, commit = crafted(tool, tmp_path / "store", crafter, crafter.snapshot(*pieces))
    tool.cmd_restore(decoder, commit, tmp_path / "out")
    assert (tmp_path / "out" / "huge").read_bytes() == content
    assert (tmp_path / "out" / "link").samefile(tmp_path / "out" / "huge")


def split_entry(piece):
    """Return the only entry of a piece as three, each continued by the next."""
    entry = piece.entries[0]
    third = len(entry.extents) // 9 * 3
    parts = [entry.extents[:third], entry.extents[third : 2 * third], entry.extents[2 * third :]]
    more = Extra(flags=int(EntryFlag.CONTINUED))
    extras = [more, more, Extra()]
    return [
        msgspec.structs.replace(entry, extents=part, extra=extra)
        for part, extra in zip(parts, extras, strict=True)
    ]


NOW = datetime(2026, 11, 21, tzinfo=UTC)


class Scribe:
    """Writes entries at random: legal ones, and ones that break every rule there is."""

    def __init__(self, seed: int) -> None:
        self.made: Fixture = new_repository()
        self.choose = random.Random(seed)
        self.journal = self.made.journal(full=True)
        self.journal.refresh()
        self.sessions = [self.choose.randbytes(16).hex() for _ in range(4)]
        self.lineages = [self.choose.randbytes(16).hex() for _ in range(2)]
        host = self.made.keys.host.host
        assert host is not None
        self.hosts = [host.hex()] * 9 + [bytes(16).hex()]
        self.objects = [f"meta/{bytes([number] * 16).hex()}" for number in range(3)]

    def write(self) -> None:
        """Add one entry and let drkeeper judge it."""
        state, keys = self.journal.state, self.made.keys
        op = self.choose.choice([
            *("open", "commit", "commit", "abort", "expire", "hold", "release", "condemn"),
            *("swept", "mark", "keyring", "checkpoint", "create", "junk"),
        ])  # fmt: skip
        n = self.journal.read_to + 1
        if op == "junk":
            data = self.choose.randbytes(200)
        else:
            signers = [keys.host.signing_key, keys.janitor.signing_key, keys.admin.signing_key]
            usual = 0 if op in {"open", "commit", "mark", "abort"} else 2 if "k" in op[:1] else 1
            signer = signers[usual] if self.choose.random() < 0.85 else self.choose.choice(signers)
            prev = state.digest if self.choose.random() < 0.95 else bytes(32)
            at = NOW + timedelta(hours=self.choose.randrange(100))
            body = getattr(self, f"_{op}")(n)
            data = self.made.forge(n, op, body, prev=prev, signer=signer, at=at)
        self.made.store.create(entry_name(n), data)
        self.journal.refresh()

    def _some(self, known: list, strange: object) -> object:
        return self.choose.choice(known) if known and self.choose.random() < 0.9 else strange

    def _n(self) -> object:
        return self._some(list(self.journal.state.commits), self.choose.randrange(1, 50))

    def _until(self) -> str | None:
        until = format_instant(NOW + timedelta(hours=self.choose.randrange(100)))
        return self.choose.choice([None, until, until, until])

    def _open(self, _n: int) -> dict:
        keyring = self.journal.state.keyring
        assert keyring is not None
        return {
            "session": self.choose.choice(self.sessions),
            "lineage": self.choose.choice(self.lineages),
            "host": self.choose.choice(self.hosts),
            "keyring": keyring.version if self.choose.random() < 0.9 else 7,
            "keyslots": {name: bytes(32).hex() for name in ("data", "meta", "refs")},
            "resumes": None,
        }

    def _commit(self, _n: int) -> dict:
        state = self.journal.state
        session = self._some(list(state.sessions), self.sessions[0])
        opened = state.sessions.get(session)
        lineage = opened.lineage if opened else self.lineages[0]
        known = state.lineages.get(lineage)
        seq, last = (known.seq, known.last) if known else (0, 0)
        body = commit_body(
            draft(bytes(16), complete=self.choose.random() < 0.6),
            session=bytes.fromhex(session),
            lineage=bytes.fromhex(lineage),
            host=bytes.fromhex(self.choose.choice(self.hosts)),
            seq=seq + self.choose.choice([1] * 9 + [2]),
            previous=last,
        )
        if self.choose.random() < 0.2:
            body["root"] |= {"id": self.choose.choice(self.objects).split("/")[1]}
        return body

    def _abort(self, _n: int) -> dict:
        state = self.journal.state
        return {"session": self._some(list(state.sessions), self.sessions[1]), "reason": "x"}

    def _expire(self, _n: int) -> dict:
        return {"commits": sorted({self._n(), self._n()}), "reason": "old"}

    def _hold(self, _n: int) -> dict:
        return {"commit": self._n(), "until": self._until()}

    def _release(self, _n: int) -> dict:
        return {"commit": self._n()}

    def _condemn(self, _n: int) -> dict:
        return {"objects": [self.choose.choice(self.objects)]}

    def _swept(self, n: int) -> dict:
        return {"condemn": self._some(list(self.journal.state.condemned), n - 1)}

    def _mark(self, _n: int) -> dict:
        lineage = self.choose.choice(self.lineages)
        return {"lineage": lineage, "epoch": "e1", "seq": 3, "digest": bytes(32).hex()}

    def _keyring(self, _n: int) -> dict:
        keyring = self.journal.state.keyring
        assert keyring is not None
        value = keyring.to_json()
        return {"keyring": value | {"version": keyring.version + self.choose.choice([1, 1, 0])}}

    def _create(self, _n: int) -> dict:
        return self._keyring(1)

    def _checkpoint(self, _n: int) -> dict:
        state = self.journal.state.to_checkpoint()
        return {"state": state if self.choose.random() < 0.7 else state | {"marks": {"x": {}}}}


@pytest.mark.parametrize("seed", range(12))
def test_both_judge_every_journal_alike(tool, tmp_path, seed):
    """Of random journals, legal and not, both find the same entries void and the same final state."""
    scribe = Scribe(seed)
    for _ in range(80):
        scribe.write()
    store = tmp_path / "store"
    for name, data in scribe.made.store.objects.items():
        (store / name).parent.mkdir(parents=True, exist_ok=True)
        (store / name).write_bytes(data)
    keys = scribe.made.keys
    decoder = tool.Journal(store, keys.id.hex(), keys.admins[0])
    voids = [void.n for void in scribe.journal.voids]
    assert [n for n, _ in decoder.void] == voids
    assert 10 < len(voids) < 75
    assert decoder.state == scribe.journal.state.to_checkpoint()
    assert sorted(decoder.commits()) == sorted(scribe.journal.state.commits)
