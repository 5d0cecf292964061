"""Programs in namespaces of their own, made by bubblewrap.

Inside there is no network but a loopback of its own, no process but its own, and of the machine's
files only programs and libraries, for reading. Whose the restored files are does not matter to a
program that is to prove them: it has the right to read all of them (and, where it may change the
tree, to write them), but only in a user namespace, hence for nothing that is not mounted there. To
the machine it is a user without any right; when drkeeper is root, one that nobody else is.
"""

import json
import os
import resource
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

import drkeeper
from drkeeper.errors import ScratchError
from drkeeper.faults import point
from drkeeper.scratch import usage
from drkeeper.scratch.jail import (
    PATIENCE,
    Command,
    Ending,
    bury,
    close_pipes,
    file_with,
    kernel_limits,
    spawn,
    tasks_limit,
    words_of,
)
from drkeeper.scratch.syscalls import filter_for

SEARCH: Final = "/usr/local/bin:/usr/bin:/bin"
HINT: Final = (
    "Install bubblewrap 0.7 or newer, and let this user make user namespaces; see docs/scratch.md."
)
_TREES: Final = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_SYSTEM: Final = ("/usr/", "/proc/", "/dev/", *(f"/{name}/" for name in _TREES))
_SETTINGS: Final = ("ld.so.cache", "alternatives", "localtime")
"""Of /etc: what programs need to find their libraries, each other and the local time."""
_SHM_PART: Final = 4
_SIGNALLED: Final = 128
"""Source: bubblewrap, as shells do: the exit status of what a signal ended is this and its number."""
_MOST_SAID: Final = 65536
_NEWS_S: Final = 10.0
"""For bubblewrap to say how the program ended, when all of it has."""


