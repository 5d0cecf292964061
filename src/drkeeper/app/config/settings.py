"""What ``drkeeper.yaml`` says, checked, in the words of the rest of drkeeper."""

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

import msgspec

CHECK_WITHIN: Final = timedelta(days=35)
"""A month and some days: a monthly check that is a little late raises no alarm."""


class RepositorySettings(msgspec.Struct, frozen=True):
    """Where one repository is and how to reach it.

    Attributes:
        name: Its name in this configuration.
        store: ``/folder``, ``file://…`` or ``s3://bucket/prefix``.
        keys: Folder of its key files.
        endpoint: URL of the S3 server, or ``None`` for AWS.
        region: S3 region.
        path_style: Whether the bucket stands in the path; ``None`` to decide by the endpoint.
        profile: Profile of the AWS configuration files.
        ca: File of certificates to trust.
        upload_rate: Most bytes a second sent.
        download_rate: Most bytes a second fetched.
        check_within: How long ago the last good check may be.
    """

    name: str
    store: str
    keys: Path
    endpoint: str | None = None
    region: str | None = None
    path_style: bool | None = None
    profile: str | None = None
    ca: str | None = None
    upload_rate: int | None = None
    download_rate: int | None = None
    check_within: timedelta = CHECK_WITHIN


class DaemonSettings(msgspec.Struct, frozen=True):
    """How the daemon works.

    Attributes:
        workers: Runs at a time.
        per_repository: Runs at a time that write to one repository.
        per_source: Runs at a time that read one kind of source.
        tick: How often the ledger is asked what is due.
        probe_every: How often each store is asked for a sign of life.
        stalled_after: A run that has moved nothing for so long is said to be stalled.
        stop_within: How long runs get to end well when the daemon is stopped.
    """

    workers: int = 2
    per_repository: int = 2
    per_source: int = 2
    tick: timedelta = timedelta(seconds=15)
    probe_every: timedelta = timedelta(minutes=4)
    stalled_after: timedelta = timedelta(minutes=10)
    stop_within: timedelta = timedelta(seconds=80)


@dataclass(frozen=True, slots=True)
class WebSettings:
    """The page, the metrics and the health of the daemon.

    Attributes:
        listen: ``host:port``, the absolute path of a socket, or ``None`` for nowhere.
        token: What a caller must present; ``None`` for nothing.
        textfile: File to which metrics are written.
    """

    listen: str | None = "127.0.0.1:8970"
    token: str | None = field(default=None, repr=False)
    textfile: Path | None = None


class LogSettings(msgspec.Struct, frozen=True):
    """What is logged, and how.

    Attributes:
        format: ``json``, ``console`` or ``auto``.
        level: ``debug``, ``info``, ``warning`` or ``error``.
    """

    format: str = "auto"
    level: str = "info"
