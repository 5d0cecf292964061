"""The keys of ``drkeeper.yaml`` and of policies: these models are the schema.

``drkeeper policy schema`` exports them; docs/configuration.md documents every key (tested).
"""

import re
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)

from drkeeper.app.config.problems import did_you_mean
from drkeeper.model.quantities import parse_duration, parse_size
from drkeeper.model.schedule import Schedule, parse_schedule

NAME = r"^[a-z0-9][a-z0-9._-]{0,62}$"
"""Names of policies and repositories: safe in file names, labels and commands."""

NOT_YET = {
    ("capture",): "continuous log shipping",
    ("drill",): "drills",
    ("notify",): "notifications",
    ("hooks",): "hooks",
    ("source", "postgresql"): "PostgreSQL as a source",
    ("source", "mariadb"): "MariaDB as a source",
    ("source", "mysql"): "MySQL as a source",
    ("source", "sqlite"): "SQLite as a source",
    ("source", "redis"): "Redis as a source",
    ("source", "command"): "a command as a source",
}
"""Keys of the design that this release does not honour: refused by name, never ignored."""

SECRET_WORDS = ("secret", "password", "passphrase", "access_key", "token", "credential")
"""Unknown keys with one of these in their name get told where secrets belong."""


def _text(value: object) -> str:
    if not isinstance(value, str):
        shown = "nothing" if value is None else f"the {_kind(value)} {value}"
        raise ValueError(  # noqa: TRY004 - pydantic collects ValueError only
            f"expected text, found {shown}; write it with its unit, or in quotes"
        )
    return value


def _kind(value: object) -> str:
    return {bool: "truth value", int: "number", float: "number"}.get(type(value), "value")


def _duration(value: object) -> timedelta:
    duration = parse_duration(_text(value))
    if not duration:
        raise ValueError("a duration must be longer than nothing")
    return duration


def _size(value: object) -> int:
    return parse_size(_text(value))


def _rate(value: object) -> int:
    text = _text(value)
    number, slash, second = text.rpartition("/")
    if not slash or second.strip() != "s":
        raise ValueError(f"{text!r} is not a rate such as 20 MiB/s")
    return parse_size(number)


def _schedule(value: object) -> Schedule:
    return parse_schedule(_text(value))


def _zone(name: str) -> str:
    if name == "UTC":  # everywhere, and the list of all zones takes 600 files to read
        return name
    if name not in available_timezones():
        guess = did_you_mean(name, sorted(available_timezones()))
        raise ValueError(f"no time zone {name!r}{guess}")
    try:
        ZoneInfo(name)
    except (OSError, ValueError) as error:
        raise ValueError(f"time zone {name!r} cannot be read: {error}") from error
    return name


def _path(text: str) -> str:
    if not text.startswith("/"):
        raise ValueError(f"{text!r} is not an absolute path; ~ and variables are not expanded")
    if any(part in {".", ".."} for part in text.split("/")):
        raise ValueError(f"{text!r} has . or .. in it; write the path itself")
    return text


def _pattern(text: str) -> str:
    if not text.strip() or "\n" in text:
        raise ValueError("an empty pattern excludes nothing; leave it out")
    return text


