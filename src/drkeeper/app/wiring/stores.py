"""Open the object store that a repository's settings name."""

import random
from collections.abc import Callable
from urllib.parse import unquote, urlsplit

from drkeeper.app.config.configuration import RepositorySettings
from drkeeper.clock import Clock
from drkeeper.errors import ConfigurationError
from drkeeper.storage.base import ObjectStore


def open_store(
    settings: RepositorySettings,
    clock: Clock,
    *,
    create: bool = False,
    hurried: Callable[[], bool] | None = None,
) -> ObjectStore:
    """Open a store, counted, with its bandwidth limits and with patience for transient errors.

    Args:
        settings: Where and how.
        clock: Measures and waits.
        create: Make the folder of a folder store.
        hurried: Whether what is still to be sent goes without a limit, from then on.

    Raises:
        ConfigurationError: No adapter serves this address, or it is malformed.
        StorageError: The store refused.
    """
    from drkeeper.storage.counting import CountingStore  # noqa: PLC0415 - see the package
    from drkeeper.storage.retrying import RetryingStore  # noqa: PLC0415 - see the package

    store = open_bare_store(settings, clock, create=create)
    if settings.upload_rate or settings.download_rate:
        from drkeeper.storage.limited import LimitedStore, Rate, never  # noqa: PLC0415 - see the package

        store = LimitedStore(
            store,
            up=Rate(settings.upload_rate, clock, lifted=hurried or never),
            down=Rate(settings.download_rate, clock),
        )
    return CountingStore(RetryingStore(store, clock=clock, rng=random.SystemRandom()))


def traffic(store: ObjectStore) -> dict[str, object]:
    """Return what a store from :func:`open_store` was asked so far, as results show it."""
    from drkeeper.storage.counting import CountingStore  # noqa: PLC0415 - see the package

    if not isinstance(store, CountingStore):
        return {}
    counts = store.snapshot()
    return {
        "requests": dict(sorted(counts.requests.items())),
        "failed_requests": dict(sorted(counts.failures.items())),
        "sent_bytes": counts.bytes_up,
        "received_bytes": counts.bytes_down,
    }


def open_bare_store(
    settings: RepositorySettings, clock: Clock, *, create: bool = False
) -> ObjectStore:
    """Open a store without wrappers, as the probe wants it.

    Raises:
        ConfigurationError: No adapter serves this address, or it is malformed.
    """
    folder = folder_of(settings)
    if folder is not None:
        from drkeeper.storage.folder import FolderStore  # noqa: PLC0415 - see the package

        return FolderStore(folder, create=create, clock=clock)
    parts = urlsplit(settings.store)
    if parts.scheme != "s3" or not parts.netloc:
        raise ConfigurationError(
            f"no object store for {settings.store!r}",
            hint="Write /folder, file:///folder or s3://bucket/prefix.",
        )
    from drkeeper.storage.s3client import S3Options, open_s3  # noqa: PLC0415 - boto3 is slow

    return open_s3(
        S3Options(
            bucket=parts.netloc,
            prefix=parts.path.strip("/"),
            endpoint=settings.endpoint,
            region=settings.region,
            profile=settings.profile,
            ca_bundle=settings.ca,
            path_style=settings.path_style,
        )
    )


def folder_of(settings: RepositorySettings) -> str | None:
    """Return the folder of a folder store, or ``None`` for any other.

    Raises:
        ConfigurationError: A file URL names another machine or no absolute path.
    """
    if settings.store.startswith("/"):
        return settings.store
    parts = urlsplit(settings.store)
    if parts.scheme != "file":
        return None
    if parts.netloc not in {"", "localhost"} or not parts.path.startswith("/"):
        raise ConfigurationError(
            f"{settings.store!r} does not name a folder of this machine",
            hint="Write file:///folder with three slashes.",
        )
    return unquote(parts.path)
