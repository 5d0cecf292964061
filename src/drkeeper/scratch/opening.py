"""Make scratch places, and remove those that a killed drkeeper has left."""

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from drkeeper.clock import Clock
from drkeeper.errors import ScratchError
from drkeeper.scratch.base import Availability, Finished, Limits, Scratch, ScratchKind, Started
from drkeeper.scratch.bubblewrap import HINT, SEARCH, BubblewrapJailer, bubblewrap_version
from drkeeper.scratch.disk import DiskWatch
from drkeeper.scratch.jail import Command, Jailer
from drkeeper.scratch.places import Place, make_place, sweep_places
from drkeeper.scratch.process import ProcessJailer
from drkeeper.scratch.watching import Watch

_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_HARMLESS: Final = {"PATH": _PATH, "LANG": "C.UTF-8"}
_TRIALS: Final = ("/usr/bin/true", "/bin/true")
_TRIAL_TIME: Final = timedelta(seconds=10)
_TRIAL_LIMITS: Final = Limits(
    memory_bytes=256 * 1024**2,
    cpu=_TRIAL_TIME,
    wall=_TRIAL_TIME,
    disk_bytes=1024**2,
    processes=16,
)


@contextmanager
def open_scratch(
    where: Path,
    *,
    kind: ScratchKind | None,
    limits: Limits,
    clock: Clock,
    readable: Sequence[Path] = (),
    search: str = SEARCH,
) -> Iterator[Scratch]:
    """Make a place for one drill; when the context ends, nothing is left of it.

    Args:
        where: A directory for such places; made when it is not there.
        kind: What keeps programs in; ``None`` for the best that there is.
        limits: What each program may use.
        clock: For all times.
        readable: Files and directories beside the system's that programs may read: the places of
            programs that are not below /usr. drkeeper's own are readable anyhow.
        search: Where bubblewrap may be, as of PATH.

    Raises:
        ScratchError: It cannot be made, or does not work; or it cannot be removed.
    """
    with make_place(where) as place:
        sandbox = BubblewrapJailer(readable, search)
        if kind is not ScratchKind.PROCESS:
            try:
                _try(place, sandbox, clock)
            except ScratchError:
                if kind is ScratchKind.BUBBLEWRAP:
                    raise
            else:
                yield _Room(place, sandbox, kind=ScratchKind.BUBBLEWRAP, limits=limits, clock=clock)
                return
        yield _Room(place, ProcessJailer(), kind=ScratchKind.PROCESS, limits=limits, clock=clock)


def sweep(where: Path) -> list[Path]:
    """Remove the places below ``where`` that a killed drkeeper has left, and end what runs in them.

    Returns:
        What was removed; places that living drkeepers use are left alone.

    Raises:
        ScratchError: One of them cannot be removed; the others are.
    """
    return sweep_places(where)


def available(where: Path, clock: Clock, *, search: str = SEARCH) -> list[Availability]:
    """Try each kind, the best first.

    Args:
        where: As for ``open_scratch``: whether a kind works may depend on the place.
        clock: For all times.
        search: Where bubblewrap may be, as of PATH.
    """
    version = bubblewrap_version(search)
    jailers: list[tuple[ScratchKind, Jailer, str]] = [
        (ScratchKind.BUBBLEWRAP, BubblewrapJailer(search=search), version),
        (ScratchKind.PROCESS, ProcessJailer(), ""),
    ]
    found = []
    for kind, jailer, version in jailers:
        try:
            with make_place(where) as place:
                _try(place, jailer, clock)
        except ScratchError as error:
            found.append(
                Availability(
                    kind, ok=False, why_not=str(error), hint=error.hint or "", version=version
                )
            )
        else:
            found.append(Availability(kind, ok=True, version=version))
    return found


def _try(place: Place, jailer: Jailer, clock: Clock) -> None:
    """Run a program that does nothing.

    Raises:
        ScratchError: It did not, or there is none.
    """
    program = next((each for each in _TRIALS if os.access(each, os.X_OK)), None)
    if program is None:
        raise ScratchError(f"there is no {_TRIALS[0]} to try it with")
    room = _Room(place, jailer, kind=ScratchKind.PROCESS, limits=_TRIAL_LIMITS, clock=clock)
    done = room.run([program], timeout=_TRIAL_TIME)
    if not done.ok:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise ScratchError(
            f"a program that does nothing failed there: {(said or [done.why or 'silently'])[0]}",
            hint=HINT,
        )


