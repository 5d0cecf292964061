"""The keys of ``drkeeper.yaml``: these models are the schema.

docs/configuration.md documents every key (tested).
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, model_validator

from drkeeper.app.config.fields import (
    AbsolutePath,
    ClockText,
    Duration,
    LedgerUrl,
    Listen,
    MailAddress,
    Name,
    Pace,
    Rate,
    StoreUrl,
    Strict,
    WebAddress,
    ZoneName,
)
from drkeeper.model.alarm import Level
from drkeeper.model.quantities import format_duration

CHANNEL_KINDS: Final = ("heartbeat", "webhook", "email", "apprise")

SECRET_KEYS: Final[dict[tuple[str, ...], str]] = {
    ("heartbeat", "url"): "URL",
    ("webhook", "secret"): "SECRET",
    ("email", "password"): "PASSWORD",
    ("apprise", "url"): "URLS",
    ("apprise", "urls"): "URLS",
}
"""Keys of channels that people expect, and the variable in which the secret stands instead."""


def variable_of(channel: str, what: str) -> str:
    """Return the part of a variable's name that names a secret of a channel.

    ``NOTIFY_OPS_URL`` for the channel ``ops``: the variables are ``DRKEEPER_NOTIFY_OPS_URL`` and
    so on, the systemd credential is ``drkeeper.notify_ops_url``.
    """
    return f"NOTIFY_{channel.replace('-', '_').replace('.', '_')}_{what}".upper()


def _between(least: timedelta, most: timedelta) -> Callable[[timedelta], timedelta]:
    def check(duration: timedelta) -> timedelta:
        if not least <= duration <= most:
            raise ValueError(
                f"{format_duration(duration)} is outside "
                f"{format_duration(least)} to {format_duration(most)}"
            )
        return duration

    return check


class StoreLimits(Strict):
    """How much of the network a store may use."""

    upload: Rate | None = None
    """Most bytes a second sent, such as 20 MiB/s."""
    download: Rate | None = None
    """Most bytes a second fetched."""


class RepositorySection(Strict):
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
    check_within: Duration = timedelta(days=35)
    """How long ago the last good check may be before an alarm is raised."""

    @model_validator(mode="after")
    def _belongs_together(self) -> "RepositorySection":
        s3_only = [key for key in ("endpoint", "region", "path_style", "profile", "ca")
                   if getattr(self, key) is not None]  # fmt: skip
        if s3_only and not self.store.startswith("s3:"):
            raise ValueError(f"{s3_only[0]} is for S3 stores, and {self.store} is a folder")
        return self


class HeartbeatSection(Strict):
    """A monitor in the protocol of healthchecks.io; its address is a secret."""

    body: bool = False
    """Send the run's figures and messages with each ping."""


class WebhookSection(Strict):
    """An HTTP server that takes JSON."""

    url: WebAddress | None = None
    """Where to POST; an address that is itself a secret is set by a variable instead."""


class EmailSection(Strict):
    """Mail over SMTP."""

    server: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.:-]{0,252}$")
    """Host name of the SMTP server."""
    port: int | None = Field(default=None, ge=1, le=65535)
    """TCP port; default: 587, 465 with tls, 25 with none."""
    security: Literal["starttls", "tls", "none"] = "starttls"
    """starttls (which must succeed), tls from the first byte, or none."""
    sender: MailAddress
    """Address of the author."""
    to: list[MailAddress] = Field(min_length=1, max_length=100)
    """Addresses of the recipients."""
    user: str | None = Field(default=None, max_length=256)
    """Name to log in with; its password is set by a variable."""
    ca: AbsolutePath | None = None
    """File with certificates to trust."""

    @model_validator(mode="after")
    def _keeps_the_password(self) -> "EmailSection":
        if self.user is not None and self.security == "none":
            raise ValueError("a password would cross the network in the open; leave user out")
        return self


class AppriseSection(Strict):
    """Whatever Apprise speaks; its addresses are secrets."""


class ChannelSection(Strict):
    """A way in which somebody is told; exactly one kind."""

    heartbeat: HeartbeatSection | None = None
    """A monitor that misses us."""
    webhook: WebhookSection | None = None
    """An HTTP server that takes JSON."""
    email: EmailSection | None = None
    """Mail over SMTP."""
    apprise: AppriseSection | None = None
    """Whatever Apprise speaks."""
    level: Level = Field(default=Level.WARNING, strict=False)
    """Least urgent thing that is told: info, warning or failure."""
    remind_every: Pace = timedelta(days=1)
    """How often an alarm that still holds is told again; never for once only."""
    digest_at: ClockText | None = None
    """Time of day, in the time_zone of this file, of a summary of all policies."""
    details: bool = False
    """Whether messages name files and carry lines of logs."""
    daemon: bool = True
    """Whether it is also told what belongs to no policy."""

    @model_validator(mode="after")
    def _is_of_one_kind(self) -> "ChannelSection":
        kinds = [kind for kind in CHANNEL_KINDS if getattr(self, kind) is not None]
        if len(kinds) != 1:
            found = " and ".join(kinds) or "none"
            raise ValueError(f"a channel is one of {', '.join(CHANNEL_KINDS)}; found {found}")
        return self


class DaemonSection(Strict):
    """How the daemon works."""

    workers: int = Field(default=2, ge=1, le=64)
    """Runs at a time."""
    per_repository: int = Field(default=2, ge=1, le=64)
    """Runs at a time that write to one repository."""
    per_source: int = Field(default=2, ge=1, le=64)
    """Runs at a time that read one kind of source."""
    tick: Annotated[
        Duration, AfterValidator(_between(timedelta(seconds=1), timedelta(minutes=1)))
    ] = timedelta(seconds=15)
    """How often the ledger is asked what is due, from 1s to 1m."""
    probe_every: Annotated[
        Duration, AfterValidator(_between(timedelta(seconds=10), timedelta(hours=24)))
    ] = timedelta(minutes=4)
    """How often each store is asked for a sign of life, from 10s to 24h."""
    stalled_after: Annotated[
        Duration, AfterValidator(_between(timedelta(seconds=10), timedelta(hours=24)))
    ] = timedelta(minutes=10)
    """A run that has moved nothing for so long raises an alarm, from 10s to 24h."""
    stop_within: Annotated[
        Duration, AfterValidator(_between(timedelta(seconds=1), timedelta(hours=1)))
    ] = timedelta(seconds=80)
    """How long runs get to end well when the daemon is stopped, from 1s to 1h."""


class WebSection(Strict):
    """The page, the metrics and the health of the daemon."""

    listen: Listen = "127.0.0.1:8970"
    """Address and port, the path of a socket, or none."""
    textfile: AbsolutePath | None = None
    """File to which metrics are written, for node_exporter."""


class LogSection(Strict):
    """What is logged, and how."""

    format: Literal["auto", "json", "console"] = "auto"
    """json, console, or auto: by whether a person looks."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least important thing that is logged."""


class SettingsFile(Strict):
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
    ledger: LedgerUrl | None = None
    """postgresql://user@host/database of a ledger that several machines share; default: a file."""
    daemon: DaemonSection = Field(default_factory=DaemonSection)
    """How the daemon works."""
    web: WebSection = Field(default_factory=WebSection)
    """The page, the metrics and the health of the daemon."""
    log: LogSection = Field(default_factory=LogSection)
    """What is logged, and how."""
    notify: dict[Name, ChannelSection] = Field(default_factory=dict, max_length=100)
    """Channels by name."""
