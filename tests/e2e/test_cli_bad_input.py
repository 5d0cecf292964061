"""Whatever is wrong, the command says so: the right exit code, one message, one hint, no traceback.

And nothing is lost: after each mistake is mended, the next run succeeds without repair.
"""

import ctypes
import os
import resource
import shutil
import socket

import pytest

from doubles.installation import Installation, expect

POLICY = """
policy: {name}
source:
  files:
    paths: [{path}]
"""

BAD = "policy: bad\nsource: {files: {paths: [/a]}}\n"

PRCTL = ctypes.CDLL(None).prctl


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    """Return an installation with a repository and one snapshot, made once."""
    installation = Installation(tmp_path_factory.mktemp("template")).init()
    installation.done("backup", "files")
    return installation


@pytest.fixture
def installed(template, tmp_path):
    """Return a copy of the template of this test's own, in which every path is the copy's."""
    shutil.copytree(template.home, tmp_path, symlinks=True, dirs_exist_ok=True)
    installation = Installation(tmp_path)
    for path in (*installation.etc.rglob("*.yaml"), installation.kit):
        path.write_text(path.read_text().replace(str(template.home), str(tmp_path)))
    return installation


def still_works(installation):
    """Require that the next run succeeds without repair and the repository is sound."""
    installation.done("backup", "files")
    installation.done("check")


def test_a_missing_source_is_the_owners_turn(installed):
    """Exit 18, naming the path."""
    installed.policy("gone", POLICY.format(name="gone", path=installed.home / "gone"))
    expect(installed.run("backup", "gone"), 18, str(installed.home / "gone"))
    still_works(installed)


def test_an_emptied_source_is_suspected(installed):
    """Exit 18 until somebody says that it is right; the old snapshots stay."""
    shutil.rmtree(installed.source)
    installed.source.mkdir()
    expect(installed.run("backup", "files"), 18, "--allow-shrink")
    assert len(installed.lines("snapshots", "files")) == 2
    installed.done("backup", "files", "--allow-shrink")


def without_rights_over_files():
    """Drop what lets root read everything, for the program that is started next."""
    if os.geteuid() == 0:
        for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
            assert PRCTL(24, capability, 0, 0, 0) == 0  # PR_CAPBSET_DROP


def test_an_unreadable_file_is_a_warning(installed):
    """Exit 3: the snapshot exists, and names what is not in it."""
    (installed.source / "secret").write_text("x")
    os.chmod(installed.source / "secret", 0)
    result = installed.run("backup", "files", preexec_fn=without_rights_over_files)
    assert result.returncode == 3, result.stderr
    assert "secret" in result.stderr
    assert "snapshot" in result.stdout
    os.chmod(installed.source / "secret", 0o600)
    still_works(installed)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("policy: [", "not YAML"),
        ("policy: bad\nsource: {files: {paths: [/a]}}\nscheduled: daily\n", "did you mean"),
        ("policy: bad\npolicy: bad\n", "twice"),
        ("policy: &a bad\nsource: *a\n", "alias"),
        ("policy: !!python/object/apply:os.system ['touch /pwned']\n", "tags"),
        ("<<: {policy: bad}\n", "merge key"),
        ("[" * 50_000, "nested deeper"),
        ("a: b\n" * 2_500_000, "larger than"),
        ("policy: bad\x00\n", "U+0000"),
        ("policy: bad\nsource: {postgresql: {service: x}}\n", "not in this release"),
        ("policy: \udcff\n", "not UTF-8"),
        (f"{BAD}pause: {{reason: later}}\n", "3:1: key 'until' is missing"),
        (f"{BAD}pause: {{until: 2999-01-01}}\n", "3:16: 2999-01-01T00:00:00Z is more than 366"),
        (f"{BAD}schedule: hourly\njitter: 2h\n", "4:9: 2 h is longer than the shortest pause"),
        (
            f"{BAD}limits: {{closed: [00:00-12:00, 12:00-00:00]}}\n",
            "3:10: these close every minute",
        ),
        (f"{BAD}hooks: {{before_backup: [/bin/a, /bin/b]}}\n", "3:9: hooks.before_backup: is this"),
        (f"{BAD}hooks: {{before_backup: [sh, -c, rm]}}\n", "'sh' is not the absolute path"),
        (f"{BAD}notify: [ops]\n", "3:10: no channel 'ops' below notify"),
        (f"{BAD}retention: {{minimum: 9}}\n", "3:22: without another rule"),
    ],
)
def test_garbage_and_hostile_policies_are_refused(installed, text, told):
    """Exit 13 with file, line and column; other policies go on working."""
    path = installed.policy("bad", "")
    path.write_bytes(text.encode(errors="surrogateescape"))
    result = installed.run("policy", "check")
    expect(result, 13, told, str(path))
    assert len(result.stderr) < 20_000
    expect(installed.run("backup", "bad"), 13)
    still_works(installed)


