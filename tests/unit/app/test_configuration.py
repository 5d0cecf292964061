"""Configuration files: what they say, and everything that can be wrong with them."""

import os
from datetime import UTC, datetime, timedelta

import pytest

from doubles.clock import FakeClock
from drkeeper.app.config.configuration import (
    RepositorySettings,
    load_configuration,
    load_policy_file,
)
from drkeeper.app.config.locations import find_locations
from drkeeper.app.config.problems import InvalidFilesError
from drkeeper.app.config.samples import policy_text, settings_text
from drkeeper.errors import ConfigurationError
from drkeeper.model.policy import Hook, Pause

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SETTINGS = "repositories:\n  primary:\n    store: /backup\n"
POLICY = "policy: home\nsource:\n  files:\n    paths: [/home]\n"


@pytest.fixture
def installation(tmp_path):
    """Return a function that writes files and loads them."""

    def load(settings=SETTINGS, **policies):
        (tmp_path / "policies.d").mkdir(exist_ok=True)
        if settings is not None:
            (tmp_path / "drkeeper.yaml").write_text(settings)
        for name, text in policies.items():
            (tmp_path / "policies.d" / f"{name}.yaml").write_text(text)
        locations = find_locations({}, config=str(tmp_path), root=True)
        return load_configuration(locations, variables={}, clock=FakeClock(NOW))

    return load


def messages(configuration):
    """Return every problem as ``line: message``."""
    return [f"{p.mark.line if p.mark else 0}: {p.message}" for p in configuration.problems]


def test_a_full_policy_is_read_as_written(installation):
    """Every key of this release reaches the policy with its unit."""
    text = """
policy: home
source:
  files:
    paths: [/home, /etc]
    exclude: ["*.o"]
    exclude_caches: true
    one_file_system: false
    exclude_larger_than: 50 GiB
schedule: daily at 02:30
time_zone: Europe/Berlin
retention: {last: 3, within: 2d, hourly: 24, daily: 7, weekly: 5, monthly: 12, yearly: 7}
objectives: {rpo: 25h, rto: 30m}
repository: primary
tags: {team: web}
limits:
  {memory: 512 MiB, workers: 4, compression: 3, nice: 10, upload: 5 MiB/s, closed: [22:00-06:00]}
jitter: 20m
pause: {until: 2026-12-24 14:30, reason: moving}
notify: [ops]
"""
    policy = installation(SETTINGS + "notify: {ops: {apprise: {}}}\n", p=text).policy("home")
    assert policy.source.paths == ("/home", "/etc")
    assert policy.source.exclude_larger_than == 50 * 2**30
    assert not policy.source.one_file_system
    assert str(policy.schedule) == "daily at 02:30"
    assert policy.zone.key == "Europe/Berlin"
    assert policy.objectives.rpo == timedelta(hours=25)
    assert policy.retention.within == timedelta(days=2)
    assert policy.limits.memory_bytes == 512 * 2**20
    assert policy.retention.minimum == 1
    assert policy.tags == {"team": "web"}
    assert (policy.limits.nice, policy.limits.upload) == (10, 5 * 2**20)
    assert [str(window) for window in policy.limits.closed] == ["22:00-06:00"]
    assert timedelta() <= policy.offset < policy.jitter == timedelta(minutes=20)
    assert policy.pause == Pause(datetime(2026, 12, 24, 13, 30, tzinfo=UTC), "moving")
    assert policy.notify == ("ops",)


