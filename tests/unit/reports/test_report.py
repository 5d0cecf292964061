"""The report says what the ledger says: all of it, and the same each time."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from doubles.ledgers import behind_its_back, ledger_at
from doubles.quarters import quick_folder, scope_of, two_years
from drkeeper.errors import InstantNotReachableError, IntegrityError
from drkeeper.model.run import Operation, RunFailure, RunState
from drkeeper.reports.form import SECTIONS, json_bytes
from drkeeper.reports.quarters import Quarter
from drkeeper.reports.report import compute
from drkeeper.reports.scope import RepositoryScope

LATER = datetime(2027, 1, 3, tzinfo=UTC)
Q4 = Quarter(2026, 4)


def every(value):
    """Yield every object of a report."""
    if isinstance(value, list):
        for each in value:
            yield from every(each)
    elif isinstance(value, dict):
        yield value
        for each in value.values():
            yield from every(each)


def test_it_is_computed_anew_byte_for_byte(world, scope, report):
    """Also much later: what is written after a quarter changes nothing of it."""
    again = compute(world, scope, Q4, LATER + timedelta(days=800))
    assert json_bytes(again) == json_bytes(report)


def test_it_has_the_fifteen_sections_in_order(report):
    """Whoever reads two reports finds things in the same place."""
    assert tuple(report)[3:] == SECTIONS
    assert len(SECTIONS) == 15


def test_every_run_that_did_not_succeed_is_listed(world, report):
    """All of them, with their reasons, and the counts agree with the ledger."""
    first, last = report["identity"]["first"], report["identity"]["last"]
    runs = [each for each in world.runs(limit=10**6) if first <= each.event <= last]
    bad = {each.id for each in runs if each.state is not RunState.SUCCEEDED}
    listed = report["results"]["not_succeeded"]
    assert bad
    assert {each["run"] for each in listed} == bad
    assert sum(each["count"] for each in report["results"]["runs"]) == len(runs)
    assert all(each["failure"] or each["state"] == "warnings" for each in listed)


def test_every_drill_is_listed_and_those_not_proven_are_findings(world, report):
    """Nobody chooses the good ones."""
    first, last = report["identity"]["first"], report["identity"]["last"]
    drills = [each for each in world.drills(limit=10**6) if first <= each.event <= last]
    listed = {each["drill"]: each for each in report["results"]["drills"]}
    assert set(listed) == {each.id for each in drills}
    for each in drills:
        row = listed[each.id]
        assert row["verdict"] == each.judgement.verdict.value
        if each.end.achieved_rto is not None:
            assert timedelta(microseconds=row["achieved_rto_us"]) == each.end.achieved_rto
    unproven = [each.id for each in drills if each.judgement.verdict.value != "proven"]
    said = " ".join(each["words"] for each in report["review"]["findings"])
    assert unproven
    assert all(f"drill {number} " in said for number in unproven)


def test_what_was_not_tested_is_said(report):
    """A policy that never ran, points that were never restored, kinds of drill that never were."""
    gaps = {(each["subject"], each["what"]) for each in report["scope"]["not_tested"]}
    assert ("policy never-ran", "no drill: that it can be restored is not shown") in gaps
    assert any("recovery points were not restored" in what for _, what in gaps)
    assert any("many policies at once" in what for _, what in gaps)
    assert "policy never-ran was not drilled" in str(report["review"]["findings"])


def test_each_row_names_events_that_are_there(report):
    """Every number can be followed to the ledger."""
    last = report["identity"]["last"]
    rows = [each for each in every(report) if "events" in each]
    assert len(rows) > 100
    assert all(1 <= number <= last for each in rows for number in each["events"])


def test_phases_add_up_to_the_rto(report):
    """The time of each phase is told, and tearing down is in none of it."""
    for policy in report["rto"]["policies"]:
        for each in policy["drills"]:
            assert sum(part["span_us"] for part in each["took"]) == each["achieved_rto_us"]
            assert "torn-down" not in {part["phase"] for part in each["took"]}


def test_trends_go_over_eight_quarters(report):
    """Also those in which nothing was measured are there."""
    due = [str(Q4.before(ago)) for ago in reversed(range(8))]
    for section in ("rto", "rpo"):
        for policy in report[section]["policies"]:
            assert [each["quarter"] for each in policy["trend"]] == due


def test_a_violation_is_told_with_its_cause(report):
    """The three days without a backup, the incident about them, and the runs that failed."""
    (shop,) = (each for each in report["rpo"]["policies"] if each["policy"] == "shop")
    causes = [c["cause"] for each in shop["violations"] for c in each["causes"]]
    assert "store refused: 503 SlowDown" in causes
    assert any(cause.startswith("backup failed: ") for cause in causes)


def test_what_is_not_known_is_said_to_be_unknown(report):
    """No lock was recorded, so none is claimed; nor is a copy in another place."""
    locks = report["security"]["lock_horizon"]
    assert locks["through"] == "not asked"
    assert "neither that they are locked nor that they are not" in locks["why"]
    assert [each["locked"] for each in locks["stores"]] == ["not asked"]
    (files, *_) = report["security"]["copies"]
    holds = {each["rule"]: each["holds"] for each in files["rules"]}
    assert holds["1 copy elsewhere"] == holds["1 copy that cannot be changed"] == "unknown"
    assert holds["3 copies"] == "no"


def test_a_folder_has_no_locks(world):
    """What is known of locks is said with where it is known from: a folder cannot have any."""
    folder = RepositoryScope(name="primary", store="/mnt/backups", medium="folder")
    scope = replace(scope_of("files"), repositories=(folder,))
    made = compute(world, scope, Q4, LATER)["security"]
    (store,) = made["lock_horizon"]["stores"]
    assert (store["locked"], store["known_from"]) == (
        "never", "configuration: a folder has no locks",
    )  # fmt: skip
    (rule,) = (e for e in made["copies"][0]["rules"] if e["rule"].startswith("1 copy that cannot"))
    assert rule["found"].startswith("a folder has no locks")


def test_a_random_drill_is_shown_to_be_as_drawn(report):
    """The candidates are listed, and of these the seed has drawn what was restored."""
    drawn = [e["drawn"] for e in report["sampling"]["drills"] if e["choice"] == "random"]
    assert drawn
    assert all(re.fullmatch(r"as drawn of \d+ listed", each) for each in drawn)


def test_nothing_is_claimed_without_evidence(scope, tmp_path):
    """Of a quarter with runs only, controls that ask for tests are not answered."""
    with ledger_at(tmp_path / "state" / "ledger.sqlite") as ledger:
        ledger.skip_run("files", Operation.BACKUP, RunFailure("Skipped", "paused", 0))
        made = compute(ledger, scope, Quarter(2026, 4), LATER)
    assert {each["evidence"] for each in made["standards"]["controls"] if each["missing"]} == {
        "none"
    }
    drilled = [c for c in made["standards"]["controls"] if "drills" in c["missing"]]
    assert drilled
    assert all(each["claims"] == "nothing" for each in drilled)


def test_each_event_belongs_to_one_quarter(world, scope, report):
    """The quarters follow each other without a gap, and each names the root of the one before."""
    before = compute(world, scope, Q4.before(1), LATER)
    assert before["identity"]["last"] + 1 == report["identity"]["first"]
    assert before["identity"]["root"] == report["identity"]["previous"]["root"]


def test_a_quarter_that_is_not_over_says_until_now(world, scope):
    """It is reported up to the instant, and marked as not complete."""
    now = datetime(2026, 11, 15, 12, tzinfo=UTC)
    made = compute(world, scope, Q4, now)
    assert made["identity"]["complete"] is False
    assert made["until"] == "2026-11-15T12:00:00.000000Z"
    assert made["identity"]["last"] < compute(world, scope, Q4, LATER)["identity"]["last"]
    assert json_bytes(made) == json_bytes(compute(world, scope, Q4, now))


@pytest.mark.parametrize(
    ("quarter", "words"), [(Quarter(2027, 2), "has not begun"), (Quarter(2019, 1), "has nothing")]
)
def test_a_quarter_without_data_is_refused_in_words(world, scope, quarter, words):
    """Instead of a page full of noughts."""
    with pytest.raises(InstantNotReachableError, match=words):
        compute(world, scope, quarter, LATER)


def test_nothing_is_reported_from_a_damaged_chain():
    """Somebody made a failed run a good one: there is no report, and it says why."""
    with quick_folder() as folder:
        path = folder / "state" / "ledger.sqlite"
        two_years(path, every=timedelta(days=60), names=("files",)).close()
        forgery = "UPDATE event SET body = replace(body, 'files', 'filez') WHERE seq = 5"
        behind_its_back(path, forgery)
        with (
            ledger_at(path) as ledger,
            pytest.raises(IntegrityError, match="event 5 of the ledger was changed"),
        ):
            compute(ledger, scope_of("files"), Q4, LATER)
