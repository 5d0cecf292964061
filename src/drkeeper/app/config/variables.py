"""Options of ``drkeeper.yaml`` that a variable of the environment sets."""

from collections.abc import Mapping
from typing import Final

from pydantic import ValidationError

from drkeeper.app.config.document import plain_scalar
from drkeeper.app.config.fields import Strict
from drkeeper.app.config.settings_schema import (
    DaemonSection,
    LogSection,
    SettingsFile,
    WebSection,
)
from drkeeper.errors import ConfigurationError

_TOP: Final = ("host", "time_zone", "ledger")
_SECTIONS: Final[Mapping[str, type[Strict]]] = {
    "daemon": DaemonSection,
    "web": WebSection,
    "log": LogSection,
}


def option_variables() -> list[str]:
    """Return the names of all variables that set an option of ``drkeeper.yaml``."""
    return [
        *(_variable(key) for key in _TOP),
        *(
            _variable(section, key)
            for section, model in _SECTIONS.items()
            for key in model.model_fields
        ),
    ]


def overlaid(settings: SettingsFile, variables: Mapping[str, str]) -> SettingsFile:
    """Return the settings with what the environment says in their place.

    Raises:
        ConfigurationError: A variable does not say what its key may.
    """
    changes: dict[str, object] = _set(SettingsFile, _TOP, variables)
    for name, model in _SECTIONS.items():
        found = _set(model, tuple(model.model_fields), variables, name)
        if found:
            section: Strict = getattr(settings, name)
            changes[name] = section.model_copy(update=found)
    return settings.model_copy(update=changes) if changes else settings


def _variable(*words: str) -> str:
    return "_".join(("DRKEEPER", *words)).upper()


def _set(
    model: type[Strict], keys: tuple[str, ...], variables: Mapping[str, str], *section: str
) -> dict[str, object]:
    found: dict[str, object] = {}
    for key in keys:
        variable = _variable(*section, key)
        if text := variables.get(variable):
            found[key] = _checked(model, key, plain_scalar(text), variable)
    return found


def _checked(model: type[Strict], key: str, value: object, variable: str) -> object:
    try:
        return getattr(model.model_validate({key: value}), key)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)[0]
        reason = details.get("ctx", {}).get("error", details["msg"])
        raise ConfigurationError(
            f"{variable}: {str(reason)[:1].lower()}{str(reason)[1:]}",
            hint="Correct the variable, or unset it and write the option to drkeeper.yaml.",
        ) from None
