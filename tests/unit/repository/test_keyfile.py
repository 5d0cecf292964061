"""Key files: private on disk, usable by stock age, silent about their secrets."""

import os
import shutil
import stat
import subprocess

import pytest

from doubles.repositories import new_repository
from drkeeper.crypto.age import (
    Identity,
    armored,
    encrypt,
    encrypt_with_passphrase,
    is_passphrase_file,
)
from drkeeper.errors import ConfigurationError, KeyNotFoundError
from drkeeper.repository.keyfile import (
    parse_key_file,
    read_key_file,
    write_key_file,
)
from drkeeper.repository.keyring import Role
from drkeeper.repository.private_file import create_private, make_private_directory

ROLES = ["admin", "host", "janitor", "verifier", "recovery"]


def same(one, other):
    """Tell whether two key files hold the same secrets."""
    return one.to_text() == other.to_text()


@pytest.mark.parametrize("role", ROLES)
def test_a_key_file_comes_back(role, tmp_path):
    """What is written is read back, whatever the role, with mode 0600."""
    key = getattr(new_repository().keys, role)
    path = str(tmp_path / "a.key")
    write_key_file(path, key)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert same(read_key_file(path), key)
    assert os.listdir(tmp_path) == ["a.key"]


def test_a_key_file_is_never_replaced(tmp_path):
    """Writing over an existing file is refused and leaves it alone."""
    path = str(tmp_path / "a.key")
    create_private(path, b"precious")
    with pytest.raises(ConfigurationError, match="exists already"):
        write_key_file(path, new_repository().keys.host)
    assert (tmp_path / "a.key").read_bytes() == b"precious"
    assert os.listdir(tmp_path) == ["a.key"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610])
def test_a_key_file_open_to_others_is_refused(mode, tmp_path):
    """A key that others may read is not used, and the message says what to do."""
    path = str(tmp_path / "a.key")
    write_key_file(path, new_repository().keys.host)
    os.chmod(path, mode)
    with pytest.raises(ConfigurationError, match="can be read by others") as caught:
        read_key_file(path)
    assert "chmod 600" in caught.value.hint


@pytest.mark.parametrize("kind", ["absent", "directory", "fifo", "huge"])
def test_what_is_no_file_is_refused(kind, tmp_path):
    """A path that is no ordinary small file gives one clear error, at once."""
    path = str(tmp_path / "a.key")
    match kind:
        case "directory":
            os.mkdir(path, 0o700)
        case "fifo":
            os.mkfifo(path, 0o600)
        case "huge":
            create_private(path, bytes(65 * 1024))
        case _:
            pass
    with pytest.raises(ConfigurationError):
        read_key_file(path)


def test_a_directory_that_cannot_be_written_is_said(tmp_path):
    """When a key file cannot be written, the message names the path and what to do."""
    with pytest.raises(ConfigurationError, match="cannot write") as caught:
        create_private(str(tmp_path / "absent" / "a.key"), b"x")
    assert caught.value.hint


def test_a_passphrase_protects_the_whole_file():
    """Right, wrong and absent passphrases do what they should; nothing is readable without."""
    key = new_repository().keys.recovery
    quick = encrypt_with_passphrase(key.to_text().encode(), "correct horse", work_factor=10)
    protected = armored(quick)
    assert protected.startswith(b"-----BEGIN AGE ENCRYPTED FILE-----")
    assert same(parse_key_file(protected, lambda: "correct horse"), key)
    for passphrase in (lambda: "battery staple", None):
        with pytest.raises(KeyNotFoundError, match="passphrase") as caught:
            parse_key_file(protected, passphrase)
        assert caught.value.exit_code == 12
        assert caught.value.hint


def test_a_protected_key_file_is_written_sealed(tmp_path):
    """A key file written with a passphrase holds nothing readable."""
    key = new_repository().keys.recovery
    path = str(tmp_path / "a.key")
    write_key_file(path, key, "correct horse")
    data = (tmp_path / "a.key").read_bytes()
    assert is_passphrase_file(data)
    assert b"AGE-SECRET" not in data


