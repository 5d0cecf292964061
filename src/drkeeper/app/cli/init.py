"""``drkeeper init``: make a repository, its keys and a first configuration."""

import os
import sys
from pathlib import Path
from typing import Any

import click
from msgspec.structs import replace

from drkeeper.app.cli.commands import command as make_command
from drkeeper.app.cli.invocation import Invocation, interactive, this_invocation
from drkeeper.app.cli.reaching import Reach, settings_of, store_options
from drkeeper.app.config.configuration import RepositorySettings, load_configuration
from drkeeper.app.config.files import is_there, write_new
from drkeeper.app.config.problems import InvalidFilesError
from drkeeper.app.config.samples import policy_text, repository_lines, settings_text
from drkeeper.app.wiring.births import Birth, Wishes, end_birth, make_repository
from drkeeper.errors import ConfigurationError, DrkeeperError

SETTINGS_MODE = 0o644


@make_command()
@click.argument("store")
@click.option("--name", default="primary", show_default=True, help="Name in drkeeper.yaml.")
@click.option("--write-only", is_flag=True, help="Leave no key here that can read or delete.")
@click.option(
    "--recovery",
    multiple=True,
    metavar="RECIPIENT",
    help="age1pq1… recipient that can always read everything; may be given again.",
)
@click.option(
    "--kit-file", metavar="FILE", help="Write the recovery kit here (0600); - to print it."
)
@click.option("--protect-kit", is_flag=True, help="Protect the kit's keys by a passphrase.")
@click.option("--policy", default="files", show_default=True, help="Name of the sample policy.")
@click.option("--protect", multiple=True, metavar="PATH", help="Path the sample policy protects.")
@store_options
@click.option("--dry-run", is_flag=True, help="Only say what would be made.")
def command(store: str, name: str, *, dry_run: bool, **options: Any) -> None:  # noqa: ANN401
    """Make a repository, its keys and a first configuration.

    STORE is an empty folder, or s3://bucket/prefix. The recovery kit is shown once: keep it offline.
    """
    called = this_invocation()
    reach = Reach(
        **{key: options[key] for key in ("endpoint", "region", "profile", "ca", "path_style")}
    )
    settings = replace(settings_of(reach, store), name=name, keys=called.locations.keys / name)
    plan = _Plan(called, settings, options["policy"], options["protect"])
    kit_file = None if dry_run else _kit_file(called, options["kit_file"])
    plan.check()
    if dry_run:
        plan.tell()
        return
    wishes = Wishes(
        settings,
        recovery=options["recovery"],
        write_only=options["write_only"],
        kit_file=kit_file,
        kit_passphrase=_new_passphrase(called) if options["protect_kit"] else None,
        policy=options["policy"],
        show=lambda kit: _show(called, kit),
    )
    birth = make_repository(wishes, called.state, called.clock, called.output.note)
    plan.write()
    end_birth(birth)
    _tell(called, birth, plan, kit_file)


def _kit_file(called: Invocation, text: str | None) -> Path | None:
    if text not in {None, "-"}:
        return Path(str(text)).absolute()
    if called.output.json:
        raise click.UsageError("--json never carries secrets; add --kit-file FILE")
    if text is None and not sys.stdout.isatty():
        raise click.UsageError(
            "the recovery kit would go to a file or pipe; add --kit-file FILE, or - to print it"
        )
    return None


def _new_passphrase(called: Invocation) -> str:
    given = called.given_passphrase()
    if given is not None:
        return given
    if not interactive():
        raise ConfigurationError(
            "there is no passphrase for the kit",
            hint="Set DRKEEPER_PASSPHRASE_FILE or DRKEEPER_PASSPHRASE_COMMAND.",
        )
    return str(
        click.prompt("Passphrase of the kit", hide_input=True, confirmation_prompt=True, err=True)
    )


