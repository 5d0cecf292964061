"""A policy in plain words, and as facts for JSON."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import asdict

from drkeeper.app.cli.text import command_line, safe, table
from drkeeper.model.forecast import Forecast
from drkeeper.model.instants import local_text, rfc3339
from drkeeper.model.policy import FilesSource, Hook, Policy, SqliteSource
from drkeeper.model.probes import CommandProbe, FileProbe, SqlProbe
from drkeeper.model.quantities import format_duration, format_size
from drkeeper.model.schedule import in_words

_NONE: Final = timedelta()


@dataclass(frozen=True, slots=True)
class Explained:
    """A policy and what is known of it.

    Attributes:
        policy: Which.
        now: The present.
        forecast: Its next runs, and how long a pause between two can be.
        here: Whether this is the machine that it is for, so that its programs should be here.
        has_channels: Whether ``drkeeper.yaml`` has any.
    """

    policy: Policy
    now: datetime
    forecast: Forecast
    here: bool
    has_channels: bool = True

    def lines(self) -> Iterator[str]:
        """Say in words what the policy means."""
        yield from self._source()
        yield from self._retention()
        yield from self._timing()
        yield from self._achieved()
        yield from self._limits()
        yield from self._hooks()
        yield from self._proof()
        if self.policy.notify:
            yield f"It tells: {', '.join(self.policy.notify)}."
        elif self.has_channels:
            yield "It names no channel, so all but heartbeats are told: see drkeeper notify list."
        else:
            yield "It tells nobody of trouble: there is no channel below notify in drkeeper.yaml."
        tags = self.policy.tags
        if tags:
            yield f"Tags: {', '.join(f'{key}={safe(value)}' for key, value in tags.items())}"

    def _source(self) -> Iterator[str]:
        source = self.policy.source
        yield f"{self.policy.name} protects, in repository {self.policy.repository}:"
        for path in source.paths:
            yield f"  {safe(path)}"
        if isinstance(source, SqliteSource):
            wait = format_duration(source.busy_timeout)
            yield f"  each as one SQLite database; another program's lock is waited for {wait}"
            return
        if source.exclude:
            yield f"  without what matches: {', '.join(map(safe, source.exclude))}"
        if source.exclude_caches:
            yield "  without the content of directories marked by CACHEDIR.TAG"
        if source.exclude_larger_than is not None:
            yield f"  without files larger than {format_size(source.exclude_larger_than)}"
        if source.one_file_system:
            yield "  without what is mounted below these paths"

    def _retention(self) -> Iterator[str]:
        rules = self.policy.retention.in_words()
        if not rules:
            yield "It keeps every snapshot."
            return
        yield f"It promises to keep {', '.join(rules)}; a snapshot kept by any of these is kept."
        newest = self.policy.retention.minimum
        yield f"  The newest {newest if newest > 1 else 'one'} always, whatever these say."
        yield "  This release removes nothing yet; expiring comes in a later one."

    def _timing(self) -> Iterator[str]:
        policy = self.policy
        if policy.schedule is not None:
            yield f"It is due {in_words(policy.schedule)} ({policy.zone_name})."
            if policy.jitter:
                yield (
                    f"  On this host it begins {format_duration(policy.offset)} later, its own part "
                    f"of a jitter of {format_duration(policy.jitter)}."
                )
        elif policy.objectives.rpo is not None and self.forecast.gap is not None:
            yield (
                "It has no schedule, and runs as often as its RPO needs: "
                f"{format_duration(self.forecast.gap)} after the last one began."
            )
            takes = self.forecast.duration
            known = "" if takes is None else f" ({format_duration(takes)})"
            yield (
                f"  That is the RPO of {format_duration(policy.objectives.rpo)}, less the time a run "
                f"takes{known} and a margin of a twentieth; at least half of it."
            )
        else:
            yield "It has no schedule: it runs when somebody runs drkeeper backup."
        yield from self._interruptions()
        if self.forecast.runs:
            yield "The next runs:"
            now = self.now
            yield from table(
                [
                    (
                        f"  {local_text(at, policy.zone)}",
                        rfc3339(at.replace(microsecond=0)),
                        f"in {format_duration(at - now)}" if at > now else "now",
                    )
                    for at in self.forecast.runs
                ]
            )

    def _interruptions(self) -> Iterator[str]:
        policy = self.policy
        if policy.pause is not None:
            until = local_text(policy.pause.until, policy.zone)
            reason = f": {safe(policy.pause.reason)}" if policy.pause.reason else ""
            if policy.pause.until > self.now:
                left = format_duration(policy.pause.until - self.now)
                yield f"It is PAUSED until {until}, {left} from now{reason}"
            else:
                yield f"A pause of it ended at {until}{reason}"
        if policy.limits.closed:
            windows = ", ".join(map(str, policy.limits.closed))
            yield f"No run begins in {windows} ({policy.zone_name}); one that goes on is not ended."

    def _achieved(self) -> Iterator[str]:
        rpo, rto = self.policy.objectives.rpo, self.policy.objectives.rto
        gap, takes = self.forecast.gap, self.forecast.duration
        if gap is not None:
            worst = f"The worst RPO this can achieve is {format_duration(gap + (takes or _NONE))}"
            if takes is None:
                yield f"{worst} and the time a run takes."
            else:
                yield (
                    f"{worst}: {format_duration(gap)} between two runs, and "
                    f"{format_duration(takes)}, which few runs have exceeded."
                )
        if rpo is not None:
            yield f"It promises {format_duration(rpo)}{self._verdict(rpo)}."
        if rto is not None:
            yield f"It promises to be back within {format_duration(rto)}."

    def _verdict(self, rpo: timedelta) -> str:
        gap, takes = self.forecast.gap, self.forecast.duration
        if gap is None:
            return ""
        if rpo <= gap or (takes is not None and rpo < gap + takes):
            better = "run it more often" if self.policy.schedule is not None else "open the windows"
            return f", WHICH IT CANNOT KEEP; {better}"
        if takes is not None:
            return ", which it can keep"
        return f", which it can keep if a run takes no longer than {format_duration(rpo - gap)}"

    def _limits(self) -> Iterator[str]:
        limits = self.policy.limits
        facts = [
            limits.memory_bytes
            and f"at most {format_size(limits.memory_bytes)} of memory for content",
            limits.workers and f"{limits.workers} threads to compress and seal",
            limits.compression_level and f"zstd level {limits.compression_level}",
            limits.nice and f"priority lowered by {limits.nice}",
            limits.upload and f"at most {format_size(limits.upload)} sent a second",
        ]
        if said := [fact for fact in facts if fact]:
            yield f"A run uses: {', '.join(said)}."

    def _hooks(self) -> Iterator[str]:
        hooks = self.policy.hooks
        for when, commands in (
            ("Before a backup it runs", hooks.before_backup),
            ("After a backup, however that ended, it runs", hooks.after_backup),
            ("After a backup that failed, it runs", hooks.after_failure),
        ):
            if commands:
                yield f"{when}:"
                for hook in commands:
                    yield from self._hook(hook)

    def _hook(self, hook: Hook) -> Iterator[str]:
        fails = "without it there is no backup" if hook.essential else "its failure is a warning"
        yield f"  {safe(command_line(hook.command))} (at most {format_duration(hook.timeout)}; {fails})"
        if self.here and not os.access(hook.command[0], os.X_OK):
            yield f"  WARNING: there is no program {safe(hook.command[0])} on this machine."

    def _proof(self) -> Iterator[str]:
        terms = self.policy.drill
        if terms.schedule is None:
            yield "No drill of it is scheduled: it is proven when somebody runs drkeeper drill."
        else:
            yield f"The daemon drills it {in_words(terms.schedule)}, where a key that reads is at hand."
        if terms.bare is not None and terms.kit is not None:
            when, kit = in_words(terms.bare), safe(terms.kit)
            yield f"From the store and the kit {kit} alone, it does so {when}."
            if self.here and not os.access(terms.kit, os.R_OK):
                yield f"  WARNING: {kit} cannot be read on this machine."
        else:
            yield "From store and kit alone, it is drilled by hand: drkeeper drill --kind bare."
        if not len(terms.probes):
            yield "A drill compares every byte with the manifest; the policy asks nothing more."
            return
        yield "A drill compares every byte with the manifest, and asks:"
        for probe in terms.probes:
            yield f"  {probe.name} ({probe.kind}): {safe(_question(probe))}"
            yield f"    right is: {safe(probe.in_words())}"

    def facts(self) -> dict[str, object]:
        """Return the same for JSON; durations become seconds, instants RFC 3339."""
        policy, limits = self.policy, self.policy.limits
        source = policy.source
        return {
            "policy": policy.name,
            "source": source.kind,
            "paths": list(source.paths),
            **_details(source),
            "repository": policy.repository,
            "schedule": str(policy.schedule) if policy.schedule else None,
            "time_zone": policy.zone_name,
            "jitter_seconds": policy.jitter,
            "offset_seconds": policy.offset,
            "paused_until": policy.pause.until if policy.pause else None,
            "paused_because": policy.pause.reason if policy.pause else None,
            "closed": [str(window) for window in limits.closed],
            "next_runs": [at.replace(microsecond=0) for at in self.forecast.runs],
            "longest_pause_seconds": self.forecast.gap,
            "duration_seconds": self.forecast.duration,
            "worst_rpo_seconds": self.forecast.worst_rpo,
            "rpo_seconds": policy.objectives.rpo,
            "rto_seconds": policy.objectives.rto,
            "retention": {
                f"{rule}_seconds" if rule == "within" else rule: value
                for rule, value in asdict(policy.retention).items()
                if value
            },
            "memory_bytes": limits.memory_bytes,
            "workers": limits.workers,
            "compression": limits.compression_level,
            "nice": limits.nice,
            "upload_bytes_per_second": limits.upload,
            "hooks": {
                "before_backup": _hook_facts(policy.hooks.before_backup),
                "after_backup": _hook_facts(policy.hooks.after_backup),
                "after_failure": _hook_facts(policy.hooks.after_failure),
            },
            "notify": list(policy.notify),
            "drill_schedule": str(policy.drill.schedule) if policy.drill.schedule else None,
            "bare_drill_schedule": str(policy.drill.bare) if policy.drill.bare else None,
            "probes": [
                {
                    "name": probe.name,
                    "kind": probe.kind,
                    "question": _question(probe),
                    "expected": probe.in_words(),
                }
                for probe in policy.drill.probes
            ],
            "tags": policy.tags,
        }


def _question(probe: CommandProbe | SqlProbe | FileProbe) -> str:
    match probe:
        case CommandProbe():
            return command_line(probe.command)
        case SqlProbe():
            return f"{probe.query} (in {probe.database})"
        case FileProbe():
            return probe.path


def _hook_facts(hooks: Sequence[Hook]) -> list[dict[str, object]]:
    return [
        {
            "command": list(hook.command),
            "timeout_seconds": hook.timeout,
            "essential": hook.essential,
        }
        for hook in hooks
    ]


def _details(source: FilesSource | SqliteSource) -> dict[str, object]:
    """Return what one kind of source has and others have not."""
    if isinstance(source, SqliteSource):
        return {"busy_timeout_seconds": source.busy_timeout}
    return {
        "exclude": list(source.exclude),
        "exclude_caches": source.exclude_caches,
        "exclude_larger_than_bytes": source.exclude_larger_than,
        "one_file_system": source.one_file_system,
    }
