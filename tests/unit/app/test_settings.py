"""The options of ``drkeeper.yaml``: by file and by variable, and the secrets that are in neither."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from doubles.clock import FakeClock
from drkeeper.app.config.configuration import load_configuration
from drkeeper.app.config.environment import run_environment
from drkeeper.app.config.locations import find_locations
from drkeeper.app.config.problems import InvalidFilesError
from drkeeper.app.config.settings import DaemonSettings, LogSettings, WebSettings
from drkeeper.errors import ConfigurationError
from drkeeper.model.alarm import Level
from drkeeper.model.channel import (
    AppriseChannel,
    Channel,
    EmailChannel,
    HeartbeatChannel,
    WebhookChannel,
)

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
EMAIL = "server: mail.example.org, sender: a@example.org, to: [b@example.org]"


@pytest.fixture
def load(tmp_path):
    """Return a function that loads a drkeeper.yaml."""

    def loaded(text, **variables):
        (tmp_path / "drkeeper.yaml").write_text(text)
        locations = find_locations({}, config=str(tmp_path), root=True)
        return load_configuration(locations, variables=variables, clock=FakeClock(NOW))

    return loaded


def wrong(load, text):
    """Load a drkeeper.yaml that is wrong, and return its first problem as ``line:col: message``."""
    with pytest.raises(InvalidFilesError) as caught:
        load(text)
    problem = caught.value.problems[0]
    return f"{problem.mark.line}:{problem.mark.column}: {problem.message}"


def test_an_empty_file_has_the_documented_defaults(load):
    """Everything works without writing any of it."""
    found = load("")
    assert found.daemon == DaemonSettings(
        workers=2,
        per_repository=2,
        per_source=2,
        tick=timedelta(seconds=15),
        probe_every=timedelta(minutes=4),
        stalled_after=timedelta(minutes=10),
        stop_within=timedelta(seconds=80),
    )
    assert found.web == WebSettings("127.0.0.1:8970", None, None)
    assert found.log == LogSettings("auto", "info")
    assert found.ledger is None
    assert not found.channels


def test_every_option_is_read(load):
    """With its unit."""
    found = load("""
repositories: {primary: {store: /b, check_within: 7d}}
daemon:
  {workers: 4, per_repository: 1, per_source: 3, tick: 5s, probe_every: 1m, stalled_after: 1h,
   stop_within: 20s}
