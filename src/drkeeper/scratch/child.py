"""The program that becomes a program in scratch, or keeps one.

Run by path in a process of its own, so that limits and rights are given up between fork and exec
without a line of Python in a copy of drkeeper's many threads. Its orders are JSON in an open file,
the number of which is its only argument: nothing of them is in a list of processes.

``exec``: give up rights, take on limits, and become the program that makes the sandbox.
``keep``: do the same in a child, wait for its end, end all that it has left behind, and say so.

What cannot be done is said in the file ``status`` of the orders: ``{"failed": "..."}``.
"""

import ctypes
import json
import os
import resource
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, NoReturn

_SET_PDEATHSIG: Final = 1
_SET_KEEPCAPS: Final = 8
_SET_CHILD_SUBREAPER: Final = 36
_SET_NO_NEW_PRIVS: Final = 38
_CAP_AMBIENT: Final = 47
_AMBIENT_RAISE: Final = 2
_AMBIENT_CLEAR_ALL: Final = 4
"""Source: linux/prctl.h."""
_CAPABILITIES_VERSION: Final = 0x20080522
"""Source: linux/capability.h, _LINUX_CAPABILITY_VERSION_3: two words for each set."""
_FIRST_TO_KILL: Final = "1000"
"""Source: proc_pid_oom_score_adj(5): of all processes, these are to go first."""
_NOT_STARTED: Final = 125
_WOKEN_BY: Final = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_libc: Final = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Carry out the orders in the open file whose number is the only argument."""
    with open(int(sys.argv[1]), encoding="ascii") as file:
        orders: dict[str, Any] = json.load(file)
    os.umask(0o077)
    os.set_inheritable(orders["status"], False)  # noqa: FBT003 - positional only
    try:
        if orders["mode"] == "exec":
            _become(orders)
        _keep(orders)
    except (OSError, ValueError) as error:
        _fail(orders, error)


def _fail(orders: dict[str, Any], error: Exception) -> NoReturn:
    _say(orders, {"failed": str(error)})
    os._exit(_NOT_STARTED)


def _say(orders: dict[str, Any], facts: dict[str, object]) -> None:
    with suppress(OSError):  # nobody listens any more
        os.write(orders["status"], json.dumps(facts).encode() + b"\n")


def _become(orders: dict[str, Any]) -> NoReturn:
    """Give up what the program must not have, and become it."""
    with suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write(_FIRST_TO_KILL)
    for number, most in orders["limits"]:
        # Whoever is allowed less already keeps to that.
        hard = resource.getrlimit(number)[1]
        if hard != resource.RLIM_INFINITY:
            most = min(most, hard)  # noqa: PLW2901 - the same limit
        resource.setrlimit(number, (most, most))
    _drop(orders["user"], orders["rights"])
    _prctl(_SET_NO_NEW_PRIVS, 1)
    # Only now: giving up rights also gives up this.
    _prctl(_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != orders["parent"]:
        os._exit(_NOT_STARTED)
    # Python has these ignored, and a program that is started inherits it.
    for each in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(each, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.chdir(orders["folder"])
    os.execve(orders["argv"][0], orders["argv"], orders["env"])  # noqa: S606 - what this is for


def _drop(user: int | None, rights: Sequence[int]) -> None:
    """Become a user with no rights but the given ones.

    Raises:
        OSError: That is not to be had.
    """
    _prctl(_CAP_AMBIENT, _AMBIENT_CLEAR_ALL)
    if user is None:
        return
    _prctl(_SET_KEEPCAPS, 1 if rights else 0)
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    if rights:
        mask = sum(1 << each for each in rights)
        header = (ctypes.c_uint32 * 2)(_CAPABILITIES_VERSION, 0)
        data = (ctypes.c_uint32 * 6)(mask, mask, mask, 0, 0, 0)
        if _libc.capset(header, data) != 0:
            raise OSError(ctypes.get_errno(), "cannot keep the right to read every file")
        for each in rights:
            _prctl(_CAP_AMBIENT, _AMBIENT_RAISE, each)


def _prctl(what: int, value: int, more: int = 0) -> None:
    if _libc.prctl(what, value, more, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl {what}: {os.strerror(number)}")


# ------------------------------------------------------------------------------ keeping a program


def _keep(orders: dict[str, Any]) -> NoReturn:
    """Start the program, wait for its end or for ours, and end what is left of it."""
    # Whoever loses its parent becomes a child of this process, not of the machine's first one.
    _prctl(_SET_CHILD_SUBREAPER, 1)
    signal.pthread_sigmask(signal.SIG_BLOCK, _WOKEN_BY)
    _prctl(_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != orders["parent"]:
        os._exit(_NOT_STARTED)
    me = os.getpid()
    first = os.fork()
    if first == 0:
        try:
            os.setsid()
            _become({**orders, "parent": me})
        except OSError as error:
            _fail(orders, error)
    _let_go_of_outputs()
    ended = _wait_for(first)
    left = _end_all()
    ended = left.pop(first, ended)
    _say(orders, {"ended": ended, "left": len(left)})
    os._exit(0)


def _let_go_of_outputs() -> None:
    """Let whoever reads what the program writes see its end when the program has ended."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)


def _wait_for(first: int) -> int | None:
    """Return how the program ended; ``None`` when somebody wants it to end."""
    while signal.sigwait(_WOKEN_BY) == signal.SIGCHLD:
        while True:
            try:
                process, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return None
            if process == first:
                return status
            if process == 0:
                break
    return None


def _end_all() -> dict[int, int]:
    """End whatever descends from this process; return how each of them ended."""
    ended: dict[int, int] = {}
    while True:
        _stop_all()
        for process in _descendants():
            _send(process, signal.SIGKILL)
        how = 0
        while True:
            try:
                process, status = os.waitpid(-1, how)
            except ChildProcessError:
                return ended
            if process == 0:
                break
            ended[process] = status
            how = os.WNOHANG


def _stop_all() -> None:
    """Stop them before any is killed: a place that is given up would be taken by the next fork."""
    stopped: set[int] = set()
    while new := _descendants() - stopped:
        for process in new:
            _send(process, signal.SIGSTOP)
        stopped |= new


def _send(process: int, number: signal.Signals) -> None:
    with suppress(OSError):  # gone meanwhile
        os.kill(process, number)


def _descendants() -> set[int]:
    parents: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdecimal():
            with suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                # The name of the command, in brackets, may hold blanks and brackets of its own.
                state, parent = file.read().rpartition(b")")[2].split()[:2]
                if state != b"Z":
                    parents.setdefault(int(parent), []).append(int(name))
    found: set[int] = set()
    look_at = [os.getpid()]
    while look_at:
        children = parents.get(look_at.pop(), [])
        look_at += [each for each in children if each not in found]
        found.update(children)
    return found


if __name__ == "__main__":
    main()
