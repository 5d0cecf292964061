"""The options that say which repository to open, and with which keys."""

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from drkeeper.app.cli.invocation import Invocation
from drkeeper.app.config.configuration import NO_KEYS, RepositorySettings
from drkeeper.app.wiring.repositories import Access, read_identity_file
from drkeeper.errors import ConfigurationError

_F = TypeVar("_F", bound=Callable[..., Any])


_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
"""Source: RFC 3986, 3.1. A relative folder with a colon in its name is written ``./a:b``."""


@dataclass(frozen=True, slots=True)
class Reach:
    """What the options said.

    Attributes:
        repository: Name of a configured repository.
        store: Address of a store that need not be configured.
        endpoint: URL of the S3 server.
        region: S3 region.
        profile: Profile of the AWS configuration files.
        ca: File of certificates to trust.
        path_style: Whether the bucket stands in the path.
        identities: Recovery kits or key files.
        admins: Public admin keys to trust.
        salvage: Use what is sound of a damaged journal.
    """

    repository: str | None = None
    store: str | None = None
    endpoint: str | None = None
    region: str | None = None
    profile: str | None = None
    ca: str | None = None
    path_style: bool | None = None
    identities: tuple[Path, ...] = ()
    admins: tuple[str, ...] = ()
    salvage: bool = False


_STORE_OPTIONS = (
    click.option("--endpoint", metavar="URL", help="URL of the S3 server."),
    click.option("--region", metavar="NAME", help="S3 region."),
    click.option("--profile", metavar="NAME", help="Profile of the AWS configuration files."),
    click.option("--ca", metavar="FILE", help="Certificates to trust instead of the system's."),
    click.option(
        "--path-style/--no-path-style",
        default=None,
        help="Put the bucket into the path; default: with --endpoint.",
    ),
)


def store_options(function: _F) -> _F:
    """Add the options of S3 stores."""
    for option in reversed(_STORE_OPTIONS):
        function = option(function)
    return function


def reach_options(function: _F) -> _F:
    """Add the options that find a repository; the function gets them as ``reach``."""

    @functools.wraps(function)
    def with_reach(*args: Any, **options: Any) -> Any:  # noqa: ANN401 - click's own
        fields = {n: options.pop(n) for n in Reach.__dataclass_fields__ if n in options}
        return function(*args, reach=Reach(**fields), **options)

    for option in (
        click.option("--repository", metavar="NAME", help="A repository of drkeeper.yaml."),
        click.option("--store", metavar="URL", help="A store that is not configured."),
        store_options,
        click.option(
            "--identity",
            "identities",
            multiple=True,
            metavar="FILE",
            type=click.Path(path_type=Path),
            help="Recovery kit or key file; may be given again.",
        ),
        click.option(
            "--admin",
            "admins",
            multiple=True,
            metavar="HEX",
            help="Admin fingerprint to trust, from the recovery kit.",
        ),
    )[::-1]:
        with_reach = option(with_reach)
    return with_reach  # type: ignore[return-value] # wraps it, with other options


def looking_options(function: _F) -> _F:
    """Add the options that find a repository and say how to read one that is damaged."""
    return click.option(
        "--salvage",
        is_flag=True,
        help="Use what is sound of a damaged or rolled-back journal.",
    )(reach_options(function))


def access(called: Invocation, reach: Reach, *, repository: str | None = None) -> Access:
    """Decide which repository is meant: by option, by the kit, by ``repository``, or the only one.

    Raises:
        ConfigurationError: It is not clear, or not configured.
    """
    kits = tuple(read_identity_file(path, called.passphrase) for path in reach.identities)
    told = next((kit.store for kit in kits if kit.store is not None), None)
    if reach.store is not None:
        settings = settings_of(reach, reach.store, told)
    elif reach.repository is not None:
        settings = called.configuration.repository(reach.repository)
    elif told is not None:
        settings = settings_of(reach, told.store, told)
    else:
        settings = called.configuration.repository(repository or _the_only(called))
    return Access(settings, kits, reach.admins)


def settings_of(
    reach: Reach, store: str, told: RepositorySettings | None = None
) -> RepositorySettings:
    """Return settings for a store that is not configured; options win over what a kit told."""
    if not store.startswith("/") and not _SCHEME.match(store):
        store = str(Path(store).absolute())
    endpoint = reach.endpoint or (told.endpoint if told else None)
    path_style = reach.path_style
    if path_style is None and told is not None:
        path_style = told.path_style
    return RepositorySettings(
        name="store",
        store=store,
        keys=NO_KEYS,
        endpoint=endpoint,
        region=reach.region or (told.region if told else None),
        path_style=path_style,
        profile=reach.profile,
        ca=reach.ca or (told.ca if told else None),
    )


def _the_only(called: Invocation) -> str:
    names = list(called.configuration.repositories)
    if len(names) == 1:
        return names[0]
    if not names:
        raise ConfigurationError(
            f"no repository is configured in {called.locations.settings}",
            hint="Run drkeeper init STORE, or give --store and --identity.",
        )
    raise ConfigurationError(
        f"several repositories are configured: {', '.join(names)}",
        hint="Choose one with --repository NAME.",
    )