def test_an_unknown_policy_gets_a_guess(installed):
    """Exit 13."""
    expect(installed.run("backup", "file"), 13, "did you mean 'files'")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["backups"], "did you mean 'backup'"),
        (["backup"], "there: files"),
        (["backup", "--alll"], "--all"),
        (["restore", "files", "--point-in-time", "yesterday"], "not an instant"),
        (["restore", "files", "--point-in-time", ""], "not an instant"),
        (["restore", "files", "--to", "x", "--in-place"], "exclude each other"),
        (["restore", "files", "--to", ""], "names no directory"),
        (["restore", "--dry-run"], "name the policy"),
        (["check", "--read-data=0%"], "percentage"),
    ],
)
def test_usage_errors_say_what_to_write(installed, arguments, told):
    """Exit 2."""
    expect(installed.run(*arguments), 2, told)


def test_a_store_without_repository_is_told_apart(installed, tmp_path):
    """Exit 10: the address is right, the repository is elsewhere."""
    empty = tmp_path / "empty"
    empty.mkdir()
    settings = installed.etc / "drkeeper.yaml"
    settings.write_text(settings.read_text().replace(str(installed.store), str(empty)))
    expect(installed.run("backup", "files"), 10, str(empty))


def test_another_repository_in_its_place_is_refused(installed, tmp_path):
    """Exit 20: nobody writes to a repository that was swapped."""
    other = Installation(tmp_path / "other")
    other.home.mkdir()
    other.init()
    shutil.rmtree(installed.store)
    shutil.copytree(other.store, installed.store)
    expect(installed.run("backup", "files"), 20, "as this machine remembers")


def test_keys_of_another_repository_open_nothing(installed, tmp_path):
    """Exit 13 or 20 with the kit of another repository; never a guess."""
    other = Installation(tmp_path / "other")
    other.home.mkdir()
    other.init()
    result = installed.run(
        "restore", "files", "--store", installed.store, "--identity", other.kit, "--to", "out"
    )
    assert result.returncode in {13, 20}
    expect(result, result.returncode)
    assert not (installed.home / "out").exists()


def test_a_wrong_passphrase_is_told(tmp_path):
    """Exit 12, for a kit under a passphrase; the right one opens it."""
    secret = tmp_path / "passphrase"
    secret.write_text("correct horse\n")
    secret.chmod(0o600)
    installed = Installation(tmp_path, {"DRKEEPER_PASSPHRASE_FILE": str(secret)})
    installed.init("--protect-kit")
    installed.done("backup", "files")
    assert "AGE-SECRET-KEY" not in installed.kit.read_text()
    installed.done("restore", "files", "--identity", installed.kit, "--to", "right")
    secret.write_text("wrong\n")
    arguments = ("restore", "files", "--identity", installed.kit, "--to", "wrong")
    expect(installed.run(*arguments), 12, "passphrase")
    installed.variables.clear()
    expect(installed.run(*arguments), 12, "DRKEEPER_PASSPHRASE_FILE")