def test_a_repository_is_read_with_its_limits(installation):
    """Rates are bytes a second; keys lie beside the file unless told."""
    text = """
host: db1
time_zone: Europe/Berlin
repositories:
  cloud:
    store: s3://bucket/prefix
    endpoint: http://127.0.0.1:9000
    region: eu-central-1
    path_style: true
    profile: backup
    ca: /etc/ssl/own.pem
    keys: elsewhere
    limits: {upload: 20 MiB/s, download: 1 MB/s}
"""
    configuration = installation(text)
    cloud = configuration.repository("cloud")
    assert (cloud.upload_rate, cloud.download_rate) == (20 * 2**20, 10**6)
    assert cloud.keys == configuration.locations.settings.parent / "elsewhere"
    assert (configuration.host, configuration.zone_name) == ("db1", "Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("exclude: []\n", ["unknown key 'exclude'"]),
        ("scheduled: daily\n", ["unknown key 'scheduled'; did you mean 'schedule'?"]),
        ("schedule: dayly\n", ["'dayly' is not a schedule"]),
        ("schedule: 22:30\n", ["'22:30' is not a schedule"]),
        ("time_zone: Europe/Berlim\n", ["did you mean 'Europe/Berlin'?"]),
        ("time_zone: ../../etc/passwd\n", ["no time zone"]),
        ("objectives: {rpo: 10}\n", ["found the number 10; write it with its unit"]),
        ("objectives: {rpo: 0s}\n", ["longer than nothing"]),
        ("retention: {daily: many}\n", ["retention.daily: expected a whole number"]),
        ("retention: {daily: -1}\n", ["retention.daily"]),
        ("retention: []\n", ["retention: expected keys and values"]),
        ("tags: {a: 1.10}\n", ["tags.a: expected text; put it in quotes"]),
        ("tags: {A/: x}\n", ["'A/': only a-z"]),
        (
            f"repository: {'x' * 64}\n",
            ["repository: only a-z, 0-9, dot, dash and underscore, at most 63"],
        ),
        ("repository: primry\n", ["no repository 'primry'"]),
        ("limits: {workers: 0}\n", ["limits.workers"]),
        ("capture: {ship_interval: 10s}\n", ["continuous log shipping is not in this release"]),
        ("drill: {prober: []}\n", ["did you mean 'probes'?"]),
        ("drill: {probes: [{}]}\n", ["write exactly one of sql, command and file"]),
        (
            "drill: {probes: [{sql: SELECT 1, file: /a}]}\n",
            ["write exactly one of sql, command and file"],
        ),
        ("drill: {probes: [{sql: SELECT 1}]}\n", ["say which answer is right", "which database"]),
        ("drill: {probes: [{command: [ls]}]}\n", ["not the absolute path of a program"]),
        ("drill: {probes: [{command: ls}]}\n", ["expected a list"]),
        ("drill: {probes: [{file: a}]}\n", ["not an absolute path"]),
        ("drill: {probes: [{file: /a, min: 5}]}\n", ["write it with its unit, such as 1 KiB"]),
        ("drill: {probes: [{file: /a, min: 2 KiB, max: 1 KiB}]}\n", ["max is less than min"]),
        ("drill: {probes: [{file: /a, exists: false, min: 1 B}]}\n", ["is not there has no min"]),
        ("drill: {probes: [{file: /a, digest: abc}]}\n", ["write sha256: or blake3:"]),
        ("drill: {probes: [{file: /a, timeout: 5s}]}\n", ["timeout does not belong to a probe"]),
        ("drill: {probes: [{command: [/a], min: 1 KiB}]}\n", ["leave the unit out"]),
        ("drill: {probes: [{command: [/a], min: yes}]}\n", ["is not a size"]),
        ("drill: {probes: [{command: [/a], min: true}]}\n", ["expected a number"]),
        ("drill: {probes: [{command: [/a], expect: 1.10}]}\n", ["write the answer in quotes"]),
        ("drill: {probes: [{command: [/a], exit: 256}]}\n", ["less than or equal to 255"]),
        ("drill: {probes: [{command: [/a], name: bytes}]}\n", ["choose another name"]),
        (
            "drill: {probes: [{file: /a, name: x}, {file: /b, name: x}]}\n",
            ["a probe is called 'x' already"],
        ),
        ("drill: {limits: {memory: 5}}\n", ["drill.limits.memory"]),
        ("drill: {readable: [opt]}\n", ["not an absolute path"]),
        ("drill: {readable: [/etc]}\n", ["/etc holds too much"]),
        ("drill: {readable: [/]}\n", ["/ holds too much"]),
        ("drill: {readable: [/run/x]}\n", ["a sandbox has a /run/x of its own"]),
        ("drill: {bare: quarterly on 1}\n", ["needs the recovery kit; name its file with kit"]),
        ("hooks: {before_backup: [x]}\n", ["'x' is not the absolute path of a program"]),
        ("hooks: {before_backup: [/x y]}\n", ["has spaces, and no shell splits it"]),
        ("hooks: {before_backup: [/x/../y]}\n", ["has . or .. in it"]),
        ("hooks: {before_backup: [/x/]}\n", ["not the absolute path of a program"]),
        ("hooks: {before_backup: /x}\n", ["a command is a list of words"]),
        ("hooks: {before_backup: {command: [/x]}}\n", ["a command is a list of words"]),
        ("hooks: {before_backup: [/x, /y]}\n", ["[[/x, /y]] for one, or a list for each"]),
        ("hooks: {before_backup: [[/x], /y]}\n", ["before_backup.1: a command is a list"]),
        ("hooks: {before_backup: [[]]}\n", ["before_backup.0: the list must not be empty"]),
        ("hooks: {before_backup: [/x, 5]}\n", ["before_backup.1: expected text"]),
        ('hooks: {before_backup: [/x, "\\0"]}\n', ["cannot hold the character U+0000"]),
        ("hooks: {before_backup: [{command: [/x], timeout: 2d}]}\n", ["at most 1d"]),
        ("hooks: {before_backup: [{timeout: 2s}]}\n", ["key 'command' is missing"]),
        ("hooks: {after_backup: [{command: [/x], essential: true}]}\n", ["leave essential out"]),
        ("hooks: {before: [/x]}\n", ["did you mean 'before_backup'?"]),
        ("notify: [ops]\n", ["no channel 'ops' below notify"]),
        ("notify: [ops, ops]\n", ["no channel 'ops'", "channel 'ops' is here twice"]),
        ("notify: ops\n", ["notify: expected a list"]),
        ("jitter: 5m\n", ["there is none; leave it out"]),
        ("pause: {reason: moving}\n", ["key 'until' is missing"]),
        ("pause: {until: never}\n", ["'never' is no instant"]),
        ("pause: {until: 2026-02-30}\n", ["not in the calendar"]),
        ("pause: {until: 2096-02-20}\n", ["more than 366 days away"]),
        ("pause: 3d\n", ["pause: expected keys and values"]),
        ("limits: {closed: [00:00-12:00, 12:00-00:00]}\n", ["every minute of the day"]),
        ("limits: {closed: [08:00]}\n", ["'08:00' is not a window"]),
        ("limits: {closed: 08:00-18:00}\n", ["limits.closed: expected a list"]),
        ("limits: {nice: -5}\n", ["limits.nice"]),
        ("limits: {upload: 5}\n", ["limits.upload: expected text"]),
        ("retention: {minimum: 3}\n", ["leave minimum out or add a rule"]),
        ("retention: {daily: 3, minimum: 0}\n", ["retention.minimum"]),
        ("db_password: geheim\n", ["secrets do not belong in this file"]),
    ],
)
def test_each_mistake_in_a_policy_is_named(installation, text, expected):
    """Line, key and what to write instead; never another policy's business."""
    told = messages(installation(p=POLICY + text))
    assert len(told) == len(expected)
    assert all(part in line for line, part in zip(told, expected, strict=True))
    assert told[0].startswith("5: ")


