"""Many processes write to one repository at once."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from drkeeper.crypto.signing import SigningKey
from drkeeper.repository.creation import new_host_key, with_host
from drkeeper.repository.keyfile import parse_key_file
from drkeeper.repository.repository import update_keyring
from faults.forking import TESTS
from faults.invariants import (
    assert_acknowledged,
    assert_repository_sound,
    assert_restores,
    assert_tidy,
    describe,
)
from faults.worlds import World, fence, noise

WRITERS = 16
HOSTS = 3
ROUNDS = 4

SCRIPT = """
import sys
from pathlib import Path
from faults.worlds import World
from drkeeper.errors import FencedError
root, source, policy, store, rounds = sys.argv[1:]
world = World(Path(root), Path(source), policy)
from drkeeper.storage.folder import FolderStore
world.opens = lambda: FolderStore(store)
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(rounds)):
    (world.source / "changes").write_text(f"{number} of {policy}")
    try:
        report = world.backup()
    except FencedError:
        print("fenced", flush=True)
    else:
        print(report.commit.n, report.commit.digest.hex(), flush=True)
"""


@pytest.fixture
def first(tmp_path: Path) -> World:
    """A repository, and a key folder for each of several hosts."""
    world = World(tmp_path / "host-0", tmp_path / "source")
    world.root.mkdir()
    fence(world)
    world.source.mkdir()
    world.init()
    admin = next(
        SigningKey.parse(line.split()[-1])
        for line in _sections((world.root / "kit.txt").read_text(), "role: admin")
        if "signing-key" in line
    )
    with world.opened() as repository:
        for number in range(1, HOSTS):
            key = new_host_key(repository.id)
            update_keyring(repository, admin, lambda keyring, key=key: with_host(keyring, key))
            folder = World(tmp_path / f"host-{number}", world.source).keys
            folder.mkdir(parents=True)
            shutil.copy(world.keys / "admins", folder)
            for name, text in (
                ("host.key", key.to_text()),
                ("verifier.key", (world.keys / "verifier.key").read_text()),
            ):
                (folder / name).write_text(text)
                (folder / name).chmod(0o600)
    return world


def _sections(kit: str, title: str) -> list[str]:
    """Return the lines of a kit from one title to the next."""
    lines = kit.splitlines()
    begin = next(number for number, line in enumerate(lines) if title in line)
    return lines[begin:]


def begin(base: Path, store: Path, number: int) -> tuple[World, subprocess.Popen[str]]:
    """Begin a writer, which waits for a line before it writes.

    Each fourth one writes to the lineage of the one before, from the same host: they fence each
    other off, or take turns.
    """
    name = number - 1 if number % 4 == 3 else number
    host = base / f"host-{name % HOSTS}"
    # a tree of its own: what is acknowledged is held against what the tree was then
    source = base / f"source-{number}"
    source.mkdir()
    (source / "own").write_bytes(noise(name, 50_000))
    (source / "shared").write_bytes(noise(99, 400_000))
    os.utime(source / "shared", ns=(1, 1))
    world = World(host, source, f"policy-{name}")
    environment = os.environ | {"PYTHONPATH": f"{TESTS}:{TESTS.parent / 'src'}"}
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, host, source, world.policy, store, str(ROUNDS)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    return world, process


@pytest.mark.slow
def test_sixteen_writers(first: World, tmp_path: Path) -> None:
    """Every commit that any of 16 writers was told of is there and restores; the journal is whole."""
    writers = [begin(tmp_path, first.store_folder, number) for number in range(WRITERS)]
    for _, process in writers:
        assert process.stdout.readline() == "ready\n", process.stderr.read()
    for _, process in writers:
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=300) for _, process in writers]
    assert [process.returncode for _, process in writers] == [0] * WRITERS, said
    lines = [line.split() for out, _ in said for line in out.splitlines()]
    told = {int(n): digest for n, digest in (line for line in lines if line != ["fenced"])}
    assert len(told) == len([line for line in lines if line != ["fenced"]])
    made = [sum(line != "fenced" for line in out.splitlines()) for out, _ in said]
    alone, shared = [0, 1], [2, 3]  # of each four: see begin
    for first_of_four in range(0, WRITERS, 4):
        assert [made[first_of_four + each] for each in alone] == [ROUNDS, ROUNDS]
        assert sum(made[first_of_four + each] for each in shared) > 0, "fenced off for nobody"
    commits = assert_repository_sound(first, read_data=True)
    assert {commit.n: commit.digest.hex() for commit in commits} == told
    for number in range(HOSTS):
        host = World(tmp_path / f"host-{number}", first.source)
        assert_acknowledged(commits, host.acks())
        host.opens = first.open_store
        if number:
            assert_tidy(host)
    newest = {commit.lineage: commit for commit in commits}
    lineages = {
        parse_key_file((world.keys / "host.key").read_bytes()).domain.lineage_id(
            world.policy, "files"
        )
        for world, _ in writers
    }
    assert newest.keys() == lineages
    # the tree of a writer that was fenced off at last has gone on without a snapshot
    sources = {
        int(line.split()[0]): world.source
        for (world, _), (out, _) in zip(writers, said, strict=True)
        for line in out.splitlines()[-1:]
        if line != "fenced"
    }
    kept = [commit for commit in newest.values() if commit.n in sources]
    assert len(kept) >= WRITERS // 2, "each that is alone has the newest of its own"
    for commit in kept:
        source = sources[commit.n]
        assert_restores(first, commit, describe(source), path=source)
    for commit in commits:
        target = first.scratch()
        first.restore(commit.n, target=target)
        first.forget(target)