def test_a_missing_host_key_is_told(installed):
    """Exit 12, naming the file."""
    os.rename(installed.etc / "keys" / "primary" / "host.key", installed.home / "away")
    expect(installed.run("backup", "files"), 12, "host.key")
    os.rename(installed.home / "away", installed.etc / "keys" / "primary" / "host.key")
    still_works(installed)


def test_key_files_that_others_can_read_are_refused(installed):
    """Exit 13 with the command that mends it."""
    (installed.etc / "keys" / "primary" / "host.key").chmod(0o644)
    expect(installed.run("backup", "files"), 13, "chmod 600")


def test_garbage_as_an_identity_is_refused(installed):
    """Exit 13; nothing of the file is quoted."""
    garbage = installed.home / "garbage"
    garbage.write_text("hunter2 hunter2\n")
    garbage.chmod(0o600)
    result = installed.run("restore", "files", "--identity", garbage, "--to", "out")
    expect(result, 13, str(garbage))
    assert "hunter2" not in result.stderr


def test_a_closed_port_is_storage_unreachable(tmp_path):
    """Exit 17 from a store that nobody serves."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    installed = Installation(
        tmp_path,
        {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "canary-secret"},
    )
    result = installed.run(
        "init", "s3://bucket/prefix", "--endpoint", f"http://127.0.0.1:{port}",
        "--kit-file", installed.kit, "--protect", "/etc",
    )  # fmt: skip
    expect(result, 17)
    assert "canary-secret" not in result.stdout + result.stderr
    assert not installed.kit.exists()


def test_no_credentials_are_storage_refused(tmp_path):
    """Exit 17, naming where credentials belong."""
    installed = Installation(tmp_path, {"AWS_EC2_METADATA_DISABLED": "true"})
    result = installed.run(
        "init", "s3://bucket/prefix", "--endpoint", "http://127.0.0.1:9", "--kit-file",
        installed.kit, "--protect", "/etc",
    )  # fmt: skip
    expect(result, 17, "credentials")


def test_plain_http_to_another_machine_is_refused(tmp_path):
    """Exit 13: signatures and names would cross the network in the open."""
    installed = Installation(tmp_path)
    result = installed.run(
        "init", "s3://bucket/p", "--endpoint", "http://s3.example.org", "--kit-file", installed.kit
    )
    expect(result, 13, "plain http")


def test_an_address_of_another_kind_is_no_folder(installed):
    """``ftp://…`` is refused, not made a folder of that name below the current one."""
    for arguments in (
        ["init", "s3:bucket/x", "--name", "x", "--kit-file", "kit"],
        ["snapshots", "--store", "ftp://host/x", "--identity", str(installed.kit)],
    ):
        expect(installed.run(*arguments), 13, "s3://bucket/prefix")
    assert not [*installed.home.glob("ftp*"), *installed.home.glob("s3*")]


def test_a_store_without_a_key_says_which_key_is_missing(installed):
    """Exit 12: nothing is configured for this store, so a key has to be named."""
    expect(
        installed.run("snapshots", "--store", installed.store),
        12,
        "--identity",
        str(installed.store),
    )


def test_what_this_user_may_not_see_is_said(installed):
    """Exit 13, naming the place; not a defect, and not as if there were nothing there."""
    os.chmod(installed.etc, 0)
    for command in (["snapshots"], ["doctor"], ["backup", "files"]):
        result = installed.run(*command, preexec_fn=without_rights_over_files)
        expect(result, 13, "Permission denied", str(installed.etc))
    result = installed.run("config", "paths", preexec_fn=without_rights_over_files)
    assert "not for this user to see" in result.stdout
    os.chmod(installed.etc, 0o700)
    still_works(installed)


def test_init_overwrites_nothing(installed):
    """Exit 13 for the same name, the same store, or an existing kit file."""
    before = {path: path.read_bytes() for path in installed.etc.rglob("*") if path.is_file()}
    expect(installed.run("init", installed.home / "b", "--kit-file", "k"), 13, "already")
    expect(
        installed.run("init", installed.store, "--name", "two", "--kit-file", "k"), 13, "already"
    )
    expect(
        installed.run("init", installed.home / "b", "--name", "two", "--kit-file", installed.kit),
        13,
        "exists already",
    )
    assert before == {
        path: path.read_bytes() for path in installed.etc.rglob("*") if path.is_file()
    }
    still_works(installed)