@pytest.mark.parametrize(
    ("text", "longest"),
    [
        ("schedule: hourly\njitter: 61m\n", "1 h"),
        ("schedule: daily\njitter: 25h\n", "1 d"),
        ("schedule: 0 8,9 * * *\njitter: 2h\n", "1 h"),
        ("schedule: every 30m\njitter: 1h\n", "30 min"),
        ("schedule: monthly\njitter: 30d\n", "28 d"),
    ],
)
def test_a_jitter_longer_than_the_shortest_pause_is_refused(installation, text, longest):
    """It would let a run catch up with the one before; the message says how long it may be."""
    told = messages(installation(p=POLICY + text))
    assert len(told) == 1
    assert told[0].endswith(f"write at most {longest}")


def test_the_longest_jitter_is_allowed(installation):
    """The delay itself is always shorter."""
    found = installation(p=POLICY + "schedule: hourly\njitter: 60m\n")
    assert found.policies["home"].offset < timedelta(hours=1)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("[/bin/q, --fast]", [("/bin/q", "--fast")]),
        ("[[/bin/q, --fast]]", [("/bin/q", "--fast")]),
        ("[[/bin/touch, /run/x], [/bin/q]]", [("/bin/touch", "/run/x"), ("/bin/q",)]),
        ("[{command: [/bin/q, /x]}, [/bin/r]]", [("/bin/q", "/x"), ("/bin/r",)]),
        ('[/bin/q, "", " /x"]', [("/bin/q", "", " /x")]),
        ("[/bin/q]", [("/bin/q",)]),
        ("[]", []),
    ],
)
def test_commands_are_words_and_never_split(installation, value, expected):
    """A list of words is one command; one of lists, or of keys and values, is several."""
    policy = installation(p=f"{POLICY}hooks: {{before_backup: {value}}}\n").policy("home")
    assert [hook.command for hook in policy.hooks.before_backup] == expected


