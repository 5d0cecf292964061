"""Progress: a bar on a terminal, a plain line every half minute elsewhere, JSON on request."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from datetime import timedelta

from drkeeper.app.cli.output import Output
from drkeeper.app.cli.text import safe_path
from drkeeper.clock import Clock
from drkeeper.model.quantities import format_duration, format_size
from drkeeper.operations.progress import OnProgress, Progress, ignore

PLAIN_EVERY_S = 30
JSON_EVERY_S = 1
_SHORTEST_PATH = 12
_BAR_WIDTH = 20
_SPACES = 6
"""Columns of the line that no part of it has: the spaces between the parts."""


def show_progress(
    output: Output, clock: Clock, name: str, *, things: str = "files"
) -> AbstractContextManager[OnProgress]:
    """Return the way of showing progress that fits: JSON, nothing, a bar, or plain lines.

    Time counts from the first step: whatever was asked or opened before is no part of the rate.

    Args:
        output: Says whether progress is for programs, for people, or not wanted.
        clock: Measures.
        name: Of the policy, or of the operation.
        things: What ``Progress.files`` counts.
    """
    if output.json:
        return nullcontext(_Lines(output, clock, name, things))
    if output.quiet:
        return nullcontext(ignore)
    if sys.stderr.isatty():
        return _bar(clock, name, things)
    return nullcontext(_Lines(output, clock, name, things))


class _Lines:
    """One line now and then; for people the first comes after a pause, so short runs are silent."""

    def __init__(self, output: Output, clock: Clock, name: str, things: str) -> None:
        self._output = output
        self._clock = clock
        self._name = name
        self._things = things
        self._every_s = JSON_EVERY_S if output.json else PLAIN_EVERY_S
        self._since: float | None = None
        self._next = 0.0

    def __call__(self, step: Progress) -> None:
        """Write a line if it is time."""
        now = self._clock.monotonic()
        if self._since is None:
            self._since = now
            self._next = now + (0 if self._output.json else self._every_s)
        if now < self._next:
            return
        self._next = now + self._every_s
        elapsed_s = now - self._since
        if self._output.json:
            fields = _fields(step, elapsed_s, self._things)
            self._output.message("status", {"name": self._name, **fields})
        else:
            facts = _facts(step, elapsed_s, self._things)
            self._output.note(f"{self._name}: {step.phase}, {facts}")


def _fields(step: Progress, elapsed_s: float, things: str) -> dict[str, object]:
    remaining_s = step.remaining_s(elapsed_s)
    return {
        "phase": step.phase,
        things: step.files,
        f"{things}_total": step.files_total,
        "plain_bytes": step.plain_bytes,
        "plain_total": step.plain_total,
        "stored_bytes": step.stored_bytes,
        "seconds_remaining": None if remaining_s is None else round(remaining_s),
    }


@contextmanager
def _bar(clock: Clock, name: str, things: str) -> Iterator[OnProgress]:
    from rich.console import Console  # noqa: PLC0415 - 0.1 s, for terminals only
    from rich.progress import BarColumn, Progress as Bar, TextColumn  # noqa: PLC0415 - as above
    from rich.table import Column  # noqa: PLC0415 - as above

    console = Console(stderr=True)
    bar = Bar(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=_BAR_WIDTH),
        TextColumn(
            "{task.fields[facts]}", markup=False, table_column=Column(no_wrap=True, ratio=1)
        ),
        console=console,
        transient=True,
        refresh_per_second=5,
    )
    task = bar.add_task(name, total=None, facts="")
    begun_at: float | None = None
    with ExitStack() as stack:

        def show(step: Progress) -> None:
            nonlocal begun_at
            if begun_at is None:  # not before: a passphrase may be asked for first
                begun_at = clock.monotonic()
                stack.enter_context(bar)
            facts = _facts(step, clock.monotonic() - begun_at, things)
            description = f"{name} {step.phase}"
            room = console.width - len(description) - _BAR_WIDTH - len(facts) - _SPACES
            fraction = step.fraction
            bar.update(
                task,
                description=description,
                completed=fraction or 0,
                total=None if fraction is None else 1,
                facts=facts + _path_within(step.current_path, room),
            )

        yield show


def _facts(step: Progress, elapsed_s: float, things: str) -> str:
    remaining_s = step.remaining_s(elapsed_s)
    total = f" of {format_size(step.plain_total)}" if step.plain_total else ""
    count = f" of {step.files_total}" if step.files_total else ""
    parts = [f"{format_size(step.plain_bytes)}{total}"]
    if elapsed_s > 0 and step.plain_bytes:
        parts.append(f"{format_size(int(step.plain_bytes / elapsed_s))}/s")
    parts.append(f"{step.files}{count} {things}")
    if remaining_s is not None:
        parts.append(f"{format_duration(timedelta(seconds=remaining_s))} left")
    return ", ".join(parts)


def _path_within(path: bytes, room: int) -> str:
    text = safe_path(path) if path else ""
    if room < _SHORTEST_PATH or not text:
        return ""
    return f"  {text}" if len(text) <= room else f"  …{text[-room:]}"
