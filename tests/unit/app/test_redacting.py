"""What a redactor hides, and what it leaves."""

import pytest

from drkeeper.app.wiring.logs.known import (
    secrets_of_channels,
    secrets_of_environment,
    secrets_of_url,
)
from drkeeper.app.wiring.logs.redacting import CUT, DEEPEST, MOST_ITEMS, REDACTED, Redactor, telling
from drkeeper.model.channel import (
    AppriseChannel,
    Channel,
    EmailChannel,
    HeartbeatChannel,
    WebhookChannel,
)

ID = "5fc2a3de-9b1c-4d6c-8d0e-2f4f2f8f3c11"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("password=hunter22 user=me", "password=[redacted] user=me"),
        ('{"secret_access_key": "wJalr/+x", "bucket": "b"}',
         '{"secret_access_key": "[redacted]", "bucket": "b"}'),
        ("Authorization: Bearer abc.def-ghi", "Authorization: [redacted]"),
        ("sent Bearer abcdefgh.ijk to it", "sent Bearer [redacted] to it"),
        ("GET /x?X-Amz-Signature=0aff&y=1", "GET /x?X-Amz-Signature=[redacted]&y=1"),
        ("postgresql://me:p@ss,w0rd@db:5432/x", "postgresql://me:[redacted]@db:5432/x"),
        ("key AGE-SECRET-KEY-1QQPZRY9X8 here", "key AGE-SECRET-KEY-1[redacted] here"),
        ("DRK-SIGNING-KEY-1ABCDEF", "DRK-SIGNING-KEY-1[redacted]"),
    ],
)  # fmt: skip
def test_tells_secrets_by_what_stands_before_them(text: str, shown: str) -> None:
    """In any text, what follows a telling name is hidden, though nobody registered it; once."""
    redactor = Redactor()
    assert redactor.text(text) == shown
    assert redactor.text(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "the store at https://s3.example.com:9000/bucket does not answer",
        "policy home: 3 files changed, see /srv/me@home",
        "run drkeeper key list",
        "12:30:01 ended with status 3",
    ],
)
def test_leaves_harmless_text(text: str) -> None:
    """What is no secret stays as it is, down to the last character."""
    assert Redactor().text(text) == text


def test_hides_by_key_and_keeps_the_shape() -> None:
    """Fields with telling names are hidden at any depth; their neighbours and types stay."""
    fields = {
        "event": "store.refused",
        "attempt": 2,
        "ok": False,
        "nothing": None,
        "options": [{"AWS_SECRET_ACCESS_KEY": "abc", "region": "eu", "token": None}],
        "headers": {"authorization": b"Basic eA==", "cookie": ["a", "b"]},
        "passphrase_file": "/etc/x",
    }
    assert Redactor().fields(fields) == {
        "event": "store.refused",
        "attempt": 2,
        "ok": False,
        "nothing": None,
        "options": [{"AWS_SECRET_ACCESS_KEY": REDACTED, "region": "eu", "token": None}],
        "headers": {"authorization": REDACTED, "cookie": REDACTED},
        "passphrase_file": "/etc/x",
    }


def test_takes_anything() -> None:
    """Values without end, without bounds or without a working repr cost nothing but their detail."""

    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    endless: list[object] = []
    endless.append(endless)
    redactor = Redactor(["hunter22"])
    assert redactor.value(Broken()) == "<Broken that cannot be shown>"
    assert str(redactor.value(endless)).count("[") == DEEPEST
    assert len(redactor.value(list(range(10_000)))) == MOST_ITEMS + 1
    assert redactor.value({i: i for i in range(300)})[CUT] == 300 - MOST_ITEMS
    assert redactor.value(ValueError("bad hunter22")) == "bad [redacted]"
    assert redactor.value(b"\xffhunter22") == "\\xff[redacted]"


def test_short_values_are_not_looked_for() -> None:
    """A password of three characters would blot out half of every text, so it is not one here."""
    redactor = Redactor(["abc", "", "   "])
    assert redactor.text("the abc of it") == "the abc of it"


def test_each_line_of_a_key_file_is_a_secret() -> None:
    """Of a secret of several lines each long one is hidden by itself; comments and frames are not."""
    redactor = Redactor(["# created: today and here\nfirst-part-1\n-----BEGIN KEY-----\nx\n"])
    assert redactor.text("got first-part-1 in # created: today and here") == (
        "got [redacted] in # created: today and here"
    )
    assert redactor.text("-----BEGIN KEY-----") == "-----BEGIN KEY-----"


def test_finds_secrets_in_the_environment(tmp_path) -> None:
    """Telling variables, secret files, credentials of systemd and AWS's own file are all known."""
    (tmp_path / "creds").mkdir()
    (tmp_path / "creds" / "drkeeper.notify_ops_url").write_text(f"https://hc.example.com/{ID}\n")
    (tmp_path / "phrase").write_text("from-a-file\n")
    (tmp_path / "aws").write_text(
        "[x]\naws_access_key_id = AKIA1\naws_secret_access_key = wJalrX\n"
    )
    found = set(
        secrets_of_environment({
            "CREDENTIALS_DIRECTORY": str(tmp_path / "creds"),
            "DRKEEPER_PASSPHRASE_FILE": str(tmp_path / "phrase"),
            "DRKEEPER_PASSPHRASE_COMMAND": "pass show backup",
            "DRKEEPER_WEB_TOKEN": "web-token",
            "DRKEEPER_NOTIFY_OPS_URL": f"https://hooks.example.com/services/{ID[:8]}",
            "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "aws"),
            "HTTPS_PROXY": "http://me:pr%40xy@proxy:8080",
            "HOME": str(tmp_path),
            "PATH": "/usr/bin",
        })
    )  # fmt: skip
    assert {"from-a-file\n", "web-token", ID, ID[:8], "wJalrX", "pr%40xy", "pr@xy"} <= found
    assert not {"/usr/bin", "pass show backup", "services", "AKIA1"} & found


def test_finds_secrets_of_channels_and_urls() -> None:
    """Ids of heartbeats, web hooks and Apprise, keys and passwords; words of paths stay readable."""
    kinds = (
        HeartbeatChannel(f"https://hc.example.com/ping/{ID}"),
        WebhookChannel("https://h.example.com/webhooks/T0123456/abc", "signing-it"),
        EmailChannel("mail", 25, "starttls", "a@b", ("c@d",), "me", "mail-pass"),
        AppriseChannel(("tgram://123456789:AAbbCCdd11/-100",)),
    )
    found = set(secrets_of_channels(Channel(f"c{i}", kind) for i, kind in enumerate(kinds)))
    assert {ID, "T0123456", "signing-it", "mail-pass", "123456789", "AAbbCCdd11"} <= found
    assert "webhooks" not in found
    assert list(secrets_of_url("http://[broken")) == []
    assert set(secrets_of_url("https://x/y?token=t0p&page=2")) == {"t0p"}


@pytest.mark.parametrize("name", ["PWD", "OLDPWD"])
def test_the_folder_one_is_in_is_no_secret(name: str) -> None:
    """Shells call it PWD; hidden, every path below it would be."""
    assert not telling(name)
    assert telling("DB_PWD")
