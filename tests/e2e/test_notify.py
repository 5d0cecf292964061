"""``drkeeper notify`` as people use it."""

import json

import pytest

from doubles.installation import Installation
from doubles.receivers import HttpReceiver, SmtpReceiver, answer, json_of

pytestmark = pytest.mark.e2e


@pytest.fixture
def here(tmp_path):
    made = Installation(tmp_path)
    (made.etc / "policies.d").mkdir(parents=True)
    (made.etc / "policies.d" / "shop.yaml").write_text(
        "policy: shop\nsource: {files: {paths: [/srv]}}\nrepository: primary\nnotify: [ops, beat]\n"
    )
    return made


def configure(here, channels):
    here.etc.joinpath("drkeeper.yaml").write_text(
        "time_zone: Europe/Berlin\n"
        f"repositories: {{primary: {{store: {here.store}}}}}\n"
        f"notify: {json.dumps(channels)}\n"
    )


def test_each_channel_is_tried_and_said_how_it_went(here):
    """A webhook, a heartbeat and a mail server get a test; one that refuses gives the exit code."""
    with HttpReceiver() as http, SmtpReceiver() as smtp:
        mail = {
            "server": "127.0.0.1",
            "port": smtp.port,
            "security": "none",
            "sender": "a@example.org",
            "to": ["b@example.org"],
        }
        configure(
            here,
            {
                "ops": {"webhook": {"url": f"{http.url}/hook"}},
                "beat": {"heartbeat": {}},
                "mail": {"email": mail},
            },
        )
        here.variables["DRKEEPER_NOTIFY_BEAT_URL"] = f"{http.url}/hunter2"
        out = here.done("notify", "test")
        assert [line.split()[:2] for line in out.splitlines()] == [
            ["ok", "ops:"], ["ok", "beat:"], ["ok", "mail:"],
        ]  # fmt: skip
        assert {each.target for each in http.requests} == {"/hook", "/hunter2/log"}
        said = json_of(next(each for each in http.requests if each.target == "/hook"))
        assert said["type"] == "drkeeper.test"
        assert " CE" in said["data"]["text"]
        assert "test of the channel mail" in smtp.mails[0].message["Subject"]
        http.answers += [answer(403)] * 2
        done = here.run("notify", "test", "ops", "mail", "--json")
        assert done.returncode == 24
        items = [json.loads(line) for line in done.stdout.splitlines()]
        assert [item.get("delivered") for item in items] == [False, True, None]
        assert items[-1] == {"message_type": "summary", "channels": 2, "failed": 1}
        assert "hint" in items[0]
        listed = here.done("notify", "list")
    assert "hunter2" not in f"{out}{done.stdout}{done.stderr}{listed}"


def test_the_list_says_who_is_told_what(here):
    """Every channel with its way and its people; secrets stay away, and a missing one is said."""
    configure(
        here,
        {
            "ops": {"webhook": {"url": "https://example.org/"}, "level": "failure"},
            "beat": {"heartbeat": {}},
        },
    )
    out = here.done("notify", "list")
    assert "webhook, unsigned  failure  of shop" in out
    assert "channel 'beat' has no URL" in out
    items = [json.loads(line) for line in here.done("notify", "list", "--json").splitlines()]
    assert items[0]["policies"] == ["shop"]
    assert items[1]["problem"] == "channel 'beat' has no URL"


def test_a_secret_that_is_missing_is_the_configuration_s_matter(here):
    """Its exit code says so, and the other channels are tried all the same."""
    with HttpReceiver() as http:
        configure(
            here, {"beat": {"heartbeat": {}}, "ops": {"webhook": {"url": f"{http.url}/hook"}}}
        )
        done = here.run("notify", "test")
        assert len(http.requests) == 1
    assert done.returncode == 13
    assert "DRKEEPER_NOTIFY_BEAT_URL_FILE" in done.stdout


def test_a_channel_that_is_not_there_is_named_with_a_guess(here):
    """And an installation without channels says how to add one."""
    configure(
        here, {"ops": {"webhook": {"url": "https://example.org/"}}, "beat": {"heartbeat": {}}}
    )
    done = here.run("notify", "test", "opsx")
    assert (done.returncode, "did you mean 'ops'" in done.stderr) == (13, True)
    (here.etc / "policies.d" / "shop.yaml").unlink()
    configure(here, {})
    assert here.run("notify", "test").returncode == 13
    assert "nobody is told" in here.done("notify", "list")
