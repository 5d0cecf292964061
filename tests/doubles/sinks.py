"""Sinks that keep or digest what they are given, and store nothing."""

from dataclasses import dataclass

from blake3 import blake3

BUFFER_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class KeptContent:
    """Content that is simply kept."""

    digest: bytes
    plain_bytes: int
    data: bytes


class KeepingSink:
    """Keeps everything, for tests that look at the bytes.

    Attributes:
        kept: What was taken, in order.
        discarded: How many streams were given up.
    """

    def __init__(self, *, buffer_bytes: int = BUFFER_BYTES) -> None:
        self.kept: list[KeptContent] = []
        self.discarded = 0
        self.buffer_bytes = buffer_bytes

    def small(self, data: bytes) -> KeptContent:
        content = KeptContent(blake3(data).digest(), len(data), bytes(data))
        self.kept.append(content)
        return content

    def stream(self) -> "KeepingStream":
        return KeepingStream(self)


class KeepingStream:
    """One stream of a ``KeepingSink``."""

    def __init__(self, sink: KeepingSink) -> None:
        self._sink = sink
        self._data = bytearray()
        self._buffer = bytearray(sink.buffer_bytes)

    def buffer(self) -> memoryview:
        return memoryview(self._buffer)

    def filled(self, count: int) -> None:
        self._data += self._buffer[:count]

    def end(self) -> KeptContent:
        return self._sink.small(bytes(self._data))

    def discard(self) -> None:
        self._sink.discarded += 1


@dataclass(frozen=True, slots=True)
class DigestedContent:
    """Content of which only the digest is left."""

    digest: bytes
    plain_bytes: int


class DigestingSink:
    """Forgets everything but digests, for trees too large to keep."""

    def small(self, data: bytes) -> DigestedContent:
        return DigestedContent(blake3(data).digest(), len(data))

    def stream(self) -> "DigestingStream":
        return DigestingStream()


class DigestingStream:
    """One stream of a ``DigestingSink``."""

    def __init__(self) -> None:
        self._hasher = blake3()
        self._buffer = bytearray(BUFFER_BYTES)
        self._count = 0

    def buffer(self) -> memoryview:
        return memoryview(self._buffer)

    def filled(self, count: int) -> None:
        self._hasher.update(memoryview(self._buffer)[:count])
        self._count += count

    def end(self) -> DigestedContent:
        return DigestedContent(self._hasher.digest(), self._count)

    def discard(self) -> None:
        self._hasher.reset()
        self._count = 0