class _Plan:
    """The configuration files of a new repository; existing ones stay as they are."""

    def __init__(
        self,
        called: Invocation,
        settings: RepositorySettings,
        policy: str,
        protect: tuple[str, ...],
    ) -> None:
        self._called = called
        self._settings = settings
        self._policy_file = called.locations.policies / f"{policy}.yaml"
        self._policy = policy
        self._protect = [os.path.abspath(path) for path in protect] or _usual_paths()
        self.add_lines: list[str] = []
        self.written: list[Path] = []

    @property
    def store(self) -> str:
        """Address of the repository."""
        return self._settings.store

    @property
    def keys(self) -> Path:
        """Folder of its keys."""
        return self._settings.keys

    def check(self) -> None:
        """Find out everything that would be in the way, before anything is made.

        Raises:
            ConfigurationError: Something is.
        """
        name = self._settings.name
        configuration = load_configuration(self._called.locations)
        if name in configuration.repositories:
            raise ConfigurationError(
                f"repository {name!r} is in {self._called.locations.settings} already",
                hint="Choose another name with --name.",
            )
        try:
            settings_text(name, self._settings)
            policy_text(self._policy, self._protect, name)
        except InvalidFilesError as error:
            raise ConfigurationError(
                error.problems[0].message, hint="Correct the argument."
            ) from error

    def tell(self) -> None:
        """Say what would be made."""
        for path in (self._settings.keys, self._called.locations.settings, self._policy_file):
            state = "stays as it is" if is_there(path) else "would be made"
            self._called.output.say(f"{path}: {state}")
        self._called.output.say(f"{self._settings.store}: a repository would be made")
        self._called.output.summary({"store": self._settings.store, "dry_run": True})

    def write(self) -> None:
        """Write the files that are not there yet; a failure here loses nothing."""
        name = self._settings.name
        target = self._called.locations.settings
        try:
            if is_there(target):
                self.add_lines = repository_lines(name, self._settings)
            else:
                write_new(target, settings_text(name, self._settings).encode(), SETTINGS_MODE)
                self.written.append(target)
            if not is_there(self._policy_file):
                text = policy_text(self._policy, self._protect, name)
                write_new(self._policy_file, text.encode(), SETTINGS_MODE)
                self.written.append(self._policy_file)
        except DrkeeperError as error:
            self._called.output.warning(f"the repository is made, but {error}")


def _usual_paths() -> list[str]:
    if os.geteuid() == 0:
        return [path for path in ("/etc", "/home", "/root") if os.path.isdir(path)]
    return [str(Path.home())]


def _show(called: Invocation, kit: str) -> None:
    output = called.output
    output.say("This is the recovery kit. It is shown this once: print it, keep it offline.")
    output.say("-" * 78)
    output.result(kit.rstrip("\n"))
    output.say("-" * 78)


def _tell(called: Invocation, birth: Birth, plan: _Plan, kit_file: Path | None) -> None:
    output = called.output
    output.summary(
        {
            "repository": birth.repository,
            "admins": list(birth.admins),
            "files": [str(path) for path in (*birth.files, *plan.written)],
            "kit_file": str(kit_file) if kit_file else None,
            "add_to_settings": plan.add_lines,
            "store_problems": list(birth.capabilities.problems),
        }
    )
    for problem in birth.capabilities.problems:
        output.warning(problem)
    output.say(f"made repository {birth.repository}")
    for path in (*birth.files, *plan.written):
        output.say(f"wrote {path}")
    if plan.add_lines:
        output.say(f"Add these lines below 'repositories:' in {called.locations.settings}:")
        for line in plan.add_lines:
            output.say(line)
    if kit_file is not None:
        output.say(f"The recovery kit is {kit_file}: move it offline, then delete it here.")
    elif birth.taken_up:
        output.warning(
            "the recovery kit was shown by the init that was cut off; if nobody has kept it, remove "
            f"{plan.store} and {plan.keys}, and run init again"
        )
    else:
        output.say("The recovery kit is above, and is not shown again: print it, keep it offline.")
    output.say("Next: drkeeper policy check, then drkeeper backup.")
