"""The files that ``init`` and ``policy new`` begin with."""

import json
from collections.abc import Sequence

from drkeeper.app.config.checking import check
from drkeeper.app.config.document import read_document
from drkeeper.app.config.problems import InvalidFilesError
from drkeeper.app.config.schema import PolicyFile
from drkeeper.app.config.settings import RepositorySettings
from drkeeper.app.config.settings_schema import SettingsFile
from drkeeper.errors import ConfigurationError


def policy_text(name: str, paths: Sequence[str], repository: str) -> str:
    """Return a policy to begin with.

    Raises:
        InvalidFilesError: Name, path or repository would make a wrong policy.
        ConfigurationError: They are no text.
    """
    listed = "\n".join(f"      - {_quoted(path)}" for path in paths)
    text = f"""\
# What drkeeper promises for one source. Every key: docs/configuration.md.
# Check it with: drkeeper policy check; see what it means with: drkeeper policy explain {name}
policy: {name}
source:
  files:
    paths:
{listed}
    exclude:                     # as in .gitignore
      - "*.tmp"
      - "**/.cache/"
    exclude_caches: true         # directories marked by CACHEDIR.TAG
    one_file_system: true
schedule: daily at 02:30         # or: hourly at :15, weekly on sun at 03:00, every 6h, cron
time_zone: UTC
retention: {{daily: 7, weekly: 5, monthly: 12}}
objectives: {{rpo: 25h, rto: 4h}}
repository: {repository}
# notify: [ops]                  # channels of drkeeper.yaml that are told of trouble
"""
    return _checked(text, name, PolicyFile)


def settings_text(name: str, settings: RepositorySettings) -> str:
    """Return a ``drkeeper.yaml`` with one repository.

    Raises:
        InvalidFilesError: The name or a setting would make a wrong file.
        ConfigurationError: They are no text.
    """
    lines = [
        "# drkeeper: where repositories are. Every key: docs/configuration.md.",
        "repositories:",
        *repository_lines(name, settings),
    ]
    return _checked("\n".join(lines) + "\n", name, SettingsFile)


def repository_lines(name: str, settings: RepositorySettings) -> list[str]:
    """Return the lines that describe one repository under ``repositories:``."""
    facts = [
        ("store", _quoted(settings.store)),
        ("endpoint", _quoted(settings.endpoint)),
        ("region", _quoted(settings.region)),
        ("path_style", None if settings.path_style is None else str(settings.path_style).lower()),
        ("profile", _quoted(settings.profile)),
        ("ca", _quoted(settings.ca)),
    ]
    return [f"  {name}:", *(f"    {key}: {value}" for key, value in facts if value)]


def _quoted(text: str | None) -> str | None:
    """Write ``text`` so that YAML reads it back as it is; JSON strings are YAML strings."""
    if text is None:
        return None
    plain = text.isascii() and text.replace("/", "").replace("-", "").replace(".", "").isalnum()
    return text if plain and text.startswith("/") else json.dumps(text, ensure_ascii=False)


def _checked(text: str, name: str, model: type[PolicyFile] | type[SettingsFile]) -> str:
    try:
        content = text.encode()
    except UnicodeEncodeError as error:
        raise ConfigurationError(
            "a name or path is not UTF-8, and cannot be written to a configuration file",
            hint="Name it through a symbolic link, or in a UTF-8 locale.",
        ) from error
    _, problems = check(read_document(f"{name}.yaml", content), model)
    if problems:
        raise InvalidFilesError(problems)
    return text