class _Room:
    """A place, and a jailer for the programs that run there."""

    def __init__(
        self, place: Place, jailer: Jailer, *, kind: ScratchKind, limits: Limits, clock: Clock
    ) -> None:
        self.kind = kind
        self.root = place.root
        self._place = place
        self._jailer = jailer
        self._limits = limits
        self._clock = clock

    def run(
        self,
        argv: Sequence[str],
        *,
        inside: Mapping[str, str] | None = None,
        timeout: timedelta,
        writable: bool = False,
        input: bytes = b"",  # noqa: A002 - the word of subprocess.run
    ) -> Finished:
        """Run a program to its end, and to the end of all that it has started."""
        wanted = _Wanted(tuple(argv), inside or {}, writable, input)
        return self._go(wanted, timeout)

    def start(
        self,
        argv: Sequence[str],
        *,
        inside: Mapping[str, str] | None = None,
        writable: bool = False,
    ) -> AbstractContextManager[Started]:
        """Start a program that goes on until the context ends."""
        wanted = _Wanted(tuple(argv), inside or {}, writable, b"")
        return _started(lambda begun, asked: self._go(wanted, self._limits.wall, begun, asked))

    def _go(
        self,
        wanted: "_Wanted",
        timeout: timedelta,
        begun: Callable[[], None] = lambda: None,
        asked: Callable[[], bool] = lambda: False,
    ) -> Finished:
        wanted.check()
        try:
            return self._watched(wanted, timeout, begun, asked)
        except OSError as error:
            raise ScratchError(
                f"the scratch place {self.root.parent} broke: {error.strerror}"
            ) from error

    def _watched(
        self,
        wanted: "_Wanted",
        timeout: timedelta,
        begun: Callable[[], None],
        asked: Callable[[], bool],
    ) -> Finished:
        with self._place.tmp() as tmp:
            command = Command(
                argv=wanted.argv,
                variables={**_HARMLESS, **wanted.inside, **self._place.mark},
                root=self.root,
                tmp=tmp,
                writable=wanted.writable,
                user=self._place.user,
                limits=self._limits,
            )
            folders = [tmp, self.root] if wanted.writable else [tmp]
            disk = DiskWatch(folders, self._limits.disk_bytes, self._clock)
            began_s = self._clock.monotonic()
            jail = self._jailer.start(command)
            begun()
            watch = Watch(jail, disk, limits=self._limits, clock=self._clock, asked=asked)
            return watch.to_the_end(began_s, min(timeout, self._limits.wall), wanted.feed)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What somebody wants to be run."""

    argv: tuple[str, ...]
    inside: Mapping[str, str]
    writable: bool
    feed: bytes = b""

    def check(self) -> None:
        """Refuse what no system call could express.

        Raises:
            ScratchError: The program has no absolute path, or something has a NUL in it.
        """
        if not self.argv or not self.argv[0].startswith("/"):
            raise ScratchError(
                f"program {self.argv[0] if self.argv else ''!r} has no absolute path",
                hint="Write the whole path; PATH is not searched.",
            )
        words = [*self.argv, *self.inside, *self.inside.values()]
        if any("\0" in word for word in words) or any("=" in name for name in self.inside):
            raise ScratchError("a word for the program has a character that it cannot have")


class _Server:
    """A program that goes on, watched by a thread of its own."""

    def __init__(self, go: Callable[[Callable[[], None], Callable[[], bool]], Finished]) -> None:
        self._go = go
        self._begun = threading.Event()
        self._asked = threading.Event()
        self._finished: Finished | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._stay, name="scratch", daemon=True)

    @property
    def finished(self) -> Finished | None:
        """How it ended, once it has."""
        return None if self._thread.is_alive() else self._outcome()

    def wait(self, timeout: timedelta) -> Finished | None:
        """Wait for its end."""
        self._thread.join(timeout.total_seconds())
        return self.finished

    def begin(self) -> None:
        """Start it, and wait until it has been."""
        self._thread.start()
        self._begun.wait()
        if self._error is not None:
            raise self._error

    def end(self) -> None:
        """Let it end, and wait for that."""
        self._asked.set()
        self._thread.join()

    def _outcome(self) -> Finished | None:
        if self._error is not None:
            raise self._error
        return self._finished

    def _stay(self) -> None:
        # In this thread from start to end: the kernel ends the program when the thread that
        # started it does.
        try:
            self._finished = self._go(self._begun.set, self._asked.is_set)
        except BaseException as error:  # noqa: BLE001 - told to whoever asks
            self._error = error
        finally:
            self._begun.set()


@contextmanager
def _started(
    go: Callable[[Callable[[], None], Callable[[], bool]], Finished],
) -> Iterator[Started]:
    server = _Server(go)
    server.begin()
    try:
        yield server
    finally:
        server.end()
    server.wait(timedelta())