def test_hooks_have_their_defaults(installation):
    """Five minutes; essential before the backup, and never after it."""
    text = "hooks: {before_backup: [/a], after_backup: [/b], after_failure: [{command: [/c], timeout: 9s}]}\n"
    hooks = installation(p=POLICY + text).policy("home").hooks
    assert hooks.before_backup == (Hook(("/a",), timedelta(minutes=5), essential=True),)
    assert hooks.after_backup == (Hook(("/b",), timedelta(minutes=5), essential=False),)
    assert hooks.after_failure == (Hook(("/c",), timedelta(seconds=9), essential=False),)
    optional = "hooks: {before_backup: [{command: [/a], essential: false}]}\n"
    assert not installation(p=POLICY + optional).policy("home").hooks.before_backup[0].essential


@pytest.mark.parametrize("place", ["file", "folder"])
def test_commands_that_anybody_may_have_written_are_refused(installation, tmp_path, place):
    """They run with drkeeper's rights, which are often those of root; the rest of a policy may be."""
    hooks = "hooks: {before_backup: [/bin/true]}\n"
    installation(p=POLICY + hooks, q=POLICY.replace("home", "q", 1))
    path = tmp_path / "policies.d" / ("p.yaml" if place == "file" else "")
    before = path.stat().st_mode
    path.chmod(before | 0o002)
    found = installation()
    assert messages(found) == [
        f"5: everybody can write {path}, and these commands run with the rights of drkeeper"
    ]
    assert set(found.policies) == {"q"}
    path.chmod(before)
    assert not installation().problems


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give files to another user")
def test_commands_of_another_user_are_refused(installation, tmp_path):
    """Only root and the user who runs drkeeper may say what is run."""
    installation(p=POLICY + "hooks: {after_failure: [/bin/true]}\n")
    os.chown(tmp_path / "policies.d" / "p.yaml", 65534, -1)
    assert "belongs to another user" in messages(installation())[0]


@pytest.mark.parametrize(
    ("until", "expected"),
    [
        ("2026-12-24", datetime(2026, 12, 23, 23, tzinfo=UTC)),
        ("2026-12-24 14:30", datetime(2026, 12, 24, 13, 30, tzinfo=UTC)),
        ("2026-12-24T14:30:00Z", datetime(2026, 12, 24, 14, 30, tzinfo=UTC)),
        ("2026-12-24T14:30:00-05:00", datetime(2026, 12, 24, 19, 30, tzinfo=UTC)),
        ("2027-03-28 02:30", datetime(2027, 3, 28, 1, tzinfo=UTC)),  # the clock jumps over it
        ("1999-01-01", datetime(1998, 12, 31, 23, tzinfo=UTC)),  # over, and no mistake
    ],
)
def test_the_end_of_a_pause_is_an_instant(installation, until, expected):
    """A day, a time on the wall of the policy's zone, or RFC 3339."""
    text = f"{POLICY}time_zone: Europe/Berlin\npause: {{until: '{until}'}}\n"
    assert installation(p=text).policy("home").pause == Pause(expected, "")


def test_the_delay_of_a_policy_is_its_own(installation):
    """The same on every start, another one for another policy or host."""
    text = "schedule: daily\njitter: 10h\n"
    both = {"a": POLICY + text, "b": POLICY.replace("home", "b", 1) + text}
    found = {host: installation(f"{SETTINGS}host: {host}\n", **both) for host in ("x", "y")}
    again = installation(f"{SETTINGS}host: x\n", **both)
    offsets = [found[h].policies[p].offset for h in found for p in ("home", "b")]
    assert len(set(offsets)) == 4
    assert again.policies == found["x"].policies
    assert found["x"].definitions() == found["y"].definitions()


def test_a_definition_is_what_a_policy_means(installation):
    """It changes with the meaning, and not with comments, order or spelling."""
    one = installation(p=POLICY + "schedule: daily at 02:30\njitter: 60s\n").definitions()
    same = installation(p="# new\njitter: 1m\n" + POLICY + "schedule: daily at  2:30\n")
    other = installation(p=POLICY + "schedule: daily at 02:31\njitter: 60s\n").definitions()
    assert one == same.definitions() != other


def test_a_source_of_a_later_release_is_named_once(installation):
    """``postgresql`` is neither unknown nor "files is missing"."""
    text = "policy: shop\nsource:\n  postgresql: {service: shop}\n"
    assert messages(installation(p=text)) == [
        "3: 'postgresql': PostgreSQL as a source is not in this release"
    ]


def test_missing_keys_are_named(installation):
    """An empty file lacks two keys."""
    assert [m.split(": ", 1)[1] for m in messages(installation(p=""))] == [
        "key 'policy' is missing",
        "key 'source' is missing",
    ]


