"""``drkeeper drill``: prove that what was backed up comes back."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, NoReturn

import click

from drkeeper.app.cli.backup import keep_ledger
from drkeeper.app.cli.choosing import zone_of
from drkeeper.app.cli.commands import command as make_command
from drkeeper.app.cli.completing import policy_names
from drkeeper.app.cli.drilled import tell_drill, tell_part
from drkeeper.app.cli.invocation import Invocation, this_invocation
from drkeeper.app.cli.progress import show_progress
from drkeeper.app.cli.reaching import Reach, access, reach_options
from drkeeper.app.wiring.drills import (
    NOT_PROVEN,
    DrillChoices,
    DrillOutcome,
    run_drill,
    unknown_policy,
)
from drkeeper.app.wiring.drills_of_bare import Bare, run_bare
from drkeeper.app.wiring.drills_of_keys import run_key_drill
from drkeeper.app.wiring.drills_of_many import run_mass
from drkeeper.app.wiring.parent import end_with_parent
from drkeeper.errors import DrkeeperError
from drkeeper.model.drill import Choice, DrillKind, Verdict
from drkeeper.model.instants import parse_instant
from drkeeper.model.policy import Policy

_KINDS: Final = (DrillKind.RESTORE, DrillKind.MASS, DrillKind.BARE, DrillKind.KEY)
_BY_POINT: Final = (Choice.RANDOM.value, Choice.OLDEST.value)
"""Kinds that are a restore, and say of which point."""
_CHOICES: Final = {each.value: each for each in Choice if each is not Choice.INSTANT}


class _At(NamedTuple):
    """Which recovery point is wanted, and the instant, if one was asked for."""

    choice: Choice
    instant: datetime | None = None


class _Asked(NamedTuple):
    """What the command line said."""

    called: Invocation
    reach: Reach
    at: str

    @property
    def is_elsewhere(self) -> bool:
        """Whether a store or a kit was named, and no configuration is needed."""
        return self.reach.store is not None or bool(self.reach.identities)


@make_command()
@click.argument("policies", nargs=-1, metavar="POLICY...", shell_complete=policy_names)
@click.option("--all", "every", is_flag=True, help="Every configured policy.")
@click.option(
    "--kind",
    type=click.Choice([DrillKind.RESTORE.value, *_BY_POINT, *(kind.value for kind in _KINDS[1:])]),
    default=DrillKind.RESTORE.value,
    help="restore; random, oldest: as --at; mass: many at once; bare: from store and kit alone; "
    "key: the keys at hand.",
)
@click.option(
    "--at",
    metavar="POINT",
    default="latest",
    help="Which recovery point: latest, oldest, random, or an instant as restore takes it.",
)
@click.option(
    "--at-once",
    type=click.IntRange(1, 64),
    default=2,
    help="With --kind mass: how many are restored at the same time; default: 2.",
)
@click.option("--parent", type=int, hidden=True, help="End when this process does; for daemons.")
@reach_options
def command(policies: tuple[str, ...], *, reach: Reach, **options: Any) -> int:  # noqa: ANN401
    """Prove that policies come back, and measure how fast.

    Restores into a scratch place, has another process compare every byte, starts the engine, asks
    what the policy asks, then damages the data to see whether all that would have been seen. What was
    measured goes to the ledger. Ends with 15 when a promise was not proven; nothing that is in use is
    touched.
    """
    called = this_invocation()
    called.output.steadfast = True
    every, kind, at = options["every"], options["kind"], options["at"]
    if kind in _BY_POINT:
        if at not in {Choice.LATEST, kind}:
            _refuse(f"--kind {kind} and --at {at} contradict each other")
        kind, at = DrillKind.RESTORE, kind
    asked = _Asked(called, reach, at)
    if options["parent"] is not None:
        end_with_parent(options["parent"])
    if kind == DrillKind.KEY:
        if policies or every:
            _refuse("keys belong to a repository, not to a policy")
        return _keys(asked)
    chosen = _chosen(asked, policies, every=every)
    points = {policy.name: _at(asked, policy) for policy in chosen}
    if kind == DrillKind.MASS:
        code = _mass(asked, chosen, points, options["at_once"])
    elif kind == DrillKind.BARE:
        if not reach.identities or at != Choice.LATEST:
            _refuse("a bare drill takes --identity KIT, and the latest point")
        code = _each(asked, chosen, lambda policy: _bare(asked, policy))
    else:
        code = _each(asked, chosen, lambda policy: _restore(asked, policy, points[policy.name]))
    keep_ledger(called, _configured(asked, chosen))
    return code


def _refuse(message: str) -> NoReturn:
    raise click.UsageError(message)


def _chosen(asked: _Asked, names: tuple[str, ...], *, every: bool) -> list[Policy]:
    if every == bool(names):
        raise click.UsageError("name the policies to drill, or say --all")
    configuration = asked.called.configuration
    chosen = tuple(sorted(configuration.policies)) if every else names
    if not chosen:
        raise click.UsageError(f"there is no policy in {asked.called.locations.policies}")
    known = configuration.policies
    return [
        unknown_policy(name)
        if asked.is_elsewhere and name not in known
        else configuration.policy(name)
        for name in dict.fromkeys(chosen)
    ]


def _configured(asked: _Asked, chosen: Sequence[Policy]) -> set[str]:
    """Return the configured repositories of what was drilled."""
    known = asked.called.configuration
    return {policy.repository for policy in chosen} & set(known.repositories)


def _at(asked: _Asked, policy: Policy) -> _At:
    if asked.at in _CHOICES:
        return _At(_CHOICES[asked.at])
    called = asked.called
    try:
        found = parse_instant(asked.at, zone_of(called, policy.name), called.clock.now())
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--at") from error
    return _At(Choice.INSTANT, found.instant)


def _choices(asked: _Asked, policy: Policy, at: _At) -> DrillChoices:
    known = asked.called.configuration
    host = known.host if policy.name in known.policies else None
    return DrillChoices(choice=at.choice, instant=at.instant, host=host)


def _each(asked: _Asked, chosen: Sequence[Policy], drill: Callable[[Policy], DrillOutcome]) -> int:
    """Drill one after the other; one that cannot be begun does not stop the others."""
    output = asked.called.output
    codes = []
    for policy in chosen:
        try:
            outcome = drill(policy)
        except DrkeeperError as error:
            output.failure(error)
            code = error.exit_code
            output.summary({"policy": policy.name, "result": "failed", "code": code})
        else:
            tell_drill(output, outcome.drill, run=outcome.run)
            code = 0 if outcome.verdict is Verdict.PROVEN else NOT_PROVEN
        codes.append(code)
    failures = [code for code in codes if code not in {0, NOT_PROVEN}]
    return failures[0] if failures else max(codes, default=0)


def _restore(asked: _Asked, policy: Policy, at: _At) -> DrillOutcome:
    called = asked.called
    repository = None if asked.is_elsewhere else policy.repository
    with show_progress(called.output, called.clock, policy.name) as show:
        return run_drill(
            policy,
            called.configuration,
            access(called, asked.reach, repository=repository),
            _choices(asked, policy, at),
            clock=called.clock,
            passphrase=called.passphrase,
            warn=called.output.warning,
            on_progress=show,
        )


def _bare(asked: _Asked, policy: Policy) -> DrillOutcome:
    called, reach = asked.called, asked.reach
    called.output.note(f"{policy.name}: a process with nothing but the kit goes to work")
    given = {
        "--store": reach.store,
        "--endpoint": reach.endpoint,
        "--region": reach.region,
        "--ca": reach.ca,
    }
    options = [word for name, value in given.items() if value for word in (name, value)]
    options += [word for admin in reach.admins for word in ("--admin", admin)]
    bare = Bare(policy, reach.identities, tuple(options), called.given_passphrase())
    return run_bare(bare, called.configuration, clock=called.clock, warn=called.output.warning)


def _mass(asked: _Asked, chosen: Sequence[Policy], points: dict[str, _At], at_once: int) -> int:
    called = asked.called
    repository = asked.is_elsewhere
    todo = [
        (
            policy,
            access(called, asked.reach, repository=None if repository else policy.repository),
        )
        for policy in chosen
    ]
    done = run_mass(
        todo,
        called.configuration,
        _choices(asked, chosen[0], points[chosen[0].name]),
        at_once=at_once,
        clock=called.clock,
        passphrase=called.passphrase,
        warn=called.output.warning,
        on_end=lambda part: tell_part(called.output, part.drill),
    )
    tell_drill(called.output, done.whole.drill, run=done.whole.run)
    return 0 if done.is_proven else NOT_PROVEN


def _keys(asked: _Asked) -> int:
    called = asked.called
    done = run_key_drill(
        access(called, asked.reach),
        called.configuration,
        clock=called.clock,
        passphrase=called.passphrase,
        warn=called.output.warning,
    )
    tell_drill(called.output, done.drill, run=done.run)
    return 0 if done.verdict is Verdict.PROVEN else NOT_PROVEN
