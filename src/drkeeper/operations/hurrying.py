"""A sink that lets nobody go on with a large file when the operation is to end."""

from collections.abc import Callable
from datetime import timedelta

from drkeeper.clock import Clock
from drkeeper.sources.base import Content, ContentSink, ContentStream


class UnfinishedError(Exception):
    """A file was left out, because reading all of it would take too long; the sink forgot it."""


class HurriedSink:
    """A sink from which a source is thrown out in the midst of a file; for one thread.

    Args:
        sink: Takes the content.
        hurried: Whether the operation is to end.
        clock: Measures.
        within: How long a file that is being read may go on then.
    """

    def __init__(
        self, sink: ContentSink, *, hurried: Callable[[], bool], clock: Clock, within: timedelta
    ) -> None:
        self._sink = sink
        self._hurried = hurried
        self._clock = clock
        self._within_s = within.total_seconds()
        self._until_s: float | None = None

    def small(self, data: bytes) -> Content:
        """Take the whole content of a small file."""
        return self._sink.small(data)

    def stream(self) -> ContentStream:
        """Begin to take the content of a larger file."""
        return _HurriedStream(self._sink.stream(), self._late)

    def _late(self) -> bool:
        if not self._hurried():
            return False
        now_s = self._clock.monotonic()
        if self._until_s is None:
            self._until_s = now_s + self._within_s
        return now_s >= self._until_s


class _HurriedStream:
    def __init__(self, stream: ContentStream, late: Callable[[], bool]) -> None:
        self._stream = stream
        self._late = late
        self.filled = stream.filled
        self.end = stream.end
        self.discard = stream.discard

    def buffer(self) -> memoryview:
        """Return space for more, unless it is too late.

        Raises:
            UnfinishedError: It is; the file is forgotten.
        """
        if self._late():
            self._stream.discard()
            raise UnfinishedError
        return self._stream.buffer()
