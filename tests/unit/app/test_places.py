"""Which of the runs that wait may begin."""

from dataclasses import replace

from hypothesis import given, strategies as st

from drkeeper.app.wiring.places import Places, Wanted, next_to_begin
from drkeeper.model.run import Operation

A = Wanted("a", "files")
B = Wanted("b", "files")
CHECK = Wanted("a", "files", Operation.CHECK)
WIDE = Places(workers=4, per_repository=4, per_source=4)


def test_first_come_first_served():
    """Nothing else being different, the order of arrival counts."""
    assert next_to_begin(WIDE, [B, A], []) == 0


def test_no_more_than_all_places():
    """A full house makes everybody wait."""
    assert next_to_begin(Places(workers=2), [B], [A, A]) is None


def test_a_full_repository_lets_others_pass():
    """Who waits for a busy repository holds up nobody else."""
    assert next_to_begin(replace(WIDE, per_repository=1), [A, B], [A]) == 1


def test_a_busy_kind_of_source_lets_others_pass():
    """The limit of a kind of source counts over all repositories."""
    other = Wanted("c", "postgresql")
    assert next_to_begin(replace(WIDE, per_source=2), [A, other], [A, B]) == 1


def test_a_store_that_does_not_answer_gets_one_place():
    """Its policies are tried one at a time, and the places left are for others."""
    places = Places(workers=2, per_repository=2, per_source=2)
    assert next_to_begin(places, [A, B], [A], failing={"a"}) == 1
    assert next_to_begin(places, [A], [A], failing={"a"}) is None
    assert next_to_begin(places, [A], [], failing={"a"}) == 0


def test_what_failed_before_waits_for_what_did_not():
    """A policy that fails again and again never delays one that is due for the first time."""
    assert next_to_begin(WIDE, [replace(A, again=True), B], []) == 1


def test_checks_never_starve_backups():
    """Backups come first, and one place is never taken by anything else."""
    assert next_to_begin(WIDE, [CHECK, A], []) == 1
    assert next_to_begin(Places(workers=2), [CHECK], [CHECK]) is None
    assert next_to_begin(Places(workers=2), [CHECK, A], [CHECK]) == 1
    assert next_to_begin(Places(workers=1), [CHECK], []) == 0


wanted = st.builds(
    Wanted,
    st.sampled_from("abc"),
    st.sampled_from(["files", "postgresql"]),
    st.sampled_from(list(Operation)),
    st.booleans(),
)


@given(
    st.lists(wanted, max_size=12),
    st.builds(Places, st.integers(1, 4), st.integers(1, 4), st.integers(1, 4)),
    st.sets(st.sampled_from("abc")),
)
def test_limits_hold_and_nobody_waits_for_ever(queue, places, failing):
    """Whatever waits: limits are never exceeded, and with places free again everybody gets one."""
    waiting, running, served = list(queue), [], 0
    while waiting or running:
        index = next_to_begin(places, waiting, running, failing=failing)
        if index is None:
            assert running
            running.pop(0)
            continue
        running.append(waiting.pop(index))
        served += 1
        assert len(running) <= places.workers
        for name in "abc":
            assert sum(each.repository == name for each in running) <= places.per_repository
        for kind in ("files", "postgresql"):
            assert sum(each.source == kind for each in running) <= places.per_source
    assert served == len(queue)
