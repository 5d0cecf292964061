"""A plain process with limits and an end: the declared fallback.

``child.py`` stays beside the program as the parent of all that loses its own, so that nothing gets
away by forking twice, and ends everything when drkeeper ends. When drkeeper is root, the program is
not: it is a user that nobody else is, with no right but to read files (and, where it may change the
restored tree, to write them). What this cannot contain is said in docs/scratch.md.
"""

import os
import signal
import subprocess
from contextlib import suppress

from drkeeper.errors import ScratchError
from drkeeper.faults import point
from drkeeper.scratch import usage
from drkeeper.scratch.jail import (
    PATIENCE,
    Command,
    Ending,
    bury,
    close_pipes,
    kernel_limits,
    spawn,
    words_of,
)


class ProcessJailer:
    """Starts plain processes."""

    def start(self, command: Command) -> "ProcessJail":
        """Start one, with limits."""
        before = usage.tasks_of_user(os.geteuid()) if command.user is None else 0
        orders = {
            "mode": "keep",
            "argv": command.argv,
            "env": {**command.variables, "TMPDIR": str(command.tmp), "HOME": str(command.tmp)},
            "folder": str(command.root),
            "limits": kernel_limits(command.limits, tasks_before=before),
            "user": command.user,
            "rights": command.rights if command.user is not None else (),
        }
        point("scratch.process.start")
        process, said = spawn(orders, command.variables)
        return ProcessJail(process, said)


class ProcessJail:
    """A plain process, and ``child.py`` beside it."""

    def __init__(self, process: "subprocess.Popen[bytes]", said: int) -> None:
        self.process = process
        self.top = process.pid
        self._said = said

    def members(self) -> list[int]:
        """Return the program and all that it has started."""
        return usage.descendants(self.process.pid)

    def end(self) -> None:
        """Let ``child.py`` end them; if it cannot, end it and them."""
        point("scratch.process.end")
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=PATIENCE.total_seconds())
        except subprocess.TimeoutExpired:
            for each in (self.process.pid, *self.members()):
                with suppress(OSError):
                    os.kill(each, signal.SIGKILL)
            bury(self.process)
        finally:
            point("scratch.process.ended")

    def ending(self, errors: bytes) -> Ending:  # noqa: ARG002 - of the port
        """Tell how the program ended, as ``child.py`` saw it.

        Raises:
            ScratchError: ``child.py`` could not start it, or was killed.
        """
        for each in words_of(self._said):
            if "failed" in each:
                raise ScratchError(f"the program could not be started: {each['failed']}")
            status = each.get("ended")
            if isinstance(status, int):
                return _of(status)
        raise ScratchError("the process that kept the program was killed")

    def close(self) -> None:
        """Let go of all descriptors."""
        close_pipes(self.process)
        if self._said >= 0:
            os.close(self._said)
            self._said = -1


def _of(status: int) -> Ending:
    if os.WIFSIGNALED(status):
        return Ending(None, os.WTERMSIG(status))
    return Ending(os.WEXITSTATUS(status), None)
