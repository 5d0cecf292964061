"""``drkeeper rescue``: begin again on an empty machine, from a store and the recovery kit."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from zoneinfo import ZoneInfo

import click
from msgspec.structs import replace

from drkeeper.app.cli.commands import command as make_command
from drkeeper.app.cli.invocation import Invocation, interactive, this_invocation
from drkeeper.app.cli.opening import damage_warner, open_repository
from drkeeper.app.cli.reaching import Reach, access, looking_options
from drkeeper.app.cli.restore import recover
from drkeeper.app.cli.text import command_line, safe, table
from drkeeper.app.config.configuration import Configuration, load_configuration
from drkeeper.app.config.locations import Locations
from drkeeper.app.config.problems import InvalidFilesError
from drkeeper.app.wiring.repositories import Access
from drkeeper.app.wiring.rescue import (
    Rescue,
    Window,
    below,
    choose_rescue,
    read_rescues,
    refuse_occupied,
    windows,
    write_rescue,
)
from drkeeper.app.wiring.restores import Recovery
from drkeeper.errors import ConfigurationError, DrkeeperError
from drkeeper.model.instants import local_text, rfc3339
from drkeeper.model.quantities import format_duration, format_size
from drkeeper.operations.restore import RestoreRequest
from drkeeper.operations.snapshots import snapshots
from drkeeper.repository.reader import SnapshotReader
from drkeeper.repository.repository import Repository

FAILED = 1
WARNINGS = 3


@make_command()
@click.option("--to", "folder", metavar="DIR", help="Write everything below this folder.")
@click.option("--host", "machine", metavar="NAME", help="Which host, when there are several.")
@click.option("--take-over", is_flag=True, help="Make new keys for this machine, for the lost one.")
@click.option("--restore-to", metavar="DIR", help="Restore every policy below this directory.")
@click.option("--dry-run", is_flag=True, help="Only say what is there.")
@looking_options
def command(
    *,
    reach: Reach,
    folder: str | None,
    machine: str | None,
    take_over: bool,
    restore_to: str | None,
    dry_run: bool,
) -> int:
    """Begin again on an empty machine: configuration, policies and ledger, then the data.

    Reads the journal, says what can be restored, writes drkeeper.yaml and the policies of the lost
    host, rebuilds its ledger, and names the restores in the order in which they are best made. On a
    terminal it offers to make them. Nothing that exists is written over. Ends with 3 when something
    of this was not there; what was there has been brought back.
    """
    called = this_invocation()
    _require_kit(reach)
    locations = called.locations if folder is None else below(called.locations, _absolute(folder))
    if not dry_run:
        refuse_occupied(locations)
    work = _Work(called, locations)
    chosen = access(called, reach)
    repository = open_repository(called, reach, None)
    there = work.look(repository)
    rescue = work.find(repository, machine)
    if dry_run:
        work.plan(there, reach)
        return work.end(there, rescue)
    configuration = work.write(rescue, chosen)
    work.ledger(repository, configuration, rescue)
    if take_over:
        work.take_over(repository, chosen, configuration, rescue)
    work.plan(there, reach)
    work.restore(repository, there, configuration, restore_to)
    return work.end(there, rescue)


def _require_kit(reach: Reach) -> None:
    if not reach.identities:
        raise click.UsageError("give the recovery kit with --identity FILE")


def _absolute(folder: str) -> Path:
    if not folder:
        raise click.UsageError("--to names no directory")
    return Path(folder).absolute()


@dataclass(slots=True)
class _Work:
    """One rescue, step by step; what is not there is warned of, and the rest goes on."""

    called: Invocation
    locations: Locations
    warned: int = 0
    written: list[str] = field(default_factory=list)
    restored: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))

    def warn(self, message: str) -> None:
        self.warned += 1
        self.called.output.warning(message)

    def look(self, repository: Repository) -> list[Window]:
        """Say what can be restored."""
        output = self.called.output
        found = snapshots(repository, unreadable=damage_warner(self.called))
        there = windows(found)
        state = repository.journal.state
        output.say(
            f"repository {repository.id.hex()} at {repository.store.location}: "
            f"{state.n} journal entries, {len(found)} snapshots"
        )
        now = self.called.clock.now()
        rows = []
        for each in there:
            age = max(now - each.newest, now - now)
            output.item(
                {
                    "policy": each.policy,
                    "host": each.machine,
                    "kind": each.kind,
                    "snapshots": each.complete,
                    "oldest": each.oldest,
                    "newest": each.newest,
                    "age": age,
                    "plain_bytes": each.plain_bytes,
                }
            )
            rows.append(
                (
                    safe(each.policy), safe(each.machine), each.kind, str(each.complete),
                    local_text(each.oldest, self.zone), local_text(each.newest, self.zone),
                    f"{format_duration(age)} ago", format_size(each.plain_bytes),
                )
            )  # fmt: skip
        head = ("policy", "host", "kind", "snapshots", "oldest", "newest", "", "size")
        for line in table([head, *rows]) if rows else ():
            output.result(line)
        if not rows:
            self.warn("there is no complete snapshot: nothing can be restored from here")
        return there

    def find(self, repository: Repository, machine: str | None) -> Rescue | None:
        """Find the configuration of the lost host."""
        found, wrong = read_rescues(repository)
        for each in wrong:
            self.warn(each)
        rescue = choose_rescue(found, machine)
        if rescue is None:
            self.warn("no configuration is kept there; write drkeeper.yaml and policies anew")
            return None
        files = len(rescue.policies) + (rescue.settings is not None)
        self.called.output.say(
            f"configuration of {safe(rescue.machine)}, kept at {safe(rescue.made_at)} by drkeeper "
            f"{safe(rescue.drkeeper)}: {files} files"
        )
        return rescue

    def write(self, rescue: Rescue | None, chosen: Access) -> Configuration | None:
        """Write configuration and policies, and read them back."""
        if rescue is None:
            return None
        for path in write_rescue(rescue, self.locations):
            self.written.append(str(path))
            self.called.output.say(f"wrote {path}")
        for name in rescue.redacted():
            self.warn(f"{name}: a secret was left out where it says [redacted]; write it in")
        try:
            configuration = load_configuration(self.locations, clock=self.called.clock)
        except InvalidFilesError as error:
            self.called.output.failure(error)
            self.warn(
                f"{self.locations.settings} must be put right; then run drkeeper policy check"
            )
            return None
        for problem in configuration.problems:
            self.warn(f"{problem.file} is wrong; run drkeeper policy check")
        stores = {each.store for each in configuration.repositories.values()}
        if chosen.settings.store not in stores:
            self.warn(
                f"{self.locations.settings} does not name {chosen.settings.store}, "
                "from which this comes: correct the store if it has moved"
            )
        self._channels(configuration)
        return configuration

    def _channels(self, configuration: Configuration) -> None:
        for name in configuration.channels:
            try:
                configuration.channels[name]
            except ConfigurationError as error:
                self.called.output.note(f"{error}: {error.hint}")

    def ledger(
        self, repository: Repository, configuration: Configuration | None, rescue: Rescue | None
    ) -> None:
        """Rebuild the ledger of the lost host."""
        if configuration is None or rescue is None:
            return
        if configuration.ledger is not None:
            self.called.output.say(
                "the ledger is shared, on a server; if that is lost too: drkeeper ledger rebuild"
            )
            return
        from drkeeper.app.wiring.ledger_copies import rebuild_ledger  # noqa: PLC0415 - slow
        from drkeeper.operations.keeping_ledgers import gather, read_kept  # noqa: PLC0415 - slow
        from drkeeper.repository.records import ledger_series  # noqa: PLC0415 - see the package

        try:
            series = ledger_series(repository, rescue.host)
            kept = read_kept([series])
            if not kept.entries:
                self.warn(f"no ledger of {safe(rescue.machine)} is stored; a new one is begun")
                return
            origin = list(kept.origins())[-1]
            gathered = gather(kept, origin, series.trusted_keys)
            # Without a configuration, what is there can only be of restores on this machine.
            made = rebuild_ledger(gathered, configuration, self.called.clock, replace_whole=True)
        except DrkeeperError as error:
            self.warn(f"the ledger was not rebuilt: {error}")
            return
        for finding in gathered.findings:
            self.warn(finding)
        self.written.append(made.place)
        if made.aside is not None:
            self.called.output.say(f"the ledger that was here is now {made.aside}")
        self.called.output.say(
            f"rebuilt {made.place}: {len(gathered.events)} events up to {gathered.events[-1].at}, "
            f"proven by {len(gathered.notes)} checkpoints"
        )

    def take_over(
        self,
        repository: Repository,
        chosen: Access,
        configuration: Configuration | None,
        rescue: Rescue | None,
    ) -> None:
        """Make new keys for this machine."""
        from drkeeper.app.wiring.takeover import take_over  # noqa: PLC0415 - rare

        known = () if configuration is None else configuration.repositories.values()
        named = [each for each in known if each.store == chosen.settings.store]
        settings = named[0] if named else next(iter(known), None)
        if settings is None:
            settings = replace(chosen.settings, keys=self.locations.keys / "primary")
        made = take_over(repository, chosen.kits, settings, None if rescue is None else rescue.host)
        self.written += [str(path) for path in made.files]
        self.called.output.say(
            f"made new keys in {settings.keys}; {len(made.removed)} keys of the lost host may sign "
            f"and read nothing new any more (keyring {made.keyring})"
        )

    def plan(self, there: list[Window], reach: Reach) -> None:
        """Name the restores in the order in which they are best made."""
        output = self.called.output
        if not there:
            return
        kit = ["--identity", str(reach.identities[0])]
        if reach.store is not None:
            kit = ["--store", reach.store, *kit]
        output.say("to bring the data back, in this order:")
        for number, each in enumerate(there, 1):
            words = ["drkeeper", "restore", each.policy, *kit, "--to", f"/restored/{each.policy}"]
            words += ["--snapshot", str(each.number)] if _is_ambiguous(each, there) else []
            output.item({"step": number, "policy": each.policy, "host": each.machine, "run": words})
            output.say(f"  {number}. {command_line(words)}")

    def restore(
        self,
        repository: Repository,
        there: list[Window],
        configuration: Configuration | None,
        restore_to: str | None,
    ) -> None:
        """Restore what is wanted, one policy after the other; one that fails stops no other."""
        asks = restore_to is None and interactive() and not self.called.output.json
        for each in there if asks or restore_to is not None else ():
            name = f"{each.policy}-{each.machine}" if _is_ambiguous(each, there) else each.policy
            target = os.path.abspath(os.path.join(restore_to or "restored", name))
            question = f"Restore {safe(each.policy)} of {rfc3339(each.newest)} to {safe(target)}"
            if asks and not click.confirm(question, err=True):
                continue
            commit = next(c for c in repository.live_commits() if c.n == each.number)
            request = RestoreRequest(
                SnapshotReader(repository, commit), os.fsencode(target), self.called.clock
            )
            recovery = Recovery(each.policy, repository, commit, request)
            try:
                code = recover(self.called, recovery, configuration)
            except DrkeeperError as error:
                self.called.output.failure(error)
                self.failed.append(each.policy)
                continue
            self.restored.append(target)
            self.warned += code == WARNINGS

    def end(self, there: list[Window], rescue: Rescue | None) -> int:
        """Say how it ended."""
        self.called.output.summary(
            {
                "policies": len(there),
                "machine": None if rescue is None else rescue.machine,
                "written": self.written,
                "restored": self.restored,
                "failed": self.failed,
                "warnings": self.warned,
            }
        )
        if self.failed and not self.restored:
            return FAILED
        return WARNINGS if self.warned or self.failed else 0


def _is_ambiguous(window: Window, there: list[Window]) -> bool:
    return sum(each.policy == window.policy for each in there) > 1
