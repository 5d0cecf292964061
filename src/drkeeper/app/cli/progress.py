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
_SHORTEST_PATH = 12


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
        return _bar(name, clock)
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
        elapsed_s = now - self._since
        if self._output.json:
            self._output.message("status", _fields(self._name, step, elapsed_s))
        else:
            self._output.note(_line(self._name, step, elapsed_s))


def _fields(name: str, step: Step, elapsed_s: float) -> dict[str, object]:
    remaining_s = _remaining_s(step, elapsed_s)
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


def _line(name: str, step: Step, elapsed_s: float) -> str:
    return f"{name}: {step.phase}, {_facts(step, elapsed_s)}"


def _remaining_s(step: Step, elapsed_s: float) -> float | None:
    if not step.plain_total or not step.plain_bytes or step.plain_bytes > step.plain_total:
        return None
    return elapsed_s * (step.plain_total - step.plain_bytes) / step.plain_bytes


@contextmanager
def _bar(name: str, clock: Clock) -> Iterator[Show]:
    from rich.console import Console  # noqa: PLC0415 - 0.1 s, for terminals only
    from rich.progress import BarColumn, Progress, TextColumn  # noqa: PLC0415 - as above

    console = Console(stderr=True)
    progress = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[facts]}", markup=False),
        console=console,
        transient=True,
        refresh_per_second=5,
    )
    begun = clock.monotonic()
    with progress:
        task = progress.add_task(name, total=None, facts="")

        def show(step: Step) -> None:
            facts = _facts(step, clock.monotonic() - begun)
            room = console.width - len(facts) - len(name) - len(step.phase) - 26
            progress.update(
                task,
                description=f"{name} {step.phase}",
                completed=step.plain_bytes,
                # More than last time is no reason for a bar that is full and goes on.
                total=step.plain_total
                if step.plain_total and step.plain_bytes <= step.plain_total
                else None,
                facts=facts + _path_within(step.path, room),
            )

        yield show


def _facts(step: Step, elapsed_s: float) -> str:
    remaining_s = _remaining_s(step, elapsed_s)
    total = f" of {format_size(step.plain_total)}" if step.plain_total else ""
    parts = [f"{format_size(step.plain_bytes)}{total}"]
    if elapsed_s > 0 and step.plain_bytes:
        parts.append(f"{format_size(int(step.plain_bytes / elapsed_s))}/s")
    parts.append(f"{step.files} files")
    if remaining_s is not None:
        parts.append(f"{format_duration(timedelta(seconds=remaining_s))} left")
    return ", ".join(parts)


def _path_within(path: bytes, room: int) -> str:
    text = safe_path(path) if path else ""
    if room < _SHORTEST_PATH or not text:
        return ""
    return f"  {text}" if len(text) <= room else f"  …{text[-room:]}"
