"""The command against an S3 server: the main job, and a store that says no."""

import pytest

from doubles.installation import Installation, expect
from doubles.s3chaos import S3Chaos

ACCESS_KEY = "CHAOSKEY"
SECRET_KEY = "chaos-secret"


@pytest.fixture
def chaos():
    """Serve one bucket on loopback."""
    with S3Chaos() as server:
        yield server


@pytest.fixture
def installed(chaos, tmp_path):
    """Return an installation whose repository is in the bucket, with one snapshot."""
    installation = Installation(
        tmp_path,
        {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_EC2_METADATA_DISABLED": "true",
        },
    )
    installation.source.mkdir()
    for number in range(5):
        (installation.source / f"{number}.txt").write_text(f"{number}\n" * 1000)
    installation.done(
        "init", "s3://bucket/prefix", "--endpoint", chaos.endpoint, "--protect",
        installation.source, "--kit-file", installation.kit,
    )  # fmt: skip
    installation.done("backup", "files")
    return installation


def test_a_bucket_serves_as_a_folder_does(installed, chaos, tmp_path):
    """Back up, check, restore; and again from nothing but the kit and credentials."""
    installed.done("check", "--read-data")
    installed.done("restore", "files", "--to", "out")
    bare = Installation(tmp_path / "bare", dict(installed.variables))
    bare.home.mkdir()
    bare.done("restore", "files", "--identity", installed.kit, "--to", "out")
    inside = bare.home / "out" / str(installed.source).lstrip("/")
    assert (inside / "3.txt").read_text() == "3\n" * 1000
    stored = b"".join(chaos.objects("prefix").values())
    assert b"3\n3\n3\n" not in stored
    assert SECRET_KEY.encode() not in stored


@pytest.mark.parametrize("kind", ["expired", "403"])
def test_credentials_that_do_not_suffice_are_the_owners_turn(installed, chaos, kind):
    """Exit 17 for expired credentials and refused rights; the next run succeeds without repair."""
    (installed.source / "new.txt").write_text("new")
    chaos.fault(verb="PUT", kind=kind, times=1000)
    result = installed.run("backup", "files")
    expect(result, 17)
    assert SECRET_KEY not in result.stdout + result.stderr
    chaos.clear()
    installed.done("backup", "files")
    installed.done("check")


def test_a_full_bucket_is_told(installed, chaos):
    """Exit 21."""
    (installed.source / "new.txt").write_text("new")
    chaos.fault(verb="PUT", kind="quota", times=1000)
    expect(installed.run("backup", "files"), 21)
    chaos.clear()
    installed.done("backup", "files")


def test_a_wrong_secret_is_refused(installed):
    """Exit 17: the signature does not match."""
    installed.variables["AWS_SECRET_ACCESS_KEY"] = "wrong-canary"
    result = installed.run("backup", "files")
    expect(result, 17)
    assert "wrong-canary" not in result.stderr


def test_doctor_shows_what_the_store_can_do(installed):
    """Capabilities and clock skew, line by line."""
    result = installed.run("doctor")
    assert "create-if-absent yes" in result.stdout
    assert "primary: clock" in result.stdout
