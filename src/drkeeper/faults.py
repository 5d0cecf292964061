"""Named places where the tests make things go wrong.

In production every point is one function call that compares with ``None``. A test process
installs a controller, which may raise, delay, or end the process at any point (docs/testing.md).
The set of points is the set of literals passed to :func:`point` in this package.
"""

from collections.abc import Callable

_controller: Callable[[str], None] | None = None


def point(name: str) -> None:
    """Mark a place where a fault may strike; ``name`` is ``package.module.event``."""
    if _controller is not None:
        _controller(name)


def install(controller: Callable[[str], None] | None) -> None:
    """Let ``controller`` see every point reached in this process; ``None`` removes it."""
    global _controller  # noqa: PLW0603 - the one hook that tests hang on the whole process
    _controller = controller
