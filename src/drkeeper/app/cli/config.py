"""``drkeeper config``: where configuration is and what it says."""

from datetime import timedelta
from pathlib import Path

from msgspec.structs import asdict

from drkeeper.app.cli.commands import group
from drkeeper.app.cli.invocation import this_invocation
from drkeeper.app.cli.text import table
from drkeeper.app.config.files import is_there
from drkeeper.app.config.settings import WebSettings
from drkeeper.app.wiring.runs import ledger_place, shown_place
from drkeeper.errors import ConfigurationError
from drkeeper.model.quantities import format_duration


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
    shown = {name: (str(path), _state_of(path)) for name, path in named.items()}
    place = None if shown["settings"][1] else ledger_place(called.configuration)
    if isinstance(place, str):
        shown["ledger"] = (shown_place(place), "")
    called.output.summary(
        {name: where for name, (where, _) in shown.items()} | {"chosen_by": places.chosen_by}
    )
    rows = [(name, *words) for name, words in shown.items()]
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
            "channels": sorted(configuration.channels),
            "daemon": asdict(configuration.daemon),
            "web": _shown_web(configuration.web),
            "log": asdict(configuration.log),
            "ledger": shown_place(ledger_place(configuration)),
        }
    )
    called.output.result(f"host: {configuration.host}")
    called.output.result(f"time zone: {configuration.zone_name}")
    for name, settings in configuration.repositories.items():
        called.output.result(f"repository {name}:")
        for key, value in asdict(settings).items():
            if key != "name" and value is not None:
                called.output.result(f"  {key}: {_text(value)}")
    for name in sorted(configuration.policies):
        policy = configuration.policies[name]
        protected = ", ".join(policy.source.paths)
        called.output.result(f"policy {name}: {protected} -> {policy.repository}")
    for name in sorted(configuration.channels):
        called.output.result(f"channel {name}")
    sections = {
        "daemon": asdict(configuration.daemon),
        "web": _shown_web(configuration.web),
        "log": asdict(configuration.log),
    }
    for name, section in sections.items():
        said = ", ".join(f"{key} {_text(value)}" for key, value in section.items())
        called.output.result(f"{name}: {said}")
    called.output.result(f"ledger: {shown_place(ledger_place(configuration))}")


def _shown_web(web: WebSettings) -> dict[str, object]:
    """Return the settings of the page; of its token, only whether there is one."""
    return {
        "listen": web.listen,
        "token": web.token is not None,
        "textfile": None if web.textfile is None else str(web.textfile),
    }


def _text(value: object) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case timedelta():
            return format_duration(value)
        case _:
            return str(value)
