"""``drkeeper config``: where configuration is and what it says."""

from dataclasses import asdict
from pathlib import Path

from drkeeper.app.cli.commands import group
from drkeeper.app.cli.invocation import this_invocation
from drkeeper.app.cli.text import table
from drkeeper.app.config.files import is_there
from drkeeper.errors import ConfigurationError


@group()
def command() -> None:
    """Show where configuration is and what it says."""


@command.command()
def paths() -> None:
    """Show the files and folders of this installation, and which of them exist."""
    called = this_invocation()
    places = called.locations
    if not _state_of(places.settings):
        places = called.configuration.locations
    named = {
        "settings": places.settings,
        "policies": places.policies,
        "keys": places.keys,
        "state": places.state,
        "cache": places.cache,
        "ledger": places.ledger,
    }
    called.output.summary(
        {**{name: str(path) for name, path in named.items()}, "chosen_by": places.chosen_by}
    )
    rows = [(name, str(path), _state_of(path)) for name, path in named.items()]
    for line in table(rows):
        called.output.result(line)
    called.output.say(f"chosen by {places.chosen_by}")


def _state_of(path: Path) -> str:
    try:
        return "" if is_there(path) else "(not there yet)"
    except ConfigurationError:
        return "(not for this user to see)"


@command.command()
def show() -> None:
    """Show the configuration as drkeeper understands it; it holds no secrets."""
    called = this_invocation()
    configuration = called.configuration
    called.output.summary(
        {
            "host": configuration.host,
            "time_zone": configuration.zone_name,
            "repositories": {
                name: asdict(settings) for name, settings in configuration.repositories.items()
            },
            "policies": sorted(configuration.policies),
        }
    )
    called.output.result(f"host: {configuration.host}")
    called.output.result(f"time zone: {configuration.zone_name}")
    for name, settings in configuration.repositories.items():
        called.output.result(f"repository {name}:")
        for key, value in asdict(settings).items():
            if key != "name" and value is not None:
                called.output.result(f"  {key}: {value}")
    for name in sorted(configuration.policies):
        policy = configuration.policies[name]
        protected = ", ".join(policy.source.paths)
        called.output.result(f"policy {name}: {protected} -> {policy.repository}")
