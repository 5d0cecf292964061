"""Who holds a bundle can see for himself, without drkeeper, that nothing was left out or changed."""

import copy
import io
import json
import random
import re
import subprocess
import sys
import tarfile
from datetime import UTC, datetime

import pytest
from blake3 import blake3

from doubles.verifiers import TOOL, verifier_of_reports
from drkeeper.crypto.merkle import leaf_hash, root_of
from drkeeper.ledger.events import hashed_bytes, link
from drkeeper.reports.bundle import bundle_bytes, verifier
from drkeeper.reports.form import json_bytes
from drkeeper.reports.quarters import Quarter
from drkeeper.reports.report import compute

LATER = datetime(2027, 1, 3, tzinfo=UTC)
Q4 = Quarter(2026, 4)


@pytest.fixture(scope="module")
def bundle(world, report):
    """The bundle of the last quarter."""
    return bundle_bytes(report, world)


@pytest.fixture(scope="module")
def files(bundle):
    """What is in it."""
    with tarfile.open(fileobj=io.BytesIO(bundle)) as tar:
        return {each.name.rpartition("/")[2]: tar.extractfile(each).read() for each in tar}


@pytest.fixture
def judge(tmp_path, key):
    """Verify as an auditor does: with the tool as a process, apart from drkeeper."""

    def judge(content, *more, quarter="2026Q4", key=str(key.verify_key)):
        if isinstance(content, dict):
            content = packed(content)
        (tmp_path / "bundle.tar").write_bytes(content)
        command = [sys.executable, "-I", str(TOOL), str(tmp_path / "bundle.tar")]
        command += ["--quarter", quarter, "--key", key, *more]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        return done.returncode, done.stdout + done.stderr

    return judge


def packed(files):
    """Put files into a tar."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"bundle/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return written.getvalue()


def with_report(files, change):
    """Forge the report."""
    made = json.loads(files["report.json"])
    change(made)
    return files | {"report.json": json_bytes(made)}


def with_events(files, change):
    """Forge events as somebody can who has no key: all hashes and roots computed anew."""
    lines = [json.loads(line) for line in files["ledger.jsonl"].splitlines()]
    notes = [line for line in lines if line["type"] == "checkpoint"]
    events, leaves, prev = [], [], bytes(32)
    for each in change([line for line in lines if line["type"] == "event"]):
        event = link(len(events) + 1, prev, each["at"], kind=each["kind"], body=each["body"])
        hashes = {"seq": event.seq, "prev": event.prev.hex(), "hash": event.hash.hex()}
        events.append(each | hashes)
        leaves.append(leaf_hash(hashed_bytes(event)))
        prev = event.hash
    head = lines[0] | {"last": len(events), "size": len(events), "root": root_of(leaves).hex()}
    text = "".join(f"{json.dumps(line)}\n" for line in (head, *events, *notes))
    return files | {"ledger.jsonl": text.encode()}


def test_a_bundle_verifies(bundle, judge):
    """As it is; and it is shown that the quarter was over and all of it signed."""
    code, said = judge(bundle)
    assert code == 0, said
    assert said.startswith("VERIFIED: report of 2026Q4, events ")
    assert "NOT SIGNED" not in said
    assert "nothing shows" not in said


def test_a_bundle_has_the_same_bytes_each_time(world, report, bundle, files):
    """Also on another machine: there is no name of a user and no time but the report's in it."""
    assert bundle_bytes(copy.deepcopy(report), world) == bundle
    assert sorted(files) == [
        "README.txt", "checkpoint.note", "ledger.jsonl", "report.html", "report.json",
        "verify_report.py",
    ]  # fmt: skip


def test_the_verifier_in_it_is_the_one_that_was_tested(files):
    """It is one file, imports nothing of drkeeper, and is the same one."""
    assert files["verify_report.py"] == verifier() == TOOL.read_bytes()
    text = files["verify_report.py"].decode()
    assert len(text.splitlines()) <= 1200
    assert "import drkeeper" not in text
    assert "from drkeeper" not in text


def no_failed_run(report):
    del report["results"]["not_succeeded"][0]


def no_failed_run_at_all(report):
    gone = report["results"]["not_succeeded"].pop(0)["events"][-1]
    for row in report["results"]["runs"]:
        if gone in row["events"]:
            row["events"].remove(gone)
            row["count"] -= 1


def failed_run_is_good(report):
    report["results"]["not_succeeded"][0]["state"] = "succeeded"