@pytest.mark.parametrize("path", ["home", "~/x", "$HOME", "/a/../b"])
def test_only_plain_absolute_paths_are_sources(installation, path):
    """Nothing is expanded: what is protected must stand there."""
    told = messages(installation(p=POLICY.replace("/home", path)))
    assert len(told) == 1
    assert "source.files.paths.0" in told[0]


def test_all_problems_of_all_files_are_told_at_once(installation):
    """The broken ones are listed, the right ones work."""
    configuration = installation(a="policy: [", b="policy: B", c=POLICY, d=POLICY)
    assert len({problem.file for problem in configuration.problems}) == 3
    assert configuration.policy("home").source.paths == ("/home",)
    with pytest.raises(InvalidFilesError):
        configuration.policy("other")


def test_a_problem_is_shown_with_its_line_and_a_caret(installation):
    """As compilers do."""
    rendered = installation(p=POLICY + "schedule:  dayly\n").problems[0].render()
    assert rendered.endswith("\n    schedule:  dayly\n               ^")


def test_the_value_of_an_unknown_key_is_never_shown(installation):
    """It may be a secret that somebody put into the wrong file."""
    rendered = installation(p=POLICY + "secret_key: hunter2\n").problems[0].render()
    assert "hunter2" not in rendered


@pytest.mark.parametrize(
    "store", ["ftp://x/y", "relative", "https://user:hunter2@host/x", "s3://key:hunter2@bucket/x"]
)
def test_stores_without_adapter_or_with_credentials_are_refused(installation, store):
    """And their credentials are not repeated in the message."""
    with pytest.raises(InvalidFilesError) as caught:
        installation(f"repositories:\n  primary:\n    store: {store}\n")
    assert "hunter2" not in caught.value.problems[0].message


def test_settings_of_s3_on_a_folder_are_a_contradiction(installation):
    """Somebody meant another store."""
    with pytest.raises(InvalidFilesError) as caught:
        installation(SETTINGS + "    region: x\n")
    assert "is for S3 stores" in caught.value.problems[0].message


def test_unknown_names_get_a_guess(installation):
    """A typing error costs one glance."""
    configuration = installation(p=POLICY)
    with pytest.raises(ConfigurationError, match="did you mean 'home'"):
        configuration.policy("hom")
    with pytest.raises(ConfigurationError, match="there: primary"):
        configuration.repository("second")


def test_no_files_at_all_are_an_empty_configuration(tmp_path):
    """A bare machine can restore with a kit alone."""
    found = load_configuration(find_locations({}, config=str(tmp_path / "none"), root=False))
    assert not found.policies
    assert not found.problems


def test_samples_are_right_policies(tmp_path):
    """What ``init`` and ``policy new`` write passes its own check, whatever the path is."""
    odd = '/srv/a "quoted": name #1'
    (tmp_path / "p.yaml").write_text(policy_text("odd", [odd, "/etc"], "primary"))
    assert load_policy_file(tmp_path / "p.yaml").source.paths == (odd, "/etc")
    settings = RepositorySettings("r", "s3://bucket/p", tmp_path, endpoint="https://s3.example.org")
    assert "endpoint" in settings_text("r", settings)


def test_locations_follow_their_order_of_precedence(tmp_path):
    """--config, then DRKEEPER_CONFIG, then /etc for root and XDG for anybody else."""
    variables = {"HOME": "/home/ann", "XDG_CACHE_HOME": "/c", "DRKEEPER_STATE_DIR": str(tmp_path)}
    user = find_locations(variables, root=False)
    assert str(user.settings) == "/home/ann/.config/drkeeper/drkeeper.yaml"
    assert str(user.cache) == "/c/drkeeper"
    assert user.state == tmp_path
    system = find_locations(variables, root=True)
    assert str(system.policies) == "/etc/drkeeper/policies.d"
    told = find_locations(variables | {"DRKEEPER_CONFIG": "/x"}, root=True)
    assert str(told.settings) == "/x/drkeeper.yaml"
    assert told.chosen_by == "DRKEEPER_CONFIG"
    assert str(find_locations(variables, config="/y/z.yaml").keys) == "/y/keys"


def test_folders_of_the_settings_yield_to_the_environment(installation, tmp_path):
    """``state`` and ``cache`` of drkeeper.yaml hold unless a variable says otherwise."""
    configuration = installation(SETTINGS + "state: /s\ncache: /c\n")
    assert str(configuration.locations.state) == "/s"
    fixed = find_locations({"DRKEEPER_STATE_DIR": "/other"}, config=str(tmp_path), root=True)
    assert str(load_configuration(fixed).locations.state) == "/other"
