"""``drkeeper policy``: check, explain and begin policies."""

import json
from datetime import datetime
from pathlib import Path

import click

from drkeeper.app.cli.commands import group
from drkeeper.app.cli.completing import policy_names
from drkeeper.app.cli.invocation import Invocation, this_invocation
from drkeeper.app.cli.text import table
from drkeeper.app.config.configuration import (
    load_configuration,
    load_policy_file,
    policy_files,
)
from drkeeper.app.config.files import write_new
from drkeeper.app.config.problems import InvalidFilesError, Problem
from drkeeper.errors import ConfigurationError
from drkeeper.model.instants import local_text, rfc3339
from drkeeper.model.policy import Policy
from drkeeper.model.quantities import format_duration, format_size
from drkeeper.model.schedule import in_words, upcoming

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
    count = _check_files(files) if files else _check_installation(called)
    called.output.summary({"policies": count, "problems": 0})
    called.output.say(f"{count} {'policy' if count == 1 else 'policies'}, no problems")


def _check_files(files: tuple[Path, ...]) -> int:
    problems: list[Problem] = []
    for path in files:
        try:
            load_policy_file(path)
        except InvalidFilesError as error:
            problems += error.problems
    if problems:
        raise InvalidFilesError(problems)
    return len(files)


def _check_installation(called: Invocation) -> int:
    configuration = load_configuration(called.locations)
    if configuration.problems:
        raise InvalidFilesError(configuration.problems)
    return len(policy_files(called.locations))


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
    if "/" in name or name.endswith((".yaml", ".yml")):
        policy = load_policy_file(Path(name))
    else:
        policy = called.configuration.policy(name)
    now = called.clock.now()
    called.output.summary(_facts(policy, now))
    for line in [*_promise(policy), *_timetable(policy, now), *_limits(policy)]:
        called.output.result(line)


def _facts(policy: Policy, now: datetime) -> dict[str, object]:
    slots = _next_runs(policy, now)
    return {
        "policy": policy.name,
        "source": policy.source.kind,
        "paths": list(policy.source.paths),
        "repository": policy.repository,
        "schedule": str(policy.schedule) if policy.schedule else None,
        "time_zone": policy.zone_name,
        "next_runs": [rfc3339(slot) for slot in slots],
        "worst_rpo_seconds": policy.worst_rpo(now),
        "rpo_seconds": policy.objectives.rpo,
        "rto_seconds": policy.objectives.rto,
    }


def _next_runs(policy: Policy, now: datetime) -> list[datetime]:
    return upcoming(policy.schedule, policy.zone, now, RUNS_SHOWN) if policy.schedule else []


def _promise(policy: Policy) -> list[str]:
    source = policy.source
    lines = [f"{policy.name} protects, in repository {policy.repository}:"]
    lines += [f"  {path}" for path in source.paths]
    if source.exclude:
        lines.append(f"  without what matches: {', '.join(source.exclude)}")
    if source.exclude_caches:
        lines.append("  without the content of directories marked by CACHEDIR.TAG")
    if source.exclude_larger_than is not None:
        lines.append(f"  without files larger than {format_size(source.exclude_larger_than)}")
    if source.one_file_system:
        lines.append("  without what is mounted below these paths")
    kept = policy.retention.in_words()
    if kept:
        lines.append(f"It promises to keep {', '.join(kept)}.")
        lines.append("  This release removes nothing yet; expiring comes in a later one.")
    else:
        lines.append("It keeps every snapshot.")
    return lines


def _timetable(policy: Policy, now: datetime) -> list[str]:
    objectives = policy.objectives
    if policy.schedule is None:
        lines = ["It has no schedule: it runs when somebody runs drkeeper backup."]
        if objectives.rpo is not None:
            lines.append(f"It promises to lose at most {format_duration(objectives.rpo)}.")
        return lines
    lines = [f"It is due {in_words(policy.schedule)} ({policy.zone_name}). The next runs:"]
    rows = [
        (f"  {local_text(slot, policy.zone)}", rfc3339(slot), f"in {format_duration(slot - now)}")
        for slot in _next_runs(policy, now)
    ]
    lines += table(rows)
    worst = policy.worst_rpo(now)
    if worst is not None:
        lines.append(
            f"The worst RPO this can achieve is {format_duration(worst)} and the time a run takes."
        )
        if objectives.rpo is not None:
            verdict = (
                "which the schedule can keep if a run takes no longer than "
                f"{format_duration(objectives.rpo - worst)}"
                if worst < objectives.rpo
                else "WHICH THIS SCHEDULE CANNOT KEEP; run it more often"
            )
            lines.append(f"It promises {format_duration(objectives.rpo)}, {verdict}.")
    return lines


def _limits(policy: Policy) -> list[str]:
    lines = []
    if policy.objectives.rto is not None:
        lines.append(f"It promises to be back within {format_duration(policy.objectives.rto)}.")
    if policy.limits.memory_bytes is not None:
        lines.append(f"A run uses at most {format_size(policy.limits.memory_bytes)} for content.")
    if policy.tags:
        lines.append(f"Tags: {', '.join(f'{key}={value}' for key, value in policy.tags.items())}")
    return lines


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
