"""An explicit-state model of committing and collecting, explored without omission.

It mirrors the rules of ``drkeeper.repository.state`` and ``drkeeper.repository.session``:

===========================  ======================================================================
in the model                 in drkeeper
===========================  ======================================================================
``open``                     live sessions of ``JournalState.sessions``
``commits``                  ``JournalState.commits``, each with the packs its refs list
``condemned``                ``JournalState.condemned``; ``blockers`` are the sessions with
                             ``session.n < condemn n`` that are still open (rule of `swept`)
``reusable``                 ``Session.reusable``: what commits live at opening need
read, then check             the refresh and ``decide`` of ``Session.commit``
an entry was created         compare-and-swap: every other actor that was about to create one has
                             lost its race, and decides again
unclear, then look           ``Journal._create`` without an answer, ``Session._made_earlier``
``present``                  packs in the store
===========================  ======================================================================

A writer opens a session, stores at most one new pack, uses at most one old one, commits in part or
as a whole, stalls anywhere, crashes anywhere, loses replies. A collector reads the journal, lists
the store, condemns, deletes pack by pack, sweeps; stalls, crashes; another one takes over
what is condemned. Anyone expires commits and aborts sessions at any time. There is no clock.
Decisions that the journal makes atomic (open, expire, abort, swept) are one step; those whose
safety is in question (commit, condemn, delete) are split at every point where others may act.

Sets of packs and sessions are bit masks; a session's new pack has the session's number. Numbers that
nothing mentions any more are given out again, and actors are sorted, so that states that differ in
names only are one state.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules that make collection safe; each can be broken to see that it is needed."""

    compare_and_swap: bool = True
    check_session: bool = True
    check_condemned: bool = True
    condemned_stays: bool = True
    unique_names: bool = True
    reuse_live_only: bool = True


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much may happen in one history."""

    writers: int = 2
    collectors: int = 2
    opens: int = 2
    condemns: int = 2
    crashes: int = 1
    losses: int = 1


class State(NamedTuple):
    """Everything: the store, the journal, the actors, and what may still happen."""

    present: int
    owner: int  # who stored pack 0 last; matters only when names are re-created
    commits: tuple[tuple[int, int], ...]
    open: int
    condemned: tuple[tuple[int, int], ...]
    writers: tuple[tuple, ...]
    collectors: tuple[tuple, ...]
    opens: int
    condemns: int
    crashes: int
    losses: int


@dataclass(frozen=True, slots=True)
class Exploration:
    """What an exploration found.

    Attributes:
        states: Distinct states seen.
        steps: Steps between them.
        violation: The shortest history that loses data, or ``None``.
    """

    states: int
    steps: int
    violation: tuple[str, ...] | None


IDLE = ("idle",)


def start(bounds: Bounds) -> State:
    """One snapshot exists: session 0 stored pack 0 and committed it."""
    return State(
        present=1,
        owner=0,
        commits=((0, 1),),
        open=0,
        condemned=(),
        writers=(IDLE,) * bounds.writers,
        collectors=(IDLE,) * bounds.collectors,
        opens=bounds.opens,
        condemns=bounds.condemns,
        crashes=bounds.crashes,
        losses=bounds.losses,
    )


def loses_data(state: State) -> bool:
    """Tell whether a live commit needs a pack that is absent or condemned."""
    gone = ~state.present | condemned_mask(state)
    return any(need & gone for _, need in state.commits)


def condemned_mask(state: State) -> int:
    """Every pack that is listed as condemned."""
    mask = 0
    for packs, _ in state.condemned:
        mask |= packs
    return mask


def explore(rules: Rules, bounds: Bounds) -> Exploration:
    """Visit every state that can be reached, breadth first, until one loses data."""
    first = start(bounds)
    parents: dict[State, tuple[State | None, str]] = {first: (None, "start")}
    queue = deque([first])
    steps = 0
    while queue:
        state = queue.popleft()
        for label, after in successors(state, rules):
            steps += 1
            if after in parents:
                continue
            parents[after] = (state, label)
            if loses_data(after):
                return Exploration(len(parents), steps, _history(parents, after))
            queue.append(after)
    return Exploration(len(parents), steps, None)


def successors(state: State, rules: Rules) -> Iterator[tuple[str, State]]:
    """Yield (what happens, the state after it) for everything that may happen next."""
    yield from _anyone(state, rules)
    for at, writer in enumerate(state.writers):
        if at and writer == state.writers[at - 1]:
            continue  # the same as the one before: its steps lead to the same states
        others = state._replace(writers=state.writers[:at] + state.writers[at + 1 :])
        for label, after, changed in _writer(others, writer, rules):
            yield f"writer: {label}", _with_writer(after, changed)
        if writer != IDLE and state.crashes:
            crashed = others._replace(crashes=state.crashes - 1)
            yield "writer: crash", _with_writer(crashed, IDLE)
    for at, collector in enumerate(state.collectors):
        if at and collector == state.collectors[at - 1]:
            continue
        others = state._replace(collectors=state.collectors[:at] + state.collectors[at + 1 :])
        for label, after, changed in _collector(others, collector, rules):
            yield f"collector: {label}", _with_collector(after, changed)
        if collector != IDLE and state.crashes:
            crashed = others._replace(crashes=state.crashes - 1)
            yield "collector: crash", _with_collector(crashed, IDLE)


Step = tuple[str, State, tuple]


def _anyone(state: State, rules: Rules) -> Iterator[tuple[str, State]]:
    for commit in state.commits:
        rest = tuple(other for other in state.commits if other != commit)
        yield f"expire {commit}", _appended(state._replace(commits=rest), rules)
    for session in _bits(state.open):
        yield f"abort {session}", _appended(_closed(state, session), rules)


# In the steps of an actor, ``state`` is without that actor; what it becomes is the last item.


def _writer(  # noqa: C901, PLR0912 - one case for each thing a writer may be doing
    state: State, writer: tuple, rules: Rules
) -> Iterator[Step]:
    match writer:
        case ("idle",):
            if state.opens:
                yield _open(state, rules)
        case ("open", sid, reusable):
            for old in _bits(reusable):
                yield f"use {old} only", state, ("ready", sid, 1 << old)
                if rules.unique_names:
                    yield f"use {old}", state, ("use", sid, 1 << old)
            yield "use nothing old", state, ("use", sid, 0)
        case ("use", sid, old):
            own = 1 << sid if rules.unique_names else 1
            yield "store", _stored(state, own, sid), ("ready", sid, old | own)
        case ("ready", sid, need):
            # Reading to the end, and deciding.
            fenced = rules.check_session and not state.open >> sid & 1
            if fenced or (rules.check_condemned and need & condemned_mask(state)):
                yield "give up", state, IDLE
            else:
                yield "check", state, ("checked", sid, need)
        case ("checked", sid, need):
            yield from _create_commit(state, sid, need, rules)
        case ("unclear", sid, need):
            made = (sid, need) in state.commits
            yield "look", state, IDLE if made else ("ready", sid, need)


def _open(state: State, rules: Rules) -> Step:
    sid = _free_number(state)
    # A cache that forgets nothing would also know the pack of the very first snapshot.
    known = _needed(state) if rules.reuse_live_only else _needed(state) | 1
    opened = state._replace(open=state.open | 1 << sid, opens=state.opens - 1)
    return f"open {sid}", _appended(opened, rules), ("open", sid, known)


def _create_commit(state: State, sid: int, need: int, rules: Rules) -> Iterator[Step]:
    commits = tuple(sorted({*state.commits, (sid, need)}))
    partial = _appended(state._replace(commits=commits), rules)
    complete = _appended(_closed(state._replace(commits=commits), sid), rules)
    yield f"commit {need:b}", complete, IDLE
    yield f"commit in part {need:b}", partial, ("ready", sid, need)
    if state.losses:
        left = state.losses - 1
        yield "commit, reply lost", complete._replace(losses=left), ("unclear", sid, need)
        yield "no commit, no reply", state._replace(losses=left), ("unclear", sid, need)


def _collector(state: State, collector: tuple, rules: Rules) -> Iterator[Step]:
    match collector:
        case ("idle",):
            if state.condemns:
                yield "read", state, ("read", _takeable(state, rules))
            for packs, _ in state.condemned:
                left = packs & state.present if rules.unique_names else packs
                yield f"take over {packs:b}", state, ("delete", packs, left)
        case ("read", takeable):
            # The list is newer than the journal that was read.
            garbage = takeable & state.present
            yield "list", state, ("chosen", garbage) if garbage else IDLE
        case ("chosen", garbage):
            condemned = state._replace(
                condemned=tuple(sorted({*state.condemned, (garbage, state.open)})),
                condemns=state.condemns - 1,
            )
            after = _appended(condemned, rules)
            yield f"condemn {garbage:b}", after, ("delete", garbage, garbage)
        case ("delete", packs, left):
            for pack in _bits(left):
                gone = state._replace(present=state.present & ~(1 << pack))
                yield f"delete {pack}", gone, ("delete", packs, left & ~(1 << pack))
            if not left:
                yield from _sweep(state, packs, rules)
                yield "leave unswept", state, IDLE


def _sweep(state: State, packs: int, rules: Rules) -> Iterator[Step]:
    for entry in state.condemned:
        if entry[0] == packs and (not entry[1] or not rules.condemned_stays):
            rest = tuple(other for other in state.condemned if other != entry)
            yield f"sweep {packs:b}", _appended(state._replace(condemned=rest), rules), IDLE
            return


def _stored(state: State, own: int, sid: int) -> State:
    if own & state.present:
        return state
    owner = state.owner if own != 1 else sid
    return state._replace(present=state.present | own, owner=owner)


def _takeable(state: State, rules: Rules) -> int:
    """Packs that no live commit needs, of sessions that are closed in the journal read now.

    Packs that are not in the store yet count when a writer may still store them: the list is made
    after this.
    """
    coming = 0
    for writer in state.writers:
        if writer[0] in {"open", "use"}:
            coming |= 1 << writer[1] if rules.unique_names else 1
    takeable = 0
    for pack in _bits((state.present | coming) & ~_needed(state)):
        owner = pack if rules.unique_names else state.owner
        if not state.open >> owner & 1:
            takeable |= 1 << pack
    return takeable


def _closed(state: State, session: int) -> State:
    """Close a session; it blocks no sweeping any more."""
    keep = ~(1 << session)
    condemned = tuple(sorted({(packs, by & keep) for packs, by in state.condemned}))
    return state._replace(open=state.open & keep, condemned=condemned)


def _appended(state: State, rules: Rules) -> State:
    """An entry was created: whoever was about to create one has lost the race and starts anew."""
    if not rules.compare_and_swap:
        return state
    writers = [("ready", *w[1:]) if w[0] == "checked" else w for w in state.writers]
    collectors = [IDLE if c[0] in {"read", "chosen"} else c for c in state.collectors]
    return state._replace(writers=tuple(sorted(writers)), collectors=tuple(sorted(collectors)))


def _with_writer(state: State, changed: tuple) -> State:
    return state._replace(writers=tuple(sorted((*state.writers, changed))))


def _with_collector(state: State, changed: tuple) -> State:
    return state._replace(collectors=tuple(sorted((*state.collectors, changed))))


def _needed(state: State) -> int:
    mask = 0
    for _, need in state.commits:
        mask |= need
    return mask


def _used(state: State) -> int:
    """Numbers that anything mentions."""
    mask = state.present | state.open | 1 | 1 << state.owner
    for session, need in state.commits:
        mask |= 1 << session | need
    for packs, blockers in state.condemned:
        mask |= packs | blockers
    for writer in state.writers:
        if writer != IDLE:
            mask |= 1 << writer[1] | writer[2]
    for collector in state.collectors:
        for packs in collector[1:]:
            mask |= packs
    return mask


def _free_number(state: State) -> int:
    used, number = _used(state), 1
    while used >> number & 1:
        number += 1
    return number


def _bits(mask: int) -> Iterator[int]:
    number = 0
    while mask:
        if mask & 1:
            yield number
        mask >>= 1
        number += 1


def _history(parents: dict[State, tuple[State | None, str]], end: State) -> tuple[str, ...]:
    labels = []
    at: State | None = end
    while at is not None:
        at, label = parents[at]
        labels.append(label)
    return tuple(reversed(labels))
