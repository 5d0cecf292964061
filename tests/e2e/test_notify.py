"""``drkeeper notify`` as people use it."""

import json
from datetime import timedelta

import pytest

from doubles.installation import Installation
from doubles.ledgers import ledger_at
from doubles.receivers import HttpReceiver, SmtpReceiver, answer, json_of
from drkeeper.clock import SystemClock

pytestmark = pytest.mark.e2e


class PastClock(SystemClock):
    """The system's clock, two hours behind."""

    def now(self):
        return super().now() - timedelta(hours=2)


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


def test_a_policy_that_names_no_channel_is_told_to_all(here):
    """The list says so also of channels that another policy names, and of heartbeats for each policy."""
    here.variables["DRKEEPER_NOTIFY_EACH_URL"] = "https://example.org/{policy}"
    here.variables["DRKEEPER_NOTIFY_BEAT_URL"] = "https://example.org/1"
    beats = {name: {"heartbeat": {}} for name in ("beat", "each")}
    configure(here, {"ops": {"webhook": {"url": "https://example.org/"}}, **beats})
    (here.etc / "policies.d" / "home.yaml").write_text(
        "policy: home\nsource: {files: {paths: [/srv]}}\n"
    )
    out = here.done("notify", "list")
    assert "of shop, policies that name no channel, again every 1 d" in out
    assert "of the runs of policies that name no channel" in out
    assert "of the runs of shop\n" in out
    items = [json.loads(line) for line in here.done("notify", "list", "--json").splitlines()]
    told = {item["channel"]: item["policies"] for item in items if "channel" in item}
    assert told == {"ops": ["home", "shop"], "beat": ["shop"], "each": ["home"]}


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


def test_timers_tell_what_the_daemon_would(here):
    """By run --due: pings of its runs, one alarm while the policy fails, one all-clear after."""
    an_hour_ago = SystemClock().now() - timedelta(hours=1)
    here.source.mkdir()
    source = here.source / "documents"
    here.done("init", here.store, "--kit-file", here.kit)
    for sample in (here.etc / "policies.d").glob("*.yaml"):
        sample.unlink()
    (here.etc / "policies.d" / "shop.yaml").write_text(
        f"policy: shop\nsource: {{files: {{paths: [{source}]}}}}\nrepository: primary\n"
        f"schedule: daily at {an_hour_ago:%H:%M}\nnotify: [ops, beat]\n"
    )
    with HttpReceiver() as http:
        channels = {"ops": {"webhook": {"url": f"{http.url}/hook"}}, "beat": {"heartbeat": {}}}
        with open(here.etc / "drkeeper.yaml", "a") as file:
            file.write(f"notify: {json.dumps(channels)}\n")
        here.variables["DRKEEPER_NOTIFY_BEAT_URL"] = f"{http.url}/beat"

        def heard():
            pings = [each.target.partition("?")[0] for each in http.requests]
            hooks = [json_of(each) for each in http.requests if each.target == "/hook"]
            return [ping for ping in pings if ping != "/hook"], hooks

        with ledger_at(here.home / "state" / "ledger.sqlite", clock=PastClock()) as ledger:
            ledger.see_policies({"shop": "as it was"})
        assert here.run("run", "--due").returncode == 18
        pings, hooks = heard()
        assert pings == ["/beat/start", "/beat/18"]
        kinds = [(each["type"], each["data"]["kind"]) for each in hooks]
        assert kinds == [("drkeeper.entered", "failing")]
        assert str(source) not in json.dumps(hooks)
        here.run("run", "--due")
        assert len(heard()[1]) == 1
        source.mkdir()
        (source / "letter.txt").write_text("Dear reader")
        here.done("backup", "shop")
        here.done("run", "--due")
        hooks = heard()[1]
        assert [each["type"] for each in hooks] == ["drkeeper.entered", "drkeeper.left"]
        assert "Nothing needs to be done." in hooks[1]["data"]["text"]
    assert "failing" not in here.done("status")
