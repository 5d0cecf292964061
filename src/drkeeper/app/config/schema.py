"""The keys of policies: these models are the schema.

``drkeeper policy schema`` exports them; docs/configuration.md documents every key (tested).
"""

import re
from datetime import timedelta
from typing import Annotated

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
    model_validator,
)

from drkeeper.app.config.fields import (
    AbsolutePath,
    Bound,
    Command,
    Count,
    DrillScheduleText,
    Duration,
    Name,
    OneCommand,
    Pattern,
    Rate,
    ScheduleText,
    Size,
    Strict,
    TagKey,
    Timeout,
    Until,
    WindowText,
    ZoneName,
)

NOT_YET = {
    ("capture",): "continuous log shipping",
    ("source", "postgresql"): "PostgreSQL as a source",
    ("source", "mariadb"): "MariaDB as a source",
    ("source", "mysql"): "MySQL as a source",
    ("source", "redis"): "Redis as a source",
    ("source", "command"): "a command as a source",
}
"""Keys of the design that this release does not honour: refused by name, never ignored."""

DIGEST = r"^(sha256|blake3):[0-9a-f]{64}$"
"""How digests of files are written."""

SECRET_WORDS = ("secret", "password", "passphrase", "access_key", "token", "credential")
"""Unknown keys with one of these in their name get told where secrets belong."""


class FilesSection(Strict):
    """A file tree."""

    paths: list[AbsolutePath] = Field(min_length=1, max_length=1000)
    """Absolute paths to protect, with everything below them."""
    exclude: list[Pattern] = Field(default_factory=list, max_length=10_000)
    """Patterns of what to leave out, in the manner of gitignore."""
    exclude_caches: bool = False
    """Leave out the content of directories marked by a CACHEDIR.TAG file."""
    one_file_system: bool = True
    """Leave out what is mounted below a path."""
    exclude_larger_than: Size | None = None
    """Leave out files larger than this, such as 50 GiB."""


class SqliteSection(Strict):
    """SQLite databases."""

    databases: list[AbsolutePath] = Field(min_length=1, max_length=100)
    """Absolute paths of database files; programs may be writing to them."""
    busy_timeout: Timeout = timedelta(seconds=30)
    """How long to wait for a lock of another program, at most 1d."""


class SourceSection(Strict):
    """What is protected; exactly one kind."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    files: FilesSection | None = None
    """A file tree."""
    sqlite: SqliteSection | None = None
    """SQLite databases."""

    @model_validator(mode="after")
    def _one_kind(self) -> "SourceSection":
        if (self.files is None) == (self.sqlite is None):
            raise ValueError("write exactly one kind of source: files or sqlite")
        return self


class RetentionSection(Strict):
    """What to keep; a snapshot kept by any rule is kept. Without rules, everything is."""

    last: Count = 0
    """The newest so many."""
    within: Duration | None = None
    """All younger than this."""
    hourly: Count = 0
    """The newest of each of so many hours."""
    daily: Count = 0
    """The newest of each of so many days."""
    weekly: Count = 0
    """The newest of each of so many ISO weeks."""
    monthly: Count = 0
    """The newest of each of so many months."""
    yearly: Count = 0
    """The newest of each of so many years."""
    minimum: int = Field(default=1, ge=1, le=100_000)
    """The newest so many are never expired, whatever the rules say."""


class ObjectivesSection(Strict):
    """What is promised."""

    rpo: Duration | None = None
    """Most data, as time, that may be lost."""
    rto: Duration | None = None
    """Longest time from declaring a disaster to a proven service."""


class LimitsSection(Strict):
    """What a backup may use of this machine."""

    memory: Size | None = None
    """Memory for content on its way, such as 512 MiB."""
    workers: int | None = Field(default=None, ge=1, le=256)
    """Threads that compress and seal."""
    compression: int | None = Field(default=None, ge=1, le=19)
    """zstd level."""
    nice: int | None = Field(default=None, ge=0, le=19)
    """How far a run gives way to other processes, from 0 to 19."""
    upload: Rate | None = None
    """Most bytes a second that a run sends, such as 5 MiB/s."""
    closed: list[WindowText] = Field(default_factory=list, max_length=20)
    """Times of day in which no run is started, such as 08:00-18:00; what runs goes on."""


class PauseSection(Strict):
    """No runs for a while."""

    until: Until
    """When runs are wanted again: 2026-12-24, or 2026-12-24 14:30, in the policy's zone."""
    reason: str = Field(default="", max_length=256)
    """Why, for those who wonder."""


class HookSection(Strict):
    """A command around a run, with what it may do."""

    command: Command
    """Program (absolute path) and arguments; no shell."""
    timeout: Timeout = timedelta(minutes=5)
    """How long it may take, at most 1d; after that it is ended, and has failed."""
    essential: bool | None = None
    """In before_backup: whether the run fails with it; default: yes. Elsewhere it never does."""


def _form_of_hooks(value: object) -> str:
    several = isinstance(value, list) and (
        not value or any(isinstance(item, list | dict) for item in value)
    )
    return "[commands]" if several else "[words]"


def _form_of_hook(value: object) -> str:
    return "[keys]" if isinstance(value, dict) else "[words]"


# The tags are in brackets so that a problem's place is found: no key of a file looks like that.
HookItem = Annotated[
    Annotated[Command, Tag("[words]")] | Annotated[HookSection, Tag("[keys]")],
    Discriminator(_form_of_hook),
]
HookList = Annotated[
    Annotated[OneCommand, Tag("[words]")]
    | Annotated[list[HookItem], Field(max_length=20), Tag("[commands]")],
    Discriminator(_form_of_hooks),
]
"""A list of words is one command; a list of lists, or of keys and values, is several."""