def faster(report):
    report["results"]["drills"][0]["achieved_rto_us"] //= 2


def faster_figure(report):
    report["rto"]["policies"][0]["measured"]["max_achieved_rto_us"] //= 2


def faster_phase(report):
    first, second, *_ = report["rto"]["policies"][0]["drills"][0]["took"]
    first["span_us"], second["span_us"] = second["span_us"], first["span_us"]


def slow_drill_not_shown(report):
    del report["rto"]["policies"][0]["drills"][0]


def fault_not_planted(report):
    del report["controls"]["planted"][0]


def slow_drill_not_counted(report):
    row = report["rto"]["policies"][0]["measured"]
    row["events"].pop()
    row["count"] -= 1
    row["max_achieved_rto_us"] = row["median_achieved_rto_us"] = row["min_achieved_rto_us"] = None


def bad_quarter_left_out_of_the_trend(report):
    row = report["rto"]["policies"][0]["trend"][5]
    row |= {"events": [], "count": 0, "max_achieved_rto_us": None, "median_achieved_rto_us": None}


def another_sample(report):
    report["sampling"]["drills"][0]["commit_number"] += 1


def sample_left_out(report):
    del report["sampling"]["drills"][1]


def unproven_drill_left_out(report):
    drills = report["results"]["drills"]
    report["results"]["drills"] = [each for each in drills if each["verdict"] == "proven"]


def better_verdict(report):
    for each in report["results"]["drills"]:
        each["verdict"] = "proven"


def old_drill(report):
    row = report["results"]["drills"][0]
    row["events"] = [number - 400 for number in row["events"]]


def no_incident(report):
    report["issues"]["incidents"] = []


def other_outcome(report):
    report["issues"]["actions"][0]["outcome"] = "All is well."


def check_left_out(report):
    report["integrity"]["checks"].pop()


def key_drill_left_out(report):
    report["security"]["key_drills"].clear()


def point_left_out(report):
    row = report["results"]["points"][0]
    row["events"].pop()
    row["count"] -= 1


def other_ancestor(report):
    report["identity"]["previous"]["root"] = "00" * 32


def after_another_quarter(report):
    report["identity"]["previous"]["quarter"] = "2026Q1"


def shorter_quarter(report):
    report["identity"]["last"] -= 3


def cut_short(report):
    report["until"] = report["identity"]["until"] = "2026-11-15T00:00:00.000000Z"
    report["identity"]["complete"] = False


def other_kind(report):
    report["form"] = "drkeeper/report/2"


def shop(report, section):
    return next(each for each in report[section]["policies"] if each["policy"] == "shop")


def smaller_gap(report):
    shop(report, "rpo")["worst"]["gap_us"] //= 2


def softer_target(report):
    policies = report["scope"]["policies"]
    next(each for each in policies if each["policy"] == "shop")["rpo_us"] *= 100
    shop(report, "rpo").update(rpo_us=shop(report, "rpo")["rpo_us"] * 100, violations=[])


def violation_left_out(report):
    del shop(report, "rpo")["violations"][0]


def violation_cut_short(report):
    shop(report, "rpo")["violations"][0]["violated_from"] = report["identity"]["end"]


def another_cause(report):
    shop(report, "rpo")["violations"][0]["causes"] = [{"cause": "planned", "events": []}]


def newer_proof(report):
    shop(report, "rpo")["proven"]["age_us"] = 0


def window_without_a_hole(report):
    shop(report, "rpo")["window"]["longest_us"] = 0


def good_old_days(report):
    shop(report, "rpo")["trend"][3]["gap_us"] = 1


def prediction_was_right(report):
    drills = (d for p in report["rto"]["policies"] for d in p["drills"] if d["foretold"])
    next(drills)["foretold"]["hit"] = "slower"


def factor_was_small(report):
    drills = (d for p in report["rto"]["policies"] for d in p["drills"] if d["foretold"])
    next(drills)["foretold"]["factor_percent"] = 50


def rosier_outlook(report):
    shop(report, "rto")["prediction"]["expected_us"] //= 2


def phase_left_out(report):
    report["rto"]["policies"][0]["drills"][0]["took"].pop()


def other_seed(report):
    report["sampling"]["drills"][0]["seed"] = "00" * 32


def drawn_by_hand(report):
    row = next(each for each in report["sampling"]["drills"] if each["choice"] == "random")
    row["drawn"] = "as drawn of 1 listed"


