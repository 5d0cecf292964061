"""Commands and groups as click objects, with the options that all of them share."""

from collections.abc import Callable
from importlib import import_module
from typing import Any, cast

import click
from click.core import ParameterSource

from drkeeper.app.cli.table import CARE, COMMANDS, DAILY, LOOK

SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
ROOT_SETTINGS: dict[str, Any] = {**SETTINGS, "auto_envvar_prefix": "DRKEEPER"}
"""Of the root only: the prefixes of commands follow from it, with their names."""

_SPOKEN = "spoken"
"""Which shared options stood on the command line, in the root's context."""


def shared_options() -> list[click.Parameter]:
    """Return the options that may stand before or after the name of any command."""

    def option(*names: str, **settings: Any) -> click.Option:  # noqa: ANN401 - click's own
        return click.Option(names, expose_value=False, callback=_remember, **settings)

    return [
        option("--config", metavar="PATH", help="Read this drkeeper.yaml, or the one in a folder."),
        option("--json", is_flag=True, default=None, help="Write JSON lines to standard output."),
        option(
            "-q", "--quiet", is_flag=True, default=None, help="Say nothing but results and errors."
        ),
        option("-v", "--verbose", is_flag=True, default=None, help="Say more."),
        option("--debug", is_flag=True, default=None, help="Show a traceback with errors."),
    ]


def _remember(ctx: click.Context, parameter: click.Parameter, value: object) -> None:
    # The root's context holds what was said before the command's name; the innermost wins, but
    # never a variable over what stands on the command line.
    name = parameter.name
    if value is None or name is None:
        return
    chosen = ctx.find_root().ensure_object(dict)
    spoken = chosen.setdefault(_SPOKEN, set())
    if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
        spoken.add(name)
    elif name in spoken:
        return
    chosen[name] = value


class Command(click.Command):
    """A command that also takes the shared options."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - click's own
        super().__init__(*args, **kwargs)
        self.params.extend(shared_options())


class Group(click.Group):
    """A group of commands that take the shared options."""

    command_class: type[click.Command] | None = Command


def command(**settings: Any) -> Callable[[Callable[..., Any]], click.Command]:  # noqa: ANN401
    """Make a function a command, as ``click.command`` does."""
    return cast(
        Callable[[Callable[..., Any]], click.Command],
        click.command(cls=Command, context_settings=SETTINGS, **settings),
    )


def group(**settings: Any) -> Callable[[Callable[..., Any]], Group]:  # noqa: ANN401 - click's own
    """Make a function a group, as ``click.group`` does."""
    return cast(
        Callable[[Callable[..., Any]], Group],
        click.group(cls=Group, context_settings=SETTINGS, **settings),
    )


class Program(click.Group):
    """The root: knows its commands by the table and imports only the one that is called."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - click's own
        super().__init__(*args, **kwargs)
        self.params.extend(shared_options())

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the table."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of ``cmd_name`` and return its command."""
        del ctx
        row = COMMANDS.get(cmd_name)
        if row is None:
            return None
        module = import_module(f"drkeeper.app.cli.{row.module}")
        return cast(click.Command, module.command)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table by section, importing nothing."""
        del ctx
        for section in (DAILY, LOOK, CARE):
            with formatter.section(section):
                formatter.write_dl(
                    [(name, row.help) for name, row in COMMANDS.items() if row.section == section]
                )

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or fail with the name of one that is close.

        Raises:
            click.UsageError: There is no such command.
        """
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            from drkeeper.app.config.problems import did_you_mean  # noqa: PLC0415 - rare

            guess = did_you_mean(name, list(COMMANDS))
            raise click.UsageError(f"no command {name!r}{guess}", ctx)
        return super().resolve_command(ctx, args)
