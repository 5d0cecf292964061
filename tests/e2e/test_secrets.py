"""Canaries: what is protected, and what protects it, shows up nowhere else.

Names of files may be told to the operator: on the terminal, and in the ledger's record of why a run
failed. The cache of this machine holds them, too. Both lie beside the files themselves, readable
for nobody else. The store never learns of them, nor does any other file.
"""

import base64
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from doubles.installation import Installation

CONTENT = b"canary-content-9f31d7"
NAME = b"canary-name-5be02a"
PASSPHRASE = "canary-passphrase-c41e88"
KEYS = re.compile(r"(?:AGE-SECRET-KEY-PQ-1|AGE-SECRET-KEY-1|DRK-SIGNING-KEY-1)(\w{20,})")


@pytest.fixture
def installed(tmp_path: Path) -> Installation:
    """An installation whose source is full of canaries and whose kit has a passphrase."""
    passphrase = tmp_path / "passphrase"
    passphrase.write_text(PASSPHRASE + "\n")
    passphrase.chmod(0o600)
    installation = Installation(tmp_path / "home", {"DRKEEPER_PASSPHRASE_FILE": str(passphrase)})
    top = os.fsencode(installation.source)
    os.makedirs(top + b"/" + NAME + b"-folder")
    for number in range(20):
        with open(top + b"/%b-%d" % (NAME, number), "wb") as file:
            file.write(CONTENT * (number * 50 + 1))
    with open(top + b"/%b-folder/large" % NAME, "wb") as file:
        file.write(CONTENT * 40_000)
    os.symlink(NAME + b"-target", top + b"/link")
    os.setxattr(top + b"/" + NAME + b"-1", b"user." + NAME, CONTENT)
    return installation


@contextmanager
def watching(seen: set[bytes]) -> Iterator[None]:
    """Collect the arguments and environments of all processes below this one, meanwhile."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            for pid in _descendants(os.getpid()):
                for what in ("cmdline", "environ"):
                    try:
                        seen.add(Path(f"/proc/{pid}/{what}").read_bytes())
                    except OSError:
                        continue  # it has ended

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _descendants(pid: int) -> list[int]:
    found = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            text = Path(f"/proc/{pid}/task/{task}/children").read_text()
            for child in map(int, text.split()):
                found += [child, *_descendants(child)]
    except OSError:
        return found
    return found


def everything(installed: Installation) -> list[str]:
    """Run every operation, also so that it fails; return all that was said."""
    away = installed.home / "away"
    said = []

    def run(*arguments: object, fails: bool = False) -> None:
        result = installed.run(*arguments)
        assert (result.returncode not in {0, 3}) == fails, (arguments, result)
        said.append(result.stdout + result.stderr)

    run("init", installed.store, "--kit-file", installed.kit, "--protect-kit", "--protect",
        installed.source, "--debug", "-v")  # fmt: skip
    run("init", installed.store, "--kit-file", installed.kit, "--debug", fails=True)
    run("backup", "files", "--debug", "-v")
    (installed.source / "changed").write_bytes(CONTENT)
    run("backup", "files", "--json")
    installed.store.rename(away)
    run("backup", "files", "--debug", fails=True)
    run("check", "--json", fails=True)
    away.rename(installed.store)
    run("restore", "files", "--identity", installed.kit, "--to", "out", "--debug")
    run("restore", "files", "--to", "out", "--json", fails=True)
    run("check", "--debug", "-v")
    pack = next(path for path in (installed.store / "packs").rglob("*") if path.is_file())
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 1
    pack.write_bytes(data)
    run("check", "--read-data", "--debug", fails=True)
    run("restore", "files", "--to", "damaged", "--debug", fails=True)
    return said


def holding(top: Path, needles: list[bytes]) -> list[str]:
    """Return the files below a folder that hold one of the needles."""
    files = [path for path in top.rglob("*") if path.is_file()]
    return [
        f"{needle!r} in {path}"
        for path in files
        for needle in needles
        if needle in path.read_bytes() or needle in os.fsencode(path)
    ]


def spellings(secret: bytes) -> list[bytes]:
    """Return the ways in which bytes are usually written down."""
    return [secret, secret.hex().encode(), base64.b64encode(secret)[:-4]]


def test_nothing_shows_up_anywhere_else(installed: Installation) -> None:
    """Content, names, passphrase and keys are in no object, output, record, argv or environment."""
    seen: set[bytes] = set()
    with watching(seen):
        said = "".join(everything(installed)).encode()
    keys = [
        key.encode()
        for path in (installed.etc / "keys" / "primary").glob("*.key")
        for key in KEYS.findall(path.read_text())
    ]
    assert len(keys) >= 4
    secrets = [*keys, *spellings(PASSPHRASE.encode())]
    sealed = [*spellings(CONTENT), *spellings(NAME), *secrets]
    assert holding(installed.store, sealed) == []
    assert holding(installed.home / "state", [*spellings(CONTENT), *secrets]) == []
    named = holding(installed.home / "state", spellings(NAME))
    assert [where for where in named if not where.endswith("/ledger.sqlite")] == []
    for path in (installed.home / "state", installed.home / "cache"):
        assert path.stat().st_mode & 0o077 == 0
    assert holding(installed.home / "cache", [*spellings(CONTENT), *secrets]) == []
    assert [needle for needle in [*spellings(CONTENT), *secrets] if needle in said] == []
    assert len(seen) >= 10
    assert [text for text in seen for needle in [*sealed] if needle in text] == []
    kit = installed.kit.read_bytes()
    assert b"AGE ENCRYPTED FILE" in kit
    assert KEYS.search(kit.decode()) is None