def counted_twice(report):
    rows = report["results"]["runs"]
    rows.append(next(each for each in rows if each["state"] == "succeeded"))


def counted_in_one_row_twice(report):
    row = next(each for each in report["results"]["runs"] if each["state"] == "succeeded")
    row["events"] += row["events"]
    row["count"] *= 2


def drill_shown_twice(report):
    drills = report["results"]["drills"]
    drills.append(next(each for each in drills if each["verdict"] == "proven"))


def finding_left_out(report):
    del report["review"]["findings"][0]


def finding_made_light_of(report):
    report["review"]["findings"][0]["weight"] = "warn"


def all_was_tested(report):
    report["scope"]["not_tested"].pop(0)


def as_recorded_after_all(report):
    report["scope"]["policies"][-1]["as_recorded"] = True


def a_quiet_day(report):
    days = report["timeline"]["calendar"]
    days.remove(next(each for each in days if each["outcome"] == "failed"))


def fault_caught_by_another(report):
    report["controls"]["planted"][0]["caught"] = ["sql"]


def in_time(report):
    report["issues"]["actions"][0]["overdue"] = not report["issues"]["actions"][0]["overdue"]


def one_more_section(report):
    report["approval"] = {"by": "the board"}


FORGERIES = {
    softer_target: "RPO of policy shop is 9360000000000 in the report; drill",
    smaller_gap: "rpo.policies[2].worst.gap_us is",
    violation_left_out: "rpo.policies[2].violations",
    violation_cut_short: "rpo.policies[2].violations[0].violated_from is",
    another_cause: "rpo.policies[2].violations[0].causes",
    newer_proof: "rpo.policies[2].proven.age_us is 0 in the report; by the events",
    window_without_a_hole: "rpo.policies[2].window.longest_us is",
    good_old_days: "rpo.policies[2].trend[3].gap_us is 1 in the report; by the events",
    prediction_was_right: ".foretold.hit is",
    factor_was_small: ".foretold.factor_percent is 50 in the report; by the events",
    rosier_outlook: "rto.policies[2].prediction.expected_us is",
    phase_left_out: "took has",
    other_seed: "sampling.drills[0].seed is",
    drawn_by_hand: ".drawn is",
    counted_twice: "results.runs",
    counted_in_one_row_twice: "results.runs",
    drill_shown_twice: "results.drills",
    finding_left_out: "review.findings",
    finding_made_light_of: "review.findings[0]",
    all_was_tested: "scope.not_tested",
    as_recorded_after_all: "scope.policies[2].as_recorded is true in the report; by the events",
    a_quiet_day: "timeline.calendar",
    fault_caught_by_another: "controls.planted[0].caught",
    in_time: "issues.actions[0].overdue is",
    one_more_section: "report has other members than it must",
    no_failed_run: "report leaves out event",
    no_failed_run_at_all: "report leaves out event",
    failed_run_is_good: "state of the report is not what event",
    faster: "achieved_rto_us of the report is not what event",
    faster_figure: "max_achieved_rto_us of the report is not that of events",
    faster_phase: "phases are not those of event",
    slow_drill_not_shown: "report leaves out event",
    fault_not_planted: "planted faults of the report are not those of its drills",
    slow_drill_not_counted: "max_achieved_rto_us of the report is not that of events",
    bad_quarter_left_out_of_the_trend: "report leaves out event",
    another_sample: "commit_number of the report is not what event",
    sample_left_out: "report leaves out event",
    unproven_drill_left_out: "report leaves out event",
    better_verdict: "verdict of the report is not what event",
    old_drill: "is not",
    no_incident: "report leaves out event",
    other_outcome: "outcome of the report is not what event",
    check_left_out: "report leaves out event",
    key_drill_left_out: "report leaves out event",
    point_left_out: "report leaves out event",
    other_ancestor: "report is of another ledger than these events",
    after_another_quarter: "report does not follow that of 2026Q3",
    shorter_quarter: "are not those of 2026Q4",
    cut_short: "are not those of 2026Q4",
    other_kind: "form that is not known",
}


@pytest.mark.parametrize(
    ("change", "reason"), FORGERIES.items(), ids=[each.__name__ for each in FORGERIES]
)
def test_a_forged_report_is_found(files, judge, change, reason):
    """Whatever is left out, changed or moved, the reason is said."""
    code, said = judge(with_report(files, change))
    assert code == 1
    assert said.startswith("NOT VERIFIED: ")
    assert reason in said


