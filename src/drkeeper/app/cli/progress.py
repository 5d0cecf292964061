"""Progress: a bar on a terminal, a plain line every half minute elsewhere, JSON on request."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from drkeeper.app.cli.output import Output
from drkeeper.app.cli.text import safe_path
from drkeeper.clock import Clock
from drkeeper.model.quantities import format_duration, format_size

PLAIN_EVERY_S = 30
JSON_EVERY_S = 1
_LONGEST_PATH = 40


@dataclass(frozen=True, slots=True)
class Step:
    """A moment of any operation, as it is shown.

    Attributes:
        phase: A word for what is being done.
        files: Paths done.
        files_total: Paths there are, measured or from the last time; ``None`` when not known.
        plain_bytes: Bytes of content done.
        plain_total: Bytes there are, likewise.
        stored_bytes: Bytes put into, or fetched from, the store.
        path: What is being worked on.
    """

    phase: str
    files: int = 0
    files_total: int | None = None
    plain_bytes: int = 0
    plain_total: int | None = None
    stored_bytes: int = 0
    path: bytes = b""


class Show(Protocol):
    """Takes steps; may be called from the thread that works, often."""

    def __call__(self, step: Step) -> None:
        """Show ``step``, or leave it out when the last one is too young."""
        ...


def show_progress(
    output: Output, clock: Clock, name: str, *, terminal: bool
) -> AbstractContextManager[Show]:
    """Return the way of showing progress that fits: JSON, nothing, a bar, or plain lines."""
    if output.json:
        return nullcontext(_Lines(output, clock, name, JSON_EVERY_S))
    if output.quiet:
        return nullcontext(_nothing)
    if terminal:
        return _bar(name)
    return nullcontext(_Lines(output, clock, name, PLAIN_EVERY_S))


def _nothing(step: Step) -> None:
    del step


class _Lines:
    """One line now and then; the first comes after the first pause, so short runs stay silent."""

    def __init__(self, output: Output, clock: Clock, name: str, every_s: float) -> None:
        self._output = output
        self._clock = clock
        self._name = name
        self._every_s = every_s
        self._since = clock.monotonic()
        self._next = self._since + (0 if output.json else every_s)

    def __call__(self, step: Step) -> None:
        """Write a line if it is time."""
        now = self._clock.monotonic()
        if now < self._next:
            return
        self._next = now + self._every_s
        remaining_s = _remaining_s(step, now - self._since)
        if self._output.json:
            self._output.message("status", _fields(self._name, step, remaining_s))
        else:
            self._output.note(_line(self._name, step, now - self._since, remaining_s))


def _fields(name: str, step: Step, remaining_s: float | None) -> dict[str, object]:
    return {
        "name": name,
        "phase": step.phase,
        "files": step.files,
        "files_total": step.files_total,
        "plain_bytes": step.plain_bytes,
        "plain_total": step.plain_total,
        "stored_bytes": step.stored_bytes,
        "seconds_remaining": None if remaining_s is None else round(remaining_s),
    }


def _line(name: str, step: Step, elapsed_s: float, remaining_s: float | None) -> str:
    parts = [f"{name}: {step.phase}", f"{step.files} files", format_size(step.plain_bytes)]
    if elapsed_s > 0:
        parts.append(f"{format_size(int(step.plain_bytes / elapsed_s))}/s")
    if remaining_s is not None:
        parts.append(f"{format_duration(timedelta(seconds=remaining_s))} left")
    return ", ".join(parts)


def _remaining_s(step: Step, elapsed_s: float) -> float | None:
    if not step.plain_total or not step.plain_bytes or step.plain_bytes > step.plain_total:
        return None
    return elapsed_s * (step.plain_total - step.plain_bytes) / step.plain_bytes


@contextmanager
def _bar(name: str) -> Iterator[Show]:
    from rich.console import Console  # noqa: PLC0415 - 0.1 s, for terminals only
    from rich.progress import (  # noqa: PLC0415 - as above
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.fields[name]}", markup=False),
        TextColumn("{task.fields[phase]:<8}", markup=False),
        BarColumn(bar_width=24),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TextColumn("{task.fields[files]} files", markup=False),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        TextColumn("{task.fields[path]}", markup=False),
    )
    progress = Progress(*columns, console=Console(stderr=True), transient=True)
    with progress:
        task = progress.add_task("", total=None, name=name, phase="", files=0, path="")

        def show(step: Step) -> None:
            path = safe_path(step.path) if step.path else ""
            progress.update(
                task,
                completed=step.plain_bytes,
                total=step.plain_total,
                phase=step.phase,
                files=step.files,
                path=path if len(path) <= _LONGEST_PATH else f"…{path[-_LONGEST_PATH:]}",
            )

        yield show