def test_a_full_disk_is_told_and_nothing_is_lost(installed):
    """Exit 21 when the store's file system takes no more; what was committed restores."""
    (installed.source / "more.bin").write_bytes(os.urandom(3_000_000))

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

    result = installed.run("backup", "files", preexec_fn=limit)
    assert result.returncode in {17, 21}, (result.returncode, result.stderr)
    expect(result, result.returncode)
    still_works(installed)
    installed.done("restore", "files", "--to", "out")


def test_an_occupied_target_is_left_alone(installed):
    """Exit 22: a restore never makes things worse."""
    target = installed.home / "busy"
    target.mkdir()
    (target / "mine").write_text("mine")
    expect(installed.run("restore", "files", "--to", target), 22, "not empty")
    assert [path.name for path in target.iterdir()] == ["mine"]


def test_an_instant_before_everything_is_not_reachable(installed):
    """Exit 16 with what is reachable; never a substitute."""
    expect(
        installed.run("restore", "files", "--point-in-time", "2001-01-01T00:00:00Z", "--to", "out"),
        16,
    )
    expect(
        installed.run("restore", "files", "--point-in-time", "2999-01-01T00:00:00Z", "--to", "out"),
        16,
        "future",
    )
    assert not (installed.home / "out").exists()


def test_damage_is_reported_never_guessed_around(installed):
    """Exit 20 from check and from restore when stored bytes are not what was written.

    For each finding, check says what to do.
    """
    for pack in (path for path in (installed.store / "packs").rglob("*") if path.is_file()):
        content = bytearray(pack.read_bytes())
        content[1000] ^= 1
        pack.chmod(0o600)
        pack.write_bytes(content)
    checked = installed.run("check", "--read-data")
    expect(checked, 20)
    assert checked.stdout.count("error: ") == checked.stdout.count("hint: ") > 0, checked.stdout
    expect(installed.run("restore", "files", "--to", "out"), 20)


def test_a_damaged_journal_never_makes_an_old_snapshot_look_like_the_newest(installed):
    """Exit 20, also on a machine that has never seen the repository; salvage shows what is sound."""
    for _ in range(2):
        assert installed.run("backup", "files").returncode == 0
    journal = installed.store / "journal"
    third_last = journal / f"{len(list(journal.iterdir())) - 2:016d}"
    content = bytearray(third_last.read_bytes())
    content[100] ^= 1
    third_last.chmod(0o600)
    third_last.write_bytes(content)
    for seen_before in (True, False):
        if not seen_before:
            shutil.rmtree(installed.home / "state")
        for command in (("snapshots",), ("restore", "files", "--to", "out")):
            expect(installed.run(*command), 20, "--salvage")
    assert not (installed.home / "out").exists()
    found = installed.run("snapshots", "--salvage")
    assert found.returncode == 0, found.stderr
    assert "damaged" in found.stderr
    assert installed.run("restore", "files", "--salvage", "--to", "out").returncode == 0


def test_a_damaged_ledger_costs_no_backup(installed):
    """Exit 3: the snapshot is made, the warning names the ledger."""
    ledger = installed.home / "state" / "ledger.sqlite"
    ledger.write_bytes(b"garbage" * 1000)
    result = installed.run("backup", "files")
    assert result.returncode == 3, result.stderr
    assert "warning: the ledger could not record" in result.stderr
    assert "snapshot" in result.stdout
    expect(installed.run("ledger", "verify"), 23)


def test_a_defect_is_called_a_defect(installed):
    """Exit 70 and no traceback, unless asked for."""
    shutil.rmtree(installed.etc / "policies.d")
    (installed.etc / "policies.d").write_text("not a folder")
    result = installed.run("policy", "check")
    assert result.returncode in {13, 70}
    expect(result, result.returncode)