def _store(text: str) -> str:
    if text.startswith("/"):
        return text
    parts = urlsplit(text)
    if parts.username or parts.password:
        raise ValueError("a store's URL must not hold credentials")
    if parts.scheme not in {"file", "s3"} or (parts.scheme == "s3" and not parts.netloc):
        raise ValueError("not a store: write /folder, file:///folder or s3://bucket/prefix")
    return text


Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    WithJsonSchema({"type": "string", "pattern": r"^([0-9]+\s*[smhdw]\s*)+$"}),
]
Size = Annotated[
    int,
    BeforeValidator(_size),
    WithJsonSchema(
        {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?\s*([KMGTPkmgtp][iI]?)?[bB]$"}
    ),
]
Rate = Annotated[
    int,
    BeforeValidator(_rate),
    Field(ge=16 * 1024),
    WithJsonSchema(
        {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?\s*([KMGTPkmgtp][iI]?)?[bB]\s*/\s*s$"}
    ),
]
ScheduleText = Annotated[
    Schedule,
    BeforeValidator(_schedule),
    WithJsonSchema(
        {
            "type": "string",
            "examples": ["hourly at :15", "daily at 02:30", "weekly on sun at 03:00", "every 6h"],
        }
    ),
]
ZoneName = Annotated[str, AfterValidator(_zone)]
AbsolutePath = Annotated[str, Field(max_length=4096), AfterValidator(_path)]
Pattern = Annotated[str, Field(max_length=4096), AfterValidator(_pattern)]
Name = Annotated[str, Field(pattern=NAME)]
StoreUrl = Annotated[str, Field(max_length=2048), AfterValidator(_store)]
TagKey = Annotated[str, Field(pattern=NAME)]
Count = Annotated[int, Field(ge=0, le=100_000)]


class _Strict(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        hide_input_in_errors=True,
        # A validator is made for what is checked, not for every section by itself.
        defer_build=True,
    )


class FilesSection(_Strict):
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


class SourceSection(_Strict):
    """What is protected; exactly one kind."""

    files: FilesSection
    """A file tree."""


class RetentionSection(_Strict):
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


class ObjectivesSection(_Strict):
    """What is promised."""

    rpo: Duration | None = None
    """Most data, as time, that may be lost."""
    rto: Duration | None = None
    """Longest time from declaring a disaster to a proven service."""


class LimitsSection(_Strict):
    """What a backup may use of this machine."""

    memory: Size | None = None
    """Memory for content on its way, such as 512 MiB."""
    workers: int | None = Field(default=None, ge=1, le=256)
    """Threads that compress and seal."""
    compression: int | None = Field(default=None, ge=1, le=19)
    """zstd level."""


class PolicyFile(_Strict):
    """One policy: what is promised for a source, and how."""

    policy: Name
    """The policy's name; unique, and for ever: the name finds its snapshots."""
    source: SourceSection
    """What is protected."""
    repository: Name = "primary"
    """Name of a repository of drkeeper.yaml."""
    schedule: ScheduleText | None = None
    """When it runs; without one it runs by hand."""
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


class StoreLimits(_Strict):
    """How much of the network a store may use."""

    upload: Rate | None = None
    """Most bytes a second sent, such as 20 MiB/s."""
    download: Rate | None = None
    """Most bytes a second fetched."""


class RepositorySection(_Strict):
    """Where a repository is and which keys open it."""

    store: StoreUrl
    """/folder, file:///folder or s3://bucket/prefix."""
    endpoint: str | None = Field(default=None, max_length=2048)
    """URL of the S3 server; default: AWS's for the region."""
    region: str | None = Field(default=None, pattern=r"^[a-z0-9-]{1,64}$")
    """S3 region."""
    path_style: bool | None = None
    """Put the bucket into the path instead of the host name; default: whenever an endpoint is given."""
    profile: str | None = Field(default=None, max_length=256)
    """Profile of the AWS configuration files that holds the credentials."""
    ca: AbsolutePath | None = None
    """File with certificates to trust, for a server with a certificate of one's own."""
    keys: str | None = Field(default=None, max_length=4096)
    """Folder of the key files; default: keys/<name> beside drkeeper.yaml."""
    limits: StoreLimits = Field(default_factory=StoreLimits)
    """How much of the network to use."""

    @model_validator(mode="after")
    def _belongs_together(self) -> "RepositorySection":
        s3_only = [key for key in ("endpoint", "region", "path_style", "profile", "ca")
                   if getattr(self, key) is not None]  # fmt: skip
        if s3_only and not self.store.startswith("s3:"):
            raise ValueError(f"{s3_only[0]} is for S3 stores, and {self.store} is a folder")
        return self


class SettingsFile(_Strict):
    """``drkeeper.yaml``."""

    host: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,252}$")] | None = None
    """Name of this machine in snapshots; default: its host name."""
    time_zone: ZoneName = "UTC"
    """Zone of policies that name none."""
    state: AbsolutePath | None = None
    """Folder of pins and ledger."""
    cache: AbsolutePath | None = None
    """Folder of what can be rebuilt."""
    repositories: dict[Name, RepositorySection] = Field(default_factory=dict)
    """Repositories by name."""


def schema_text() -> str:
    """Return the JSON Schema of policies, as kept in policies/policy.schema.json."""
    import json  # noqa: PLC0415 - only this command needs it

    schema = PolicyFile.model_json_schema()
    texts = _attribute_docstrings()
    sections = schema["$defs"]
    for name, model in {PolicyFile.__name__: schema, **sections}.items():
        for key, value in model["properties"].items():
            section = sections.get(value.get("$ref", "").rpartition("/")[2], {})
            if texts[name, key] != section.get("description"):  # said there already
                value["description"] = texts[name, key]
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "drkeeper policy"
    return json.dumps(schema, indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def _attribute_docstrings() -> dict[tuple[str, str], str]:
    """Return the text below each key of each model.

    pydantic could read them as well, but would do so, for every model, each time drkeeper starts.
    """
    import ast  # noqa: PLC0415 - only the export of the schema needs it
    import inspect  # noqa: PLC0415 - as above

    texts: dict[tuple[str, str], str] = {}
    for model in ast.parse(Path(__file__).read_bytes()).body:
        if not isinstance(model, ast.ClassDef):
            continue
        for key, text in pairwise(model.body):
            if (
                isinstance(key, ast.AnnAssign)
                and isinstance(key.target, ast.Name)
                and isinstance(text, ast.Expr)
                and isinstance(text.value, ast.Constant)
            ):
                texts[model.name, key.target.id] = inspect.cleandoc(str(text.value.value))
    return texts


def is_secret_word(key: str) -> bool:
    """Whether an unknown key looks like somebody wanted to write a secret there."""
    return any(word in re.sub(r"[^a-z]+", "_", key.lower()) for word in SECRET_WORDS)
