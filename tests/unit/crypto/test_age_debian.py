"""Passphrase files against the age that Debian ships: another implementation, on a real terminal."""

import os
import pty
import select
import shutil
import subprocess

import pytest

from drkeeper.crypto import age

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        shutil.which("age") is None or shutil.which("setsid") is None,
        reason="needs age: apt-get install age (scripts/install-test-services)",
    ),
]

PASSPHRASE = "correct horse bättery"


def run_age(arguments, answers):
    """Run age with a terminal of its own, answering each of its questions."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        ["setsid", "--ctty", "--wait", "age", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    said = b""
    for answer in answers:
        while b": " not in said:
            assert select.select([ours], [], [], 30)[0], said
            said += os.read(ours, 4096)
        os.write(ours, f"{answer}\n".encode())
        said = b""
    status = child.wait(timeout=60)
    os.close(ours)
    return status


def test_debians_age_opens_our_passphrase_file(tmp_path):
    """A kit made by drkeeper can be opened where drkeeper is not."""
    sealed = tmp_path / "kit.age"
    sealed.write_bytes(age.armored(age.encrypt_with_passphrase(b"identity", PASSPHRASE)))

    assert run_age(["-d", "-o", str(tmp_path / "out"), str(sealed)], [PASSPHRASE]) == 0
    assert (tmp_path / "out").read_bytes() == b"identity"


def test_we_open_debians_passphrase_file(tmp_path):
    """An identity protected by stock age is usable as it is."""
    (tmp_path / "in").write_bytes(b"identity")
    sealed = tmp_path / "stock.age"

    arguments = ["-p", "-a", "-o", str(sealed), str(tmp_path / "in")]
    assert run_age(arguments, [PASSPHRASE, PASSPHRASE]) == 0
    assert age.is_passphrase_file(sealed.read_bytes())
    assert age.decrypt_with_passphrase(sealed.read_bytes(), PASSPHRASE) == b"identity"