@pytest.fixture(scope="module")
def tool():
    """The verifier as a module: what it says of one report after the other."""
    return verifier_of_reports()


WORDS = re.compile(
    r"standards\b|identity\.host$|people\.not_recorded|review\.signed_by|security\.(copies|lock_horizon)"
    r"|scope\.(host|repositories|policies\.\d+\.(source|protects|repository|schedule|keeps))"
    r"|(rto|rpo)\.policies\.\d+\.prediction\.(low|expected|high)_us$"
)
"""What is no figure of the ledger: words of the configuration and of standards; and what is compared to
some microseconds, for logarithms."""


def leaves(value, place=""):
    """Yield the way to each value that is no object or list."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for name, said in inner:
        way = f"{place}.{name}".strip(".")
        if isinstance(said, dict | list):
            yield from leaves(said, way)
        elif not WORDS.match(way):
            yield way


def figures(report):
    """Yield the ways to all values that follow from the ledger's events."""
    unseen = {
        f"scope.policies.{n}.configured_as"
        for n, each in enumerate(report["scope"]["policies"])
        if not each["as_recorded"]  # what is configured now, and no event says so
    }
    yield from (way for way in leaves(report) if way not in unseen)


def changed(report, way):
    """Return a report in which one value is another."""
    made = copy.deepcopy(report)
    *names, last = [int(name) if name.isdigit() else name for name in way.split(".")]
    inner = made
    for name in names:
        inner = inner[name]
    was = inner[last]
    if isinstance(was, bool):
        inner[last] = not was
    elif isinstance(was, int):
        inner[last] = was + 1
    else:
        inner[last] = f"{was}x" if was else "x"
    return made


def unnoticed(tool, report, files, ways):
    """Return the values that may be changed without being found."""
    lines = [json.loads(line) for line in files["ledger.jsonl"].splitlines()]
    events = [line for line in lines if line["type"] == "event"]
    roots, missed = tool.roots_of(events), []
    tool.check_report(report, events, roots, "2026Q4")
    for way in ways:
        try:
            tool.check_report(changed(report, way), events, roots, "2026Q4")
        except (tool.WrongError, *tool.MALFORMED):
            continue
        missed.append(way)
    return missed


def test_whatever_value_is_changed_is_found(tool, report, files):
    """Of all values of a report but words that come from elsewhere, sixty at random."""
    ways = random.Random(4).sample([*figures(report)], 60)
    assert unnoticed(tool, report, files, ways) == []


@pytest.mark.soak
def test_every_value_that_is_changed_is_found(tool, report, files):
    """All of them, one after the other."""
    ways = [*figures(report)]
    assert len(ways) > 2000
    assert unnoticed(tool, report, files, ways) == []


def test_the_verifier_hashes_and_draws_as_drkeeper_does(tool):
    """Its BLAKE3 is the one of the package, for all that it hashes, and wherever the output is read."""
    for length in (0, 1, 32, 63, 64):
        data = bytes(range(length))
        assert tool.blake3(data) == blake3(data).digest()
        assert tool.blake3(data, 8, 8) == blake3(data).digest(length=8, seek=8)
        assert tool.blake3(data, 100, 60) == blake3(data).digest(length=100, seek=60)


def test_last_quarters_evidence_is_found(world, scope, files, judge):
    """As it is, with another name on it, and with this quarter's dates in it."""
    old = compute(world, scope, Q4.before(1), LATER)
    content = bundle_bytes(old, world)
    assert judge(content, quarter="2026Q3")[0] == 0
    assert "report is of 2026Q3, not of 2026Q4" in judge(content)[1]

    def renamed(report):
        kept = {name: report["identity"][name] for name in ("begin", "end", "until")}
        report.clear()
        report |= old | {"quarter": "2026Q4", "until": kept["until"]}
        report["identity"] = old["identity"] | kept | {"quarter": "2026Q4"}

    code, said = judge(with_report(files, renamed))
    assert code == 1
    assert "are not those of 2026Q4" in said


def test_a_row_of_another_quarter_is_found(world, scope, files, judge):
    """A good drill of the last quarter does not pass for one of this."""
    old = compute(world, scope, Q4.before(1), LATER)["results"]["drills"][0]
    code, said = judge(with_report(files, lambda made: made["results"]["drills"].append(old)))
    assert code == 1
    assert "where it is not due: another quarter's?" in said