web: {listen: /run/drkeeper/web.sock, textfile: /var/lib/node/drkeeper.prom}
log: {format: json, level: debug}
ledger: postgresql://keeper@db.example.org/drkeeper?sslmode=verify-full
""")
    assert found.repositories["primary"].check_within == timedelta(days=7)
    assert (found.daemon.workers, found.daemon.per_repository, found.daemon.per_source) == (4, 1, 3)
    assert found.daemon.stop_within == timedelta(seconds=20)
    assert found.web.listen == "/run/drkeeper/web.sock"
    assert found.web.textfile == Path("/var/lib/node/drkeeper.prom")
    assert found.log == LogSettings("json", "debug")
    assert found.ledger == "postgresql://keeper@db.example.org/drkeeper?sslmode=verify-full"


@pytest.mark.parametrize("listen", ["127.0.0.1:1", "[::1]:8970", "localhost:65535", "/a/b.sock"])
def test_addresses_to_listen_on(load, listen):
    """As a person writes them."""
    assert load(f"web: {{listen: '{listen}'}}\n").web.listen == listen
    assert load("web: {listen: none}\n").web.listen is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("web: {listen: 8970}", "1:15: web.listen: expected text"),
        ("web: {listen: host}", "no address; write 127.0.0.1:8970"),
        ("web: {listen: '::1:80'}", "no address"),
        ("web: {listen: ':80'}", "no address"),
        ("web: {listen: 'h:0'}", "0 is no port"),
        ("web: {listen: 'h:65536'}", "65536 is no port"),
        ("web: {listen: /a/../b}", "has . or .."),
        ("web: {token: hunter2}", "secrets do not belong in this file"),
        ("daemon: {workers: 0}", "daemon.workers"),
        ("daemon: {worker: 1}", "did you mean 'workers'?"),
        ("daemon: {tick: 2m}", "2 min is outside 1 s to 1 min"),
        ("log: {level: loud}", "log.level"),
        ("ledger: sqlite:///x", "write postgresql://user@host/database"),
        ("ledger: postgresql://u:hunter2@h/d", "set DRKEEPER_LEDGER_PASSWORD_FILE"),
        ("ledger: postgresql://u@h/d?password=hunter2", "set DRKEEPER_LEDGER_PASSWORD_FILE"),
        ("repositories: {a: {store: /b, check_within: 0s}}", "longer than nothing"),
        ("notify: {ops: {}}", "a channel is one of heartbeat, webhook, email, apprise; found none"),
        ("notify: {ops: {apprise: {}, webhook: {}}}", "found webhook and apprise"),
        ("notify: {ops: {mail: {}}}", "unknown key 'mail'"),
        ("notify: {OPS: {apprise: {}}}", "only a-z"),
        ("host: _x", "host: only letters, digits,"),
        ("notify: {ops: {apprise: {}, level: error}}", "notify.ops.level"),
        ("notify: {ops: {apprise: {}, digest_at: 25:00}}", "not a time of day such as 07:30"),
        ("notify: {ops: {apprise: {}, remind_every: 1}}", "expected text"),
        ("notify: {ops: {apprise: {urls: [hunter2]}}}", "set DRKEEPER_NOTIFY_OPS_URLS_FILE"),
        ("notify: {o-p.s: {heartbeat: {url: hunter2}}}", "set DRKEEPER_NOTIFY_O_P_S_URL_FILE"),
        ("notify: {ops: {webhook: {secret: hunter2}}}", "set DRKEEPER_NOTIFY_OPS_SECRET_FILE"),
        ("notify: {ops: {webhook: {url: 'http://h/'}}}", "plain http is for this machine only"),
        ("notify: {ops: {webhook: {url: 'https://u:hunter2@h/'}}}", "must not hold credentials"),
        ("notify: {ops: {webhook: {url: 'file:///etc/passwd'}}}", "begins with https://"),
        (f"notify: {{ops: {{email: {{{EMAIL}, password: hunter2}}}}}}", "OPS_PASSWORD_FILE"),
        (f"notify: {{ops: {{email: {{{EMAIL}, user: u, security: none}}}}}}", "in the open"),
        ("notify: {o: {email: {server: h, sender: nobody, to: [a@b]}}}", "'nobody' is not an"),
        ("notify: {o: {email: {server: h, sender: a@b, to: []}}}", "must not be empty"),
        ("notify: {a-b: {apprise: {}}, a.b: {apprise: {}}}", "the same variables"),
    ],
)
def test_each_mistake_is_named_where_it_is(load, text, told):
    """And a secret in the wrong place is not shown."""
    message = wrong(load, text + "\n")
    assert told in message
    assert message.startswith("1:")
    assert "hunter2" not in message.replace(text, "")


def test_variables_win_over_the_file(load):
    """Each option that is one value has one; an empty variable is none."""
    found = load(
        "host: a\ndaemon: {workers: 4, per_source: 5}\nlog: {level: debug}\n",
        DRKEEPER_HOST="b",
        DRKEEPER_TIME_ZONE="Europe/Berlin",
        DRKEEPER_DAEMON_WORKERS="7",
        DRKEEPER_DAEMON_TICK="1s",
        DRKEEPER_WEB_LISTEN="none",
        DRKEEPER_LOG_LEVEL="",
        DRKEEPER_LEDGER="postgresql://keeper@h/d",
    )
    assert (found.host, found.zone_name) == ("b", "Europe/Berlin")
    assert (found.daemon.workers, found.daemon.per_source) == (7, 5)
    assert found.daemon.tick == timedelta(seconds=1)
    assert found.web.listen is None
    assert found.log.level == "debug"
    assert found.ledger == "postgresql://keeper@h/d"


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("DRKEEPER_DAEMON_WORKERS", "many", "valid integer"),
        ("DRKEEPER_DAEMON_WORKERS", "0", "greater than or equal to 1"),
        ("DRKEEPER_DAEMON_TICK", "15", "with its unit"),
        ("DRKEEPER_HOST", "/", "pattern"),
        ("DRKEEPER_TIME_ZONE", "Berlin", "no time zone 'Berlin'"),
        ("DRKEEPER_LEDGER", "postgresql://u:hunter2@h/d", "DRKEEPER_LEDGER_PASSWORD_FILE"),
    ],
)
def test_a_wrong_variable_is_named(load, variable, value, told):
    """With what it may say; its value is not repeated where it may be a secret."""
    with pytest.raises(ConfigurationError, match=variable) as caught:
        load("", **{variable: value})
    assert told in str(caught.value)
    assert "hunter2" not in str(caught.value)


CHANNELS = f"""
notify:
  beat: {{heartbeat: {{body: true}}}}
  hook: {{webhook: {{url: 'https://h.example.org/x'}}, level: info, remind_every: never}}
  slack: {{webhook: {{}}, daemon: false}}
  mail:
    email: {{{EMAIL}, user: keeper}}
    level: failure
    remind_every: 6h
    digest_at: 7:30
    details: true
  local: {{email: {{server: localhost, security: none, sender: a@b, to: [c@d], ca: /ca.pem}}}}
  all: {{apprise: {{}}}}
