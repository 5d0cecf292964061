"""The command against an S3 server with a certificate of one's own authority."""

from doubles.certificates import Authority
from doubles.installation import Installation, expect
from doubles.s3chaos import S3Chaos


def test_the_command_works_over_tls(tmp_path):
    """init, backup, check and restore over https with AWS_CA_BUNDLE; without it one clear error."""
    authority = Authority(tmp_path)
    with S3Chaos(tls=authority.server_context()) as chaos:
        _works_over_tls(chaos, authority, tmp_path / "machine")


def _works_over_tls(chaos, authority, home):
    home.mkdir()
    installed = Installation(
        home,
        {
            "AWS_ACCESS_KEY_ID": "CHAOSKEY",
            "AWS_SECRET_ACCESS_KEY": "chaos-secret",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CA_BUNDLE": str(authority.bundle),
        },
    )
    installed.source.mkdir()
    (installed.source / "one.txt").write_text("one\n" * 1000)
    installed.done(
        "init", "s3://bucket/tls", "--endpoint", chaos.endpoint, "--protect", installed.source,
        "--kit-file", installed.kit,
    )  # fmt: skip
    installed.done("backup", "files")
    installed.done("check", "--read-data")
    installed.done("restore", "files", "--to", "out")
    restored = installed.home / "out" / str(installed.source).lstrip("/") / "one.txt"
    assert restored.read_text() == "one\n" * 1000

    del installed.variables["AWS_CA_BUNDLE"]
    expect(installed.run("snapshots"), 17, "not trusted", "bundle")
    installed.variables["AWS_CA_BUNDLE"] = "/nowhere.pem"
    expect(installed.run("snapshots"), 17, "bundle cannot be read")