def fast(events):
    return [
        each | {"body": each["body"].replace('"state":"failed"', '"state":"succeeded"')}
        for each in events
    ]


def without_failed_runs(events):
    bad = {json.loads(e["body"])["run"] for e in events if '"state":"failed"' in e["body"]}
    return [e for e in events if json.loads(e["body"]).get("run") not in bad]


@pytest.mark.parametrize("change", [fast, without_failed_runs, lambda events: events[:-1][::-1]])
def test_a_forged_ledger_is_found(files, judge, change):
    """Who computes the whole chain anew has no key to sign it; a report fitted to it does not help."""
    code, said = judge(with_events(files, change))
    assert code == 1
    assert "events are not those signed" in said or "is not covered" in said


def test_a_changed_rto_in_the_ledger_is_found(files, judge):
    """Also where nothing is signed yet, the RTO of a drill must be what its phases say."""

    def change(events):
        last = max(e["seq"] for e in events if '"achieved_rto_us":' in e["body"] and e["kind"] == "drill.ended" and '"policy"' not in e["body"])  # fmt: skip
        body = json.loads(events[last - 1]["body"])
        if body["achieved_rto_us"] is None:
            pytest.fail("the last drill was not timed")
        body["achieved_rto_us"] = 1
        return [*events[: last - 1], events[last - 1] | {"body": json.dumps(body)}, *events[last:]]

    forged = with_events(files, change)
    lines = [json.loads(line) for line in forged["ledger.jsonl"].splitlines()]
    first = next(
        e["seq"] for e in lines if e["type"] == "event" and '"achieved_rto_us": 1,' in e["body"]
    )
    lines = [e for e in lines if e["type"] != "checkpoint" or e["size"] < first]
    text = "".join(f"{json.dumps(line)}\n" for line in lines).encode()
    code, said = judge(forged | {"ledger.jsonl": text})
    assert code == 1
    assert "an RTO its phases have not" in said or "another ledger" in said


def test_an_unsigned_bundle_is_not_verified(files, judge):
    """Leaving out all checkpoints leaves nothing to believe."""
    lines = files["ledger.jsonl"].splitlines(keepends=True)
    bare = b"".join(line for line in lines if b'"type":"checkpoint"' not in line)
    assert "nothing was signed" in judge(files | {"ledger.jsonl": bare})[1]


def test_another_key_verifies_nothing(bundle, judge):
    """Who signs with a key of his own has signed nothing."""
    code, said = judge(bundle, key="00" * 32)
    assert code == 1
    assert "not signed by a given key" in said


def test_a_checkpoint_kept_elsewhere_must_be_covered(world, scope, judge, files, tmp_path):
    """The note of the newer bundle is not in the older one; the older one's is in the newer."""
    old = bundle_bytes(compute(world, scope, Q4.before(1), LATER), world)
    note = tmp_path / "kept.note"
    note.write_bytes(files["checkpoint.note"])
    code, said = judge(old, "--checkpoint", str(note), quarter="2026Q3")
    assert code == 1
    assert "is not covered" in said
    with tarfile.open(fileobj=io.BytesIO(old)) as tar:
        note.write_bytes(tar.extractfile("drkeeper-report-2026Q3/checkpoint.note").read())
    assert judge(files, "--checkpoint", str(note))[0] == 0


@pytest.mark.parametrize(
    "spoil",
    [
        lambda files: files | {"report.json": b"{}"},
        lambda files: files | {"report.json": b"[" * 100_000},
        lambda files: files | {"ledger.jsonl": files["ledger.jsonl"][:5000]},
        lambda files: {"report.json": files["report.json"]},
        lambda _: b"no tar",
        lambda files: with_report(files, lambda made: made.update(rto={"policies": [1]})),
        lambda files: with_report(files, lambda made: made.update(results={"events": "x"})),
    ],
    ids=["empty", "deep", "cut", "missing", "no tar", "number", "text"],
)
def test_malformed_bundles_are_findings_not_crashes(files, judge, spoil):
    """Whatever is handed over, the answer is a sentence and exit code 1."""
    code, said = judge(spoil(files))
    assert code == 1
    assert said.startswith("NOT VERIFIED: ")
    assert "Traceback" not in said


def test_a_file_that_is_there_twice_is_found(files, judge):
    """What a person unpacks is what was verified."""
    twice = packed(files | {"other/report.json": files["report.json"]})
    code, said = judge(twice)
    assert code == 1
    assert "two files of one name" in said
