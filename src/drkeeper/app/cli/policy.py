"""``drkeeper policy``: check, explain and begin policies."""

import json
from collections.abc import Iterable
from pathlib import Path

import click

from drkeeper.app.cli.commands import group
from drkeeper.app.cli.completing import policy_names
from drkeeper.app.cli.explaining import Explained
from drkeeper.app.cli.invocation import Invocation, this_invocation
from drkeeper.app.config.configuration import (
    load_configuration,
    load_policy_file,
    policy_files,
)
from drkeeper.app.config.files import write_new
from drkeeper.app.config.problems import InvalidFilesError, Problem
from drkeeper.app.config.settings import WebSettings
from drkeeper.app.web.addresses import parse_address
from drkeeper.app.wiring.planning import REMEMBERED
from drkeeper.app.wiring.runs import ledger_place, open_run_ledger
from drkeeper.errors import ConfigurationError, LedgerError
from drkeeper.model.forecast import forecast
from drkeeper.model.planner import History, history_of
from drkeeper.model.policy import Policy
from drkeeper.model.quantities import format_duration

RUNS_SHOWN = 10


@group()
def command() -> None:
    """Check, explain and begin policies."""


@command.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
def check(files: tuple[Path, ...]) -> None:
    """Check policies, and say everything that is wrong with file, line and column.

    With FILES, only these are checked, and need no drkeeper.yaml: for continuous integration.
    """
    called = this_invocation()
    count = _check_files(called, files) if files else _check_installation(called)
    called.output.summary({"policies": count, "problems": 0})
    called.output.say(f"{count} {'policy' if count == 1 else 'policies'}, no problems")


def _check_files(called: Invocation, files: tuple[Path, ...]) -> int:
    policies: list[Policy] = []
    problems: list[Problem] = []
    for path in files:
        try:
            policies.append(load_policy_file(path))
        except InvalidFilesError as error:
            problems += error.problems
    if problems:
        raise InvalidFilesError(problems)
    _warn_of_broken_promises(called, policies)
    return len(files)


def _check_installation(called: Invocation) -> int:
    configuration = load_configuration(called.locations)
    if configuration.problems:
        raise InvalidFilesError(configuration.problems)
    _warn_of_broken_promises(called, configuration.policies.values())
    _warn_of_unserved_page(called, configuration.web)
    return len(policy_files(called.locations))


def _warn_of_broken_promises(called: Invocation, policies: Iterable[Policy]) -> None:
    """Say which policies cannot keep what they promise even if every run takes no time."""
    for policy in policies:
        worst, promised = policy.worst_rpo(called.clock.now()), policy.objectives.rpo
        if worst is not None and promised is not None and worst >= promised:
            called.output.warning(
                f"{policy.name} promises an RPO of {format_duration(promised)}, and its schedule "
                f"leaves up to {format_duration(worst)} between runs; run it more often"
            )


def _warn_of_unserved_page(called: Invocation, web: WebSettings) -> None:
    """Say that the daemon would refuse the address of its page, in the daemon's words."""
    if web.listen is None:
        return
    try:
        parse_address(web.listen, token=web.token)
    except ConfigurationError as error:
        # A warning: the daemon keeps its policies all the same, and a token may be its service's own.
        called.output.warning(f"the page cannot be served at {web.listen}: {error}. {error.hint}")


@command.command()
def schema() -> None:
    """Print the JSON Schema of policies, for editors and continuous integration."""
    from drkeeper.app.config.export import schema_text  # noqa: PLC0415 - pydantic is slow

    text = schema_text()
    this_invocation().output.page(text, schema=json.loads(text))


@command.command()
@click.argument("name", shell_complete=policy_names)
def explain(name: str) -> None:
    """Say in words what a policy means, when it runs next, and what RPO that can achieve.

    NAME is a policy's name, or the path of a policy file.
    """
    called = this_invocation()
    now = called.clock.now()
    from_file = "/" in name or name.endswith((".yaml", ".yml"))
    policy = load_policy_file(Path(name)) if from_file else called.configuration.policy(name)
    history = None if from_file else _history(called, policy)
    explained = Explained(
        policy,
        now,
        forecast(policy, now, RUNS_SHOWN, history),
        here=not from_file,
        has_channels=from_file or bool(called.configuration.channels),
    )
    called.output.summary(explained.facts())
    for line in explained.lines():
        called.output.result(line)


def _history(called: Invocation, policy: Policy) -> History | None:
    """Return what the ledger remembers of a policy; ``None`` without a ledger that can be read."""
    configuration = called.configuration
    place, host = ledger_place(configuration), configuration.host
    try:
        with open_run_ledger(place, host=host, clock=called.clock, read_only=True) as ledger:
            runs = ledger.runs(policy.name, limit=REMEMBERED)
            points = ledger.last_points(policy.name, 1)
            seen = ledger.policies().get(policy.name)
    except LedgerError:
        return None
    return history_of(
        policy,
        runs,
        known_since=seen.first_seen_at if seen else called.clock.now(),
        newest_point=points[0].consistent_at if points else None,
    )


@command.command()
@click.argument("name")
@click.argument("paths", nargs=-1, type=click.Path())
@click.option("--repository", default="primary", show_default=True, help="Where it is kept.")
@click.option("--dry-run", is_flag=True, help="Print the file instead of writing it.")
def new(name: str, paths: tuple[str, ...], repository: str, *, dry_run: bool) -> None:
    """Begin a policy NAME that protects PATHS: write a file to edit.

    No file is ever overwritten.
    """
    called = this_invocation()
    text = sample(called, name, paths, repository)
    target = called.locations.policies / f"{name}.yaml"
    if dry_run:
        called.output.result(text.rstrip("\n"))
        called.output.summary({"file": str(target), "written": False})
        return
    write_new(target, text.encode())
    called.output.summary({"file": str(target), "written": True})
    called.output.say(f"wrote {target}")
    called.output.say(f"Edit it, then run: drkeeper policy explain {name}")


def sample(called: Invocation, name: str, paths: tuple[str, ...], repository: str) -> str:
    """Return the text of a policy to begin with, checked like any other.

    Raises:
        ConfigurationError: The name or a path is unfit.
    """
    from drkeeper.app.config.samples import policy_text  # noqa: PLC0415 - pydantic is slow

    absolute = [str(Path(path).absolute()) for path in paths] or ["/etc", "/home"]
    try:
        return policy_text(name, absolute, repository)
    except InvalidFilesError as error:
        raise ConfigurationError(
            error.problems[0].message, hint="Choose another name or another path."
        ) from error
    finally:
        called.output.detail(f"sample for {name}")
