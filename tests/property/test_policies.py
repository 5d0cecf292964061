"""Whatever stands in a policy file is either refused with its place, or can be explained."""

from datetime import UTC, datetime
from pathlib import Path
from unicodedata import category

import yaml
from hypothesis import given, settings, strategies as st

from drkeeper.app.cli.explaining import Explained
from drkeeper.app.cli.output import json_line
from drkeeper.app.config.checking import check
from drkeeper.app.config.document import read_document
from drkeeper.app.config.policies import Surroundings, contradictions, policy_of
from drkeeper.app.config.schema import PolicyFile
from drkeeper.model.forecast import forecast
from drkeeper.model.planner import History, decide

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
AROUND = Surroundings("db1", "UTC", NOW, {"primary"}, {"ops"}, Path("drkeeper.yaml"))

DURATIONS = st.sampled_from(["1s", "90s", "30m", "1h", "25h", "8d", "366d", "99w", "0s", "5", "x"])
WORDS = st.sampled_from(["/bin/a", "/bin/b", "-x", "a b", "", "sh", "/a b", "\0", "é"]) | st.text(
    max_size=3
)
COMMANDS = (
    st.lists(WORDS, max_size=3)
    | st.lists(st.lists(WORDS, max_size=3), max_size=2)
    | st.lists(
        st.fixed_dictionaries(
            {"command": st.lists(WORDS, min_size=1, max_size=2)},
            optional={"timeout": DURATIONS, "essential": st.booleans()},
        ),
        max_size=2,
    )
)
SCHEDULES = st.sampled_from([
    "hourly", "hourly at :59", "daily at 02:30", "weekly on sun at 03:00", "monthly on 31 at 04:00",
    "quarterly", "every 6h", "every 1m", "every 366d", "30 2 * * mon-fri", "* * * * *",
    "0 0 29 2 *", "0 0 30 2 *", "dayly", "@daily",
])  # fmt: skip
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns", "Mars"])
CLOCKS = st.sampled_from(["00:00", "02:30", "8:00", "12:00", "23:59", "24:00"])
WINDOWS = st.tuples(CLOCKS, CLOCKS).map("-".join)
UNTIL = st.sampled_from(["2026-12-24", "2027-03-28 02:30", "1999-01-01", "2999-01-01", "soon"])
POLICIES = st.fixed_dictionaries(
    {"policy": st.just("p"), "source": st.just({"files": {"paths": ["/a"]}})},
    optional={
        "schedule": SCHEDULES,
        "time_zone": ZONES,
        "jitter": DURATIONS,
        "pause": st.fixed_dictionaries({"until": UNTIL}, optional={"reason": st.text(max_size=5)}),
        "objectives": st.fixed_dictionaries({}, optional={"rpo": DURATIONS, "rto": DURATIONS}),
        "limits": st.fixed_dictionaries(
            {},
            optional={
                "closed": st.lists(WINDOWS, max_size=3),
                "nice": st.integers(-1, 20),
                "upload": st.sampled_from(["5 MiB/s", "1 B/s", "5"]),
            },
        ),
        "retention": st.fixed_dictionaries(
            {}, optional={"daily": st.integers(0, 9), "within": DURATIONS, "minimum": st.just(3)}
        ),
        "hooks": st.fixed_dictionaries(
            {},
            optional=dict.fromkeys(("before_backup", "after_backup", "after_failure"), COMMANDS),
        ),
        "notify": st.lists(st.sampled_from(["ops", "opz"]), max_size=2),
    },
)


@settings(deadline=None)  # a schedule that runs each minute has many runs to look at
@given(written=POLICIES)
def test_what_is_not_refused_can_be_explained(written):
    """No combination of keys is a defect; each problem has its place, its key and one line."""
    text = yaml.safe_dump(written, allow_unicode=True)
    document = read_document("p.yaml", text.encode())
    checked, problems = check(document, PolicyFile)
    if checked is not None:
        problems = contradictions(checked, document, AROUND)
    if checked is None or problems:
        assert all(problem.mark is not None for problem in problems)
        assert all("\n" not in problem.message for problem in problems)
        return
    policy = policy_of(checked, AROUND)
    explained = Explained(policy, NOW, forecast(policy, NOW, 10), here=True)
    lines = list(explained.lines())
    assert all(category(character) != "Cc" for line in lines for character in line)
    assert json_line(explained.facts())
    assert decide(policy, History(known_since=NOW), NOW)
    due = policy.next_due(NOW)
    assert due is None or due > NOW
