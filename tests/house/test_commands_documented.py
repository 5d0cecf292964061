"""Every command, option and key is documented, and the table of commands tells the truth."""

import inspect
from pathlib import Path

import click
import pytest
from pydantic import BaseModel

from drkeeper.app.cli.program import drkeeper
from drkeeper.app.cli.table import COMMANDS
from drkeeper.app.config import schema, settings_schema
from drkeeper.app.config.variables import option_variables

DOCS = Path(__file__).parents[2] / "docs"


def commands(command=drkeeper, path=()):
    """Yield every command with its words."""
    ctx = click.Context(command)
    if isinstance(command, click.Group):
        for name in command.list_commands(ctx):
            yield from commands(command.get_command(ctx, name), (*path, name))
    else:
        yield path, command


ALL = list(commands())
NAMES = [" ".join(path) for path, _ in ALL]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_says_what_the_command_says(name):
    """``drkeeper --help`` shows the first line of the command's own help, without importing it."""
    command = drkeeper.get_command(click.Context(drkeeper), name)
    assert inspect.cleandoc(command.help).splitlines()[0] == COMMANDS[name].help


@pytest.mark.parametrize(("path", "command"), ALL, ids=NAMES)
def test_every_command_and_option_is_in_the_manual(path, command):
    """docs/commands.md has a heading for the command and names each of its options below it."""
    text = (DOCS / "commands.md").read_text()
    heading = f"### drkeeper {' '.join(path)}\n"
    assert heading in text
    section = text.split(heading, 1)[1].split("\n### ", 1)[0]
    shared = text.split("## Options of every command", 1)[1].split("\n## ", 1)[0]
    for parameter in command.params:
        for option in (*parameter.opts, *parameter.secondary_opts):
            if option.startswith("--"):
                assert f"`{option}" in section or f"`{option}" in shared, option


@pytest.mark.parametrize(("path", "command"), ALL, ids=NAMES)
def test_every_option_has_help_and_a_variable(path, command):
    """An option without help, or one that the environment cannot set, is half an option."""
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, (path, parameter.name)
    called = drkeeper
    ctx = drkeeper.make_context("drkeeper", [], resilient_parsing=True)
    for name in path:
        called = called.get_command(ctx, name)
        ctx = called.make_context(name, [], parent=ctx, resilient_parsing=True)
    assert ctx.auto_envvar_prefix == "_".join(("DRKEEPER", *path)).upper()


def models():
    """Return every model of the schemas."""
    return [
        model
        for module in (schema, settings_schema)
        for _, model in inspect.getmembers(module, inspect.isclass)
        if issubclass(model, BaseModel) and model.__module__ == module.__name__
    ]


@pytest.mark.parametrize("model", models(), ids=lambda model: model.__name__)
def test_every_key_is_in_the_manual(model):
    """docs/configuration.md has a row for each key."""
    text = (DOCS / "configuration.md").read_text()
    for name in model.model_fields:
        assert f"`{name}`" in text, name


def test_every_key_that_is_not_there_yet_is_in_the_manual():
    """People who know the design find out why a key is refused."""
    text = (DOCS / "configuration.md").read_text()
    for where in schema.NOT_YET:
        assert f"`{where[-1]}`" in text, where


@pytest.mark.parametrize("variable", option_variables())
def test_every_variable_of_an_option_is_in_the_manual(variable):
    """docs/configuration.md names the variable that sets the same."""
    assert f"`{variable}`" in (DOCS / "configuration.md").read_text()


@pytest.mark.parametrize(("where", "what"), settings_schema.SECRET_KEYS.items())
def test_every_secret_of_a_channel_is_in_the_manual(where, what):
    """Who is refused a secret in the file finds out where it belongs."""
    text = (DOCS / "configuration.md").read_text()
    assert f"`DRKEEPER_NOTIFY_<NAME>_{what}`" in text, where