def test_a_file_of_stock_age_is_a_recovery_key():
    """Identities made by age's own tool are taken, several in one file too."""
    identities = [Identity.generate() for _ in range(2)]
    text = "# created: 2026\n# public key: age1pq1…\n" + "\n".join(
        identity.secret_text() for identity in identities
    )
    key = parse_key_file(text.encode())
    assert (key.role, key.repository) == (Role.RECOVERY, None)
    assert [i.recipient for i in key.identities] == [i.recipient for i in identities]


GARBAGE = {
    "empty": b"",
    "comments only": b"# nothing\n",
    "binary": bytes(range(256)),
    "plain text": b"my password is 12345\n",
    "broken identity": b"AGE-SECRET-KEY-PQ-1QQQQ\n",
    "unknown fact": b"#drkeeper colour: red\n",
    "fact twice": b"#drkeeper role: host\n#drkeeper role: host\n",
    "unknown role": b"#drkeeper role: root\n",
    "host without keys": b"#drkeeper role: host\n",
    "admin without key": b"#drkeeper role: admin\n",
    "malformed repository": b"#drkeeper role: admin\n#drkeeper repository: 12\n",
    "broken signing key": b"#drkeeper role: admin\n#drkeeper signing-key: DRK-SIGNING-KEY-1QQ\n",
}


@pytest.mark.parametrize("what", list(GARBAGE))
def test_garbage_is_refused_without_quoting_it(what):
    """A file that is no key file gives a configuration error that repeats none of it."""
    with pytest.raises(ConfigurationError) as caught:
        parse_key_file(GARBAGE[what])
    assert "12345" not in str(caught.value)
    assert "QQQ" not in str(caught.value)


@pytest.mark.parametrize("missing", ["signing-key", "host:", "domain", "AGE-SECRET"])
def test_an_incomplete_host_key_is_refused(missing):
    """A host key must hold everything a host needs."""
    lines = new_repository().keys.host.to_text().splitlines()
    kept = [line for line in lines if missing not in line]
    assert len(kept) == len(lines) - 1
    with pytest.raises(ConfigurationError, match="lacks"):
        parse_key_file("\n".join(kept).encode())


def test_the_wrong_repository_is_named():
    """A key of another repository is refused with both sides of the mistake."""
    key = new_repository().keys.verifier
    assert key.for_repository(key.repository) is key
    with pytest.raises(ConfigurationError, match="belongs to another repository") as caught:
        key.for_repository(bytes(16))
    assert caught.value.hint


@pytest.mark.skipif(shutil.which("age") is None, reason="needs age: apt-get install age")
def test_stock_age_reads_the_file(tmp_path):
    """The tool `age` accepts our file as an identity file (or is too old for this key type)."""
    key = new_repository().keys.verifier
    path = str(tmp_path / "a.key")
    write_key_file(path, key)
    (tmp_path / "secret.age").write_bytes(encrypt(b"hello", [key.identities[0].recipient]))
    done = subprocess.run(
        ["age", "--decrypt", "-i", path, str(tmp_path / "secret.age")],
        capture_output=True,
        check=False,
    )
    too_old = b"unknown identity type" in done.stderr or b"malformed secret key" in done.stderr
    if done.returncode != 0 and too_old:
        pytest.skip("this age is too old for post-quantum identities: it needs 1.3")
    assert done.stdout == b"hello", done.stderr


def test_every_directory_that_is_made_is_private(tmp_path):
    """Not only the last one: who may write above it could put another in its place."""
    before = os.umask(0)
    try:
        make_private_directory(str(tmp_path / "a" / "b" / "c"))
    finally:
        os.umask(before)
    for name in ("a", "a/b", "a/b/c"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o700
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigurationError, match="cannot make the directory"):
        make_private_directory(str(tmp_path / "file"))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give files to another user")
def test_root_is_not_told_to_take_the_key_of_a_service(tmp_path):
    """A key that is given to root is lost to the service: root is told as whom to run this."""
    path = str(tmp_path / "a.key")
    write_key_file(path, new_repository().keys.host)
    os.chown(path, 1, 1)
    with pytest.raises(ConfigurationError, match="belongs to another user, daemon") as caught:
        read_key_file(path)
    assert caught.value.hint.startswith("Run this as daemon; ")
    os.chown(path, 54321, -1)
    with pytest.raises(ConfigurationError, match="belongs to another user, 54321"):
        read_key_file(path)