class BubblewrapJailer:
    """Starts programs in sandboxes.

    Args:
        readable: Files and directories beside the system's that programs may read.
        search: Where bubblewrap may be, as of PATH.
    """

    def __init__(self, readable: Sequence[Path] = (), search: str = SEARCH) -> None:
        self._readable = tuple(dict.fromkeys((*own_program(), *readable)))
        self._program = shutil.which("bwrap", path=search)

    def start(self, command: Command) -> "BubblewrapJail":
        """Make a sandbox, and start the program in it.

        Raises:
            ScratchError: There is no bubblewrap, or it cannot make the sandbox.
        """
        if self._program is None:
            raise ScratchError("bubblewrap is not installed", hint=HINT)
        with ExitStack() as files, ExitStack() as undo:
            words, tell = os.pipe2(os.O_CLOEXEC)
            files.callback(os.close, tell)
            undo.callback(os.close, words)
            held, go = os.pipe2(os.O_CLOEXEC)
            files.callback(os.close, held)
            undo.callback(os.close, go)
            passing = _Passing(files)
            options = [*self._options(command, passing)]
            options += ["--json-status-fd", str(tell), "--userns-block-fd", str(held)]
            # Says the same as the status, and is asked for by the option above.
            options += ["--info-fd", str(passing.file(""))]
            arguments = passing.file("\0".join(options))
            orders = {
                "mode": "exec",
                "argv": (self._program, "--args", str(arguments), "--", *command.argv),
                "env": command.variables,
                "folder": "/",
                "limits": _limits_at_once(command),
                "user": command.user,
                "rights": (),
            }
            point("scratch.bubblewrap.start")
            process, said = spawn(orders, command.variables, (*passing.numbers, tell, held))
            undo.pop_all()
        # Now only the sandbox has the other ends.
        jail = BubblewrapJail(process, words, said)
        try:
            jail.let_in(command, go)
        except BaseException:
            jail.end()
            jail.close()
            raise
        finally:
            os.close(go)
        return jail

    def _options(self, command: Command, passing: "_Passing") -> Iterator[str]:
        user = os.geteuid() if command.user is None else command.user
        group = os.getegid() if command.user is None else command.user
        yield from ("--unshare-all", "--unshare-user", "--die-with-parent", "--new-session")
        yield from ("--hostname", "scratch", "--uid", str(user), "--gid", str(group))
        yield from ("--cap-drop", "ALL", "--cap-add", "CAP_DAC_READ_SEARCH")
        if command.writable:
            yield from ("--cap-add", "CAP_DAC_OVERRIDE")
        yield "--clearenv"
        for name, value in command.variables.items():
            yield from ("--setenv", name, value)
        yield from ("--setenv", "TMPDIR", "/tmp", "--setenv", "HOME", "/tmp")  # noqa: S108 - its own
        yield from _system()
        yield from _settings(passing, user, group)
        yield from ("--proc", "/proc", "--dev", "/dev", "--perms", "1777")
        yield from ("--size", str(command.limits.memory_bytes // _SHM_PART), "--tmpfs", "/dev/shm")  # noqa: S108 - its own
        yield from ("--remount-ro", "/dev", "--bind", str(command.tmp), "/tmp")  # noqa: S108 - its own
        for path in self._readable:
            yield from ("--ro-bind-try", str(path), str(path))
        root = str(command.root)
        program = command.argv[0]
        if not program.startswith((*_SYSTEM, f"{root}/", *(f"{each}/" for each in self._readable))):
            # Whoever names a program wants it to be there, if not what lies beside it.
            yield from ("--ro-bind-try", program, program)
        yield from ("--bind" if command.writable else "--ro-bind", root, root)
        yield from ("--remount-ro", "/", "--chdir", root)
        calls = filter_for()
        if calls is not None:
            yield from ("--seccomp", str(passing.file(calls)))


class BubblewrapJail:
    """A sandbox: bubblewrap outside, and the first process of its process namespace."""

    def __init__(self, process: "subprocess.Popen[bytes]", words: int, said: int) -> None:
        self.process = process
        self._words = words
        self._said = said
        self._begun = b""
        self._inner: int | None = None
        self._begins = False
        self.top = 0

    def let_in(self, command: Command, go: int) -> None:
        """Say whose files are whose inside, and let the program begin.

        Raises:
            ScratchError: The sandbox could not be made.
        """
        try:
            self.top = self._first_process()
            # Whatever gets this number later, this is the process that has it now.
            self._inner = os.pidfd_open(self.top)
            point("scratch.bubblewrap.held")
            _say_who_is_who(self.top, command.user)
            if command.user is None:
                most = tasks_limit(command.limits) + _tasks_counted_in()
                resource.prlimit(self.top, resource.RLIMIT_NPROC, (most, most))
            self._begins = True
            os.write(go, b"!")
        except OSError as error:
            raise ScratchError(
                f"the sandbox could not be made: {error.strerror}", hint=HINT
            ) from error
        point("scratch.bubblewrap.started")

    def members(self) -> list[int]:
        """Return the program and all that it has started."""
        return usage.descendants(self.top) if self.top else []

    def end(self) -> None:
        """Kill the first process of the namespace, and with it the kernel kills all others.

        Raises:
            ScratchError: Something of it goes on.
        """
        point("scratch.bubblewrap.end")
        if self._inner is None:
            self.process.kill()
        else:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._inner, signal.SIGKILL)
            # It counts as dead only when the namespace is empty.
            gone, _, _ = select.select([self._inner], [], [], PATIENCE.total_seconds())
            if not gone:
                self.process.kill()
                raise ScratchError(
                    f"process {self.top} of the scratch place does not end",
                    hint="Look what it waits for: what SIGKILL does not end hangs in the kernel.",
                )
            # Where the program had not begun, bubblewrap waits for news of it for ever.
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(_NEWS_S if self._begins else 0)
            self.process.kill()
        bury(self.process)
        point("scratch.bubblewrap.ended")

    def ending(self, errors: bytes) -> Ending:
        """Tell how the program ended, as bubblewrap saw it.

        Raises:
            ScratchError: It never began.
        """
        failed = [str(each.get("failed")) for each in words_of(self._said)]
        for each in words_of(self._words):
            code = each.get("exit-code")
            if isinstance(code, int):
                return Ending(None, code - _SIGNALLED) if code > _SIGNALLED else Ending(code, None)
        if self.process.returncode in {-signal.SIGKILL, _SIGNALLED + signal.SIGKILL}:
            return Ending(None, signal.SIGKILL)  # by us, before it had begun
        failed += errors.decode("utf-8", "replace").splitlines()[:1]
        raise ScratchError(
            f"the program could not be started in the sandbox: {(failed or ['no reason given'])[0]}",
            hint="Look whether everybody may execute it, and what it needs; see docs/scratch.md.",
        )

    def close(self) -> None:
        """Let go of all descriptors."""
        close_pipes(self.process)
        for each in (self._inner, self._words, self._said):
            if each is not None and each >= 0:
                os.close(each)
        self._inner, self._words, self._said = None, -1, -1

    def _first_process(self) -> int:
        """Wait until bubblewrap names the first process of the new namespaces.

        Raises:
            ScratchError: It gave up.
        """
        while b"\n" not in self._begun:
            readable, _, _ = select.select([self._words], [], [], PATIENCE.total_seconds())
            data = os.read(self._words, _MOST_SAID) if readable else b""
            if not data:
                raise ScratchError(f"the sandbox could not be made: {self._complaint()}", hint=HINT)
            self._begun += data
        return int(json.loads(self._begun.splitlines()[0])["child-pid"])

    def _complaint(self) -> str:
        """Return what bubblewrap says of itself."""
        self.process.kill()
        _, said = self.process.communicate()
        words = said.decode("utf-8", "replace").strip().splitlines()
        return words[0] if words else "bubblewrap did not answer"


class _Passing:
    """Files for the sandbox, closed here when it has them."""

    def __init__(self, files: ExitStack) -> None:
        self.numbers: list[int] = []
        self._files = files

    def file(self, content: str | bytes) -> int:
        data = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
        number = file_with(data)
        self._files.callback(os.close, number)
        self.numbers.append(number)
        return number


def own_program() -> tuple[Path, ...]:
    """Return where drkeeper and its interpreter are: it runs some of its own programs in scratch."""
    places = (sys.base_prefix, sys.prefix, os.path.dirname(drkeeper.__file__))
    outside = [Path(each).resolve() for each in places if not each.startswith("/usr/")]
    # A prefix may also be reached by a link, and programs are called by it.
    return tuple(dict.fromkeys((*outside, *(Path(e) for e in places if not e.startswith("/usr/")))))


def _system() -> Iterator[str]:
    """Show the machine's programs and libraries."""
    yield from ("--ro-bind", "/usr", "/usr")
    for name in _TREES:
        path = f"/{name}"
        if os.path.islink(path):
            yield from ("--symlink", os.readlink(path), path)
        elif os.path.isdir(path):
            yield from ("--ro-bind", path, path)


def _settings(passing: _Passing, user: int, group: int) -> Iterator[str]:
    """Show an /etc with what programs need to run, and with nothing of this machine's accounts."""
    files = {
        "passwd": f"root:x:0:0::/:/bin/sh\nscratch:x:{user}:{group}::/tmp:/bin/sh\n",
        "group": f"root:x:0:\nscratch:x:{group}:\n",
        "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
        "hosts": "127.0.0.1 localhost\n::1 localhost\n",
    }
    for name, content in files.items():
        yield from ("--perms", "0444", "--file", str(passing.file(content)), f"/etc/{name}")
    for name in _SETTINGS:
        yield from ("--ro-bind-try", f"/etc/{name}", f"/etc/{name}")


def _limits_at_once(command: Command) -> list[tuple[int, int]]:
    """Return the limits that hold from before the sandbox is made."""
    limits = kernel_limits(command.limits)
    if command.user is not None:
        return limits
    # All processes of drkeeper's own user would count; inside, only the sandbox's do.
    return [each for each in limits if each[0] != resource.RLIMIT_NPROC]


def _tasks_counted_in() -> int:
    """Return how many tasks the kernel counts that are none of the sandbox's.

    Source:
        Linux 5.14 and newer count for each user namespace; older ones for the user.
    """
    major, minor = (int(each) for each in os.uname().release.split("-")[0].split(".")[:2])
    return 0 if (major, minor) >= (5, 14) else usage.tasks_of_user(os.geteuid())


def _say_who_is_who(process: int, user: int | None) -> None:
    """Map users and groups into the new user namespace.

    Root maps all that it has to themselves: files belong inside to whom they belong outside.
    Anybody else may map only itself, and owns all that it could restore.

    Source:
        user_namespaces(7).
    """
    if user is None:
        _write(process, "setgroups", "deny")
        _write(process, "uid_map", f"{os.geteuid()} {os.geteuid()} 1\n")
        _write(process, "gid_map", f"{os.getegid()} {os.getegid()} 1\n")
        return
    for name in ("uid_map", "gid_map"):
        with open(f"/proc/self/{name}", encoding="ascii") as file:
            ranges = [line.split() for line in file]
        lines = [f"{inside} {inside} {count}\n" for inside, _, count in ranges]
        _write(process, name, "".join(lines))


def _write(process: int, name: str, content: str) -> None:
    # In one write, as the kernel asks for.
    with open(f"/proc/{process}/{name}", "wb", buffering=0) as file:
        file.write(content.encode())


def bubblewrap_version(search: str = SEARCH) -> str:
    """Return the version of the bubblewrap that would be used; empty when there is none."""
    program = shutil.which("bwrap", path=search)
    if program is None:
        return ""
    try:
        said = subprocess.run(  # noqa: S603 - found in the system's own directories
            [program, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE.total_seconds(),
            check=False,
            env={},
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return said.decode("utf-8", "replace").strip().removeprefix("bubblewrap ")
