"""The channels of a configuration, each made when it is asked for."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from drkeeper.app.config.reading import File
from drkeeper.model.channel import Channel

if TYPE_CHECKING:  # pydantic takes a tenth of a second to import
    from drkeeper.app.config.settings_schema import ChannelSection


class Channels(Mapping[str, Channel]):
    """Channels by name; the secrets of one are asked for when it is.

    Most commands tell nobody anything, and need no secret for that. Asking for a channel whose
    secret is missing or unfit raises ConfigurationError.

    Args:
        names: Those that ``drkeeper.yaml`` has.
        settings: That file, read again when the first channel is asked for.
        variables: The environment.
    """

    def __init__(
        self, names: Sequence[str], settings: File | None, variables: Mapping[str, str]
    ) -> None:
        self._names = names
        self._settings = settings
        self._variables = variables
        self._sections: Mapping[str, ChannelSection] | None = None
        self._known: dict[str, Channel] = {}

    def __getitem__(self, name: str) -> Channel:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._known:
            self._known[name] = self._made(name)
        return self._known[name]

    def _made(self, name: str) -> Channel:
        from drkeeper.app.config.channel_making import make_channel  # noqa: PLC0415 - as above
        from drkeeper.app.config.parsing import channel_sections  # noqa: PLC0415 - as above

        if self._sections is None:
            self._sections = channel_sections(self._settings)
        return make_channel(name, self._sections[name], self._variables)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
