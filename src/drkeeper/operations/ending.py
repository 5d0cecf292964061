"""How an operation learns that it is to end, and brings its work to safety first."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import NoReturn, Protocol


class Ending(Protocol):
    """Somebody's wish that the operation ends."""

    @property
    def wanted(self) -> bool:
        """Whether the operation is to end; asked often."""
        ...

    def deferring(self) -> AbstractContextManager[None]:
        """Within it a wish ends nothing at once: the operation asks, and ends by itself."""
        ...

    def end(self) -> NoReturn:
        """End, now that what was done is safe.

        Raises:
            BaseException: Whatever ends the program.
        """
        ...


class NeverEnding:
    """Nobody's wish: whoever wants an end brings it about without asking."""

    @property
    def wanted(self) -> bool:
        """Never."""
        return False

    @contextmanager
    def deferring(self) -> Iterator[None]:
        """Change nothing."""
        yield

    def end(self) -> NoReturn:
        """Never called.

        Raises:
            AssertionError: It was.
        """
        raise AssertionError("nobody asked for an end")