"""
SECRETS = {
    "DRKEEPER_NOTIFY_BEAT_URL": "https://hc.example.org/ping/1",
    "DRKEEPER_NOTIFY_HOOK_SECRET": "key",
    "DRKEEPER_NOTIFY_SLACK_URL": "https://hooks.example.org/T/B/X",
    "DRKEEPER_NOTIFY_MAIL_PASSWORD": "geheim",
    "DRKEEPER_NOTIFY_ALL_URLS": "ntfy://a  json://b",
}


def test_channels_are_read_with_their_secrets(load):
    """The file says how, the environment what must not be seen."""
    channels = load(CHANNELS, **SECRETS).channels
    assert list(channels) == ["beat", "hook", "slack", "mail", "local", "all"]
    assert channels["beat"] == Channel(
        "beat", HeartbeatChannel("https://hc.example.org/ping/1", body=True)
    )
    assert channels["hook"] == Channel(
        "hook",
        WebhookChannel("https://h.example.org/x", "key"),
        level=Level.INFO,
        remind_every=None,
    )
    assert channels["slack"].kind == WebhookChannel("https://hooks.example.org/T/B/X", None)
    assert not channels["slack"].daemon
    to = ("b@example.org",)
    mail = EmailChannel(
        "mail.example.org", 587, "starttls", "a@example.org", to, "keeper", "geheim"
    )
    assert channels["mail"] == Channel(
        "mail", mail, Level.FAILURE, timedelta(hours=6), digest_at="07:30", details=True
    )
    assert channels["local"].kind == EmailChannel(
        "localhost", 25, "none", "a@b", ("c@d",), ca="/ca.pem"
    )
    assert channels["all"].kind == AppriseChannel(("ntfy://a", "json://b"))
    assert "geheim" not in repr(channels["mail"])


def test_a_secret_is_asked_for_when_its_channel_is(load):
    """A command that tells nobody anything needs none, and one that is missing harms no other."""
    found = load(CHANNELS, DRKEEPER_NOTIFY_ALL_URLS="json://b")
    assert found.channels["all"].kind == AppriseChannel(("json://b",))
    for name in ("beat", "slack", "mail"):
        with pytest.raises(ConfigurationError, match=f"channel '{name}' has no") as caught:
            found.channels[name]
        assert f"DRKEEPER_NOTIFY_{name.upper()}_" in caught.value.hint


@pytest.mark.parametrize(
    "url", ["http://hc.example.org/hunter2", "hunter2", "https://u:hunter2@h/", "file:///hunter2"]
)
def test_an_address_that_may_not_be_called_is_refused(load, url):
    """The message does not hold it: it is a secret."""
    found = load(CHANNELS, DRKEEPER_NOTIFY_BEAT_URL=url)
    with pytest.raises(ConfigurationError, match="the URL of channel 'beat'") as caught:
        found.channels["beat"]
    assert "hunter2" not in f"{caught.value}{caught.value.hint}{caught.value.__context__!r}"


def test_too_many_addresses_are_refused(load):
    """One that runs away must not call the whole world."""
    found = load(CHANNELS, DRKEEPER_NOTIFY_ALL_URLS="json://b " * 21)
    with pytest.raises(ConfigurationError, match="more than 20 addresses"):
        found.channels["all"]


def test_secrets_come_from_files_and_credentials_too(load, tmp_path):
    """By the same rule as the passphrase."""
    token = tmp_path / "token"
    token.write_text("abc\n")
    token.chmod(0o600)
    found = load("", DRKEEPER_WEB_TOKEN_FILE=str(token))
    assert found.web.token == "abc"
    assert "abc" not in repr(found)
    for name, secret in (("notify_beat_url", "https://hc.example.org/2"), ("web_token", "xyz")):
        path = tmp_path / f"drkeeper.{name}"
        path.write_text(secret)
        path.chmod(0o600)
    found = load(CHANNELS, CREDENTIALS_DIRECTORY=str(tmp_path))
    assert found.web.token == "xyz"
    assert found.channels["beat"].kind.url == "https://hc.example.org/2"


def test_the_ledgers_password_is_put_into_its_address(load):
    """Whatever characters it has; and it is not shown."""
    found = load("ledger: postgresql://keeper@h:5433/d\n", DRKEEPER_LEDGER_PASSWORD="p@ss/w:rd")
    assert found.ledger == "postgresql://keeper:p%40ss%2Fw%3Ard@h:5433/d"
    assert "p%40ss" not in repr(found)
    with pytest.raises(ConfigurationError, match="no user"):
        load("ledger: postgresql:///d\n", DRKEEPER_LEDGER_PASSWORD="x")


def test_secrets_of_the_daemon_stay_for_the_next_reload(load):
    """And runs of drkeeper inherit what they need, but not those of channels and of the page."""
    names = {
        "DRKEEPER_NOTIFY_BEAT_URL": False,
        "DRKEEPER_WEB_TOKEN": False,
        "DRKEEPER_LEDGER_PASSWORD": True,
    }
    os.environ.update(dict.fromkeys(names, "https://x.example.org"))
    try:
        load("ledger: postgresql://u@h/d\n" + CHANNELS, **os.environ).channels["beat"]
        given = run_environment(None)
        assert {name: name in given for name in names} == names
        assert set(names) <= set(os.environ)
    finally:
        for name in names:
            del os.environ[name]