class HooksSection(Strict):
    """Commands around a backup."""

    before_backup: HookList = Field(default_factory=list)
    """Run before the source is read; an essential one that fails, fails the run."""
    after_backup: HookList = Field(default_factory=list)
    """Run after it, however it ended."""
    after_failure: HookList = Field(default_factory=list)
    """Run when the backup failed."""


def _expected(value: object) -> str:
    if isinstance(value, bool | float) or not isinstance(value, str | int):
        raise ValueError(  # noqa: TRY004 - pydantic collects ValueError only
            "write the answer in quotes, exactly as it comes"
        )
    return str(value)


Answer = Annotated[
    str,
    Field(max_length=4096),
    BeforeValidator(_expected),
    WithJsonSchema({"type": ["string", "integer"]}),
]


class ProbeSection(Strict):
    """One question to the restored data; exactly one of sql, command and file."""

    name: Name | None = None
    """Its name in results; default: its kind and its number."""
    sql: str | None = Field(default=None, min_length=1, max_length=4096)
    """One query to a SQLite database; the first column of its first row is the answer."""
    database: AbsolutePath | None = None
    """With sql: which database, as at the source; default: the policy's only one."""
    command: Command | None = None
    """Program (absolute path) and arguments; {restored} in a word is where the data is."""
    exit: int | None = Field(default=None, ge=0, le=255)
    """With command: the exit status that is right; default: 0."""
    file: AbsolutePath | None = None
    """A file, by its path at the source."""
    exists: bool | None = None
    """With file: whether it has to be there; default: yes."""
    digest: str | None = Field(default=None, pattern=DIGEST)
    """With file: sha256: or blake3: and the digest of its content in hexadecimal."""
    expect: Answer | None = None
    """With sql and command: the answer itself."""
    min: Bound | None = None
    """Least number that is right; with file, least size, such as 1 KiB."""
    max: Bound | None = None
    """Greatest number that is right; with file, greatest size."""
    max_age: Duration | None = None
    """The answer is an instant, or the file was changed, at most this long before the drill."""
    timeout: Timeout | None = None
    """With sql and command: how long it may take, at most 1d; default: 5m."""


class DrillLimitsSection(Strict):
    """What one program may use while a restore is proven."""

    memory: Size = 2 * 1024**3
    """Most memory; default: 2 GiB."""
    time: Duration = timedelta(hours=6)
    """Longest time; default: 6h."""
    processes: int = Field(default=256, ge=8, le=10_000)
    """Most processes and threads; default: 256."""


class DrillSection(Strict):
    """How it is proven that the snapshots come back."""

    schedule: DrillScheduleText = None
    """When the daemon drills it, in the policy's time zone, or never; default: weekly on sun at 05:00."""
    probes: list[ProbeSection] = Field(default_factory=list, max_length=100)
    """Questions to the restored data, beyond those that are always asked."""
    scratch: AbsolutePath | None = None
    """Directory below which drills restore; default: scratch in the cache folder."""
    readable: list[AbsolutePath] = Field(default_factory=list, max_length=100)
    """Files and directories that commands may read in the sandbox, beside the system's programs."""
    kit: AbsolutePath | None = None
    """File of the recovery kit, for bare drills by the daemon; only where nothing is backed up."""
    bare: DrillScheduleText = None
    """When the daemon drills it from store and kit alone, or never; default: quarterly, with a kit."""
    limits: DrillLimitsSection = Field(default_factory=DrillLimitsSection)
    """What one program may use while a restore is proven."""


class PolicyFile(Strict):
    """One policy: what is promised for a source, and how."""

    policy: Name
    """The policy's name; unique, and for ever: the name finds its snapshots."""
    source: SourceSection
    """What is protected."""
    repository: Name = "primary"
    """Name of a repository of drkeeper.yaml."""
    schedule: ScheduleText | None = None
    """When it runs; without one, as often as objectives.rpo needs, or by hand."""
    jitter: Duration | None = None
    """Spreads the runs of many machines: each gets its own fixed delay below this."""
    pause: PauseSection | None = None
    """No runs for a while."""
    time_zone: ZoneName | None = None
    """Zone of the schedule and of local times; default: drkeeper.yaml's time_zone."""
    retention: RetentionSection = Field(default_factory=RetentionSection)
    """What to keep."""
    objectives: ObjectivesSection = Field(default_factory=ObjectivesSection)
    """What is promised."""
    tags: dict[TagKey, Annotated[str, Field(max_length=256)]] = Field(
        default_factory=dict, max_length=64
    )
    """Words to find snapshots by."""
    limits: LimitsSection = Field(default_factory=LimitsSection)
    """What a backup may use of this machine."""
    hooks: HooksSection = Field(default_factory=HooksSection)
    """Commands around a backup."""
    notify: list[Name] = Field(default_factory=list, max_length=20)
    """Channels of drkeeper.yaml that are told about this policy."""
    drill: DrillSection = Field(default_factory=DrillSection)
    """How it is proven that the snapshots come back."""


def is_secret_word(key: str) -> bool:
    """Whether an unknown key looks like somebody wanted to write a secret there."""
    return any(word in re.sub(r"[^a-z]+", "_", key.lower()) for word in SECRET_WORDS)
