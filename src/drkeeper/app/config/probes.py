"""From what a policy says about drills to the probes, and what is wrong with it."""

from collections.abc import Iterator
from typing import Final

from drkeeper.app.config.checking import Location
from drkeeper.app.config.fields import Bytes
from drkeeper.app.config.schema import PolicyFile, ProbeSection
from drkeeper.model.drill_schedule import default_bare_schedule, default_schedule
from drkeeper.model.probes import (
    TIMEOUT,
    CommandProbe,
    DrillTerms,
    FileProbe,
    Probes,
    SqlProbe,
    Wanted,
)

_KINDS: Final = ("sql", "command", "file")
_ANSWERS: Final = ("expect", "min", "max", "max_age")
_BELONGING: Final = {
    "sql": ("database", "timeout", *_ANSWERS),
    "command": ("exit", "timeout", *_ANSWERS),
    "file": ("exists", "digest", "min", "max", "max_age"),
}
"""The keys beside the one that says the kind, and ``name``."""
_TAKEN: Final = frozenset({"bytes", "start"})
"""Names of probes that are always there."""

_NEVER_READABLE: Final = ("/proc", "/sys", "/dev", "/run", "/var/run")
"""Trees of which a sandbox has its own, or whose files are doors to what runs outside."""
_NOT_WHOLE: Final = frozenset({"/", "/etc", "/root", "/home", "/var", "/tmp"})  # noqa: S108 - to refuse it
"""Directories that hold secrets of many programs; what lies in them may be named one by one."""

_Found = Iterator[tuple[Location, str]]


def drill_terms(file: PolicyFile) -> DrillTerms:
    """Return what the keys below ``drill`` mean; they have been found right."""
    section = file.drill
    said = "schedule" in section.model_fields_set
    said_bare = "bare" in section.model_fields_set or section.kit is None
    named = list(zip(names_of(file), section.probes, strict=True))
    return DrillTerms(
        probes=Probes(
            commands=tuple(_command(name, each) for name, each in named if each.command),
            queries=tuple(_query(name, each, file) for name, each in named if each.sql),
            files=tuple(_file(name, each) for name, each in named if each.file),
        ),
        scratch=section.scratch,
        memory_bytes=section.limits.memory,
        longest=section.limits.time,
        processes=section.limits.processes,
        schedule=section.schedule if said else default_schedule(),
        promised=said,
        readable=tuple(section.readable),
        bare=section.bare if said_bare else default_bare_schedule(),
        kit=section.kit,
    )


def names_of(file: PolicyFile) -> list[str]:
    """Return the names of the probes: as given, else kind and number."""
    return [
        each.name or f"{_kind(each) or 'probe'}-{number}"
        for number, each in enumerate(file.drill.probes, start=1)
    ]


def wrong_drills(file: PolicyFile) -> _Found:
    """Find out what is wrong with how a policy wants to be drilled."""
    yield from wrong_probes(file)
    for index, path in enumerate(file.drill.readable):
        if f"{path}/".startswith(tuple(f"{each}/" for each in _NEVER_READABLE)):
            yield ("drill", "readable", index), f"a sandbox has a {path} of its own, or none"
        elif path in _NOT_WHOLE:
            yield ("drill", "readable", index), f"{path} holds too much; name what is needed in it"
    if file.drill.bare is not None and file.drill.kit is None:
        yield (
            ("drill", "bare"),
            (
                "a bare drill by the daemon needs the recovery kit; name its file with kit, or run "
                "drkeeper drill --kind bare where the kit is"
            ),
        )


def wrong_probes(file: PolicyFile) -> _Found:
    """Find out what is wrong with probes whose keys are right one by one."""
    names = names_of(file)
    for index, probe in enumerate(file.drill.probes):
        where: Location = ("drill", "probes", index)
        if names[index] in names[:index]:
            yield (*where, "name"), f"a probe is called {names[index]!r} already"
        elif names[index] in _TAKEN:
            yield (*where, "name"), f"{names[index]!r} is always asked; choose another name"
        for key, message in _wrong(probe, file):
            yield (*where, key) if key else where, message


def _kind(probe: ProbeSection) -> str | None:
    given = [kind for kind in _KINDS if getattr(probe, kind) is not None]
    return given[0] if len(given) == 1 else None


def _wrong(probe: ProbeSection, file: PolicyFile) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with one probe: the key, or nothing, and the message."""
    kind = _kind(probe)
    if kind is None:
        yield "", "write exactly one of sql, command and file"
        return
    belonging = {kind, "name", *_BELONGING[kind]}
    for key in probe.model_fields_set - belonging:
        yield key, f"{key} does not belong to a probe of kind {kind}"
    if kind == "sql":
        yield from _wrong_query(probe, file)
    yield from _wrong_bounds(probe, kind)
    if probe.exists is False:
        for key in ("digest", "min", "max", "max_age"):
            if getattr(probe, key) is not None:
                yield key, f"what is not there has no {key}; leave it or exists out"


def _wrong_query(probe: ProbeSection, file: PolicyFile) -> Iterator[tuple[str, str]]:
    if all(getattr(probe, key) is None for key in _ANSWERS):
        yield "sql", "say which answer is right: expect, min, max or max_age"
    known = file.source.sqlite.databases if file.source.sqlite is not None else None
    if probe.database is None and (known is None or len(known) > 1):
        yield "sql", "say which database is meant: database: /path/of/the.db"
    elif probe.database is not None and known is not None and probe.database not in known:
        yield "database", f"{probe.database!r} is not one of the policy's databases"


def _wrong_bounds(probe: ProbeSection, kind: str) -> Iterator[tuple[str, str]]:
    for key in ("min", "max"):
        value = getattr(probe, key)
        if value is None:
            continue
        if kind != "file" and isinstance(value, Bytes):
            yield key, f"the {key} of an answer is a plain number; leave the unit out"
        if kind == "file" and not isinstance(value, Bytes):
            yield key, f"the {key} of a file is a size; write it with its unit, such as 1 KiB"
    if probe.min is not None and probe.max is not None and probe.min > probe.max:
        yield "max", "max is less than min, so that no answer is right"


def _wanted(probe: ProbeSection) -> Wanted:
    return Wanted(
        expect=probe.expect,
        least=None if probe.min is None else float(probe.min),
        most=None if probe.max is None else float(probe.max),
        max_age=probe.max_age,
    )


def _command(name: str, probe: ProbeSection) -> CommandProbe:
    return CommandProbe(
        name,
        tuple(probe.command or ()),
        probe.exit or 0,
        _wanted(probe),
        probe.timeout or TIMEOUT,
    )


def _query(name: str, probe: ProbeSection, file: PolicyFile) -> SqlProbe:
    only = file.source.sqlite.databases[0] if file.source.sqlite is not None else ""
    return SqlProbe(
        name, probe.sql or "", probe.database or only, _wanted(probe), probe.timeout or TIMEOUT
    )


def _file(name: str, probe: ProbeSection) -> FileProbe:
    return FileProbe(
        name,
        probe.file or "",
        exists=probe.exists is not False,
        least_bytes=None if probe.min is None else int(probe.min),
        most_bytes=None if probe.max is None else int(probe.max),
        digest=probe.digest,
        max_age=probe.max_age,
    )
