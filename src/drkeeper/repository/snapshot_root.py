"""The root of a snapshot: what it is of, and where the pieces of its manifest are.

Format: docs/format.md, 6.2.
"""

from dataclasses import dataclass, field, replace
from itertools import accumulate

import msgspec

from drkeeper.errors import IntegrityError
from drkeeper.model.entry import sort_key
from drkeeper.repository.places import Place

ROOT_FORMAT = 1
"""The one format there is so far. Source: docs/format.md, 6.2."""

MAX_FINDINGS = 10_000
"""Most findings a root carries. Source: docs/format.md, 6.2."""

MAX_FINDINGS_BYTES = 16 * 1024 * 1024
"""Most bytes of their paths and messages: the pieces of the manifest need room in the same part."""

_DOMAIN_BYTES = 32


@dataclass(frozen=True, slots=True)
class PieceAt:
    """One piece of the manifest.

    Attributes:
        first_path: Path of its first entry; no later piece has an earlier path.
        entries: How many entries it has.
        place: Where it is.
    """

    first_path: bytes
    entries: int
    place: Place


@dataclass(frozen=True, slots=True)
class RootFinding:
    """A finding as it stands in a root.

    Attributes:
        level: ``note`` or ``warning``.
        code: A stable word.
        path: As in ``Entry.path``.
        message: One sentence without the path.
    """

    level: str
    code: str
    path: bytes
    message: str


@dataclass(frozen=True, slots=True)
class SnapshotRoot:
    """What a reader of one snapshot needs to begin.

    Attributes:
        policy: Name of the policy.
        host: Name of the host, for people.
        kind: Kind of source.
        drkeeper: Version that wrote it.
        paths: What the policy named, as given.
        tags: Free words of the operator.
        domain: The domain secret, 32 bytes.
        consistent_at: RFC 3339, UTC, six decimals.
        finished_at: The same form.
        consistency: ``application``, ``crash`` or ``none``.
        complete: False for a partial snapshot.
        stats: Counts for people.
        pieces: The manifest, in path order.
        findings: What an operator should know, at most 10,000.
    """

    policy: str
    host: str
    kind: str
    drkeeper: str
    paths: tuple[bytes, ...]
    tags: dict[str, str]
    domain: bytes = field(repr=False)
    consistent_at: str
    finished_at: str
    consistency: str
    complete: bool
    stats: dict[str, int]
    pieces: tuple[PieceAt, ...]
    findings: tuple[RootFinding, ...]


class _Wire(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    format: int
    policy: str
    host: str
    kind: str
    drkeeper: str
    paths: list[bytes]
    tags: dict[str, str]
    domain: bytes
    consistent_at: str
    finished_at: str
    consistency: str
    complete: bool
    stats: dict[str, int]
    pieces: list[tuple[bytes, int, list[bytes | int]]]
    findings: list[tuple[str, str, bytes, str]]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Wire)


def encode(root: SnapshotRoot) -> bytes:
    """Return the bytes of a root; findings beyond the limits are counted, not kept."""
    findings = _bounded(root.findings)
    if len(findings) < len(root.findings):
        left_out = len(root.findings) - len(findings)
        root = replace(root, stats={**root.stats, "findings_left_out": left_out})
    return _encoder.encode(
        {
            "format": ROOT_FORMAT,
            "policy": root.policy,
            "host": root.host,
            "kind": root.kind,
            "drkeeper": root.drkeeper,
            "paths": list(root.paths),
            "tags": root.tags,
            "domain": root.domain,
            "consistent_at": root.consistent_at,
            "finished_at": root.finished_at,
            "consistency": root.consistency,
            "complete": root.complete,
            "stats": root.stats,
            "pieces": [
                (piece.first_path, piece.entries, piece.place.to_list()) for piece in root.pieces
            ],
            "findings": [(f.level, f.code, f.path, f.message) for f in findings],
        }
    )


def _bounded(findings: tuple[RootFinding, ...]) -> tuple[RootFinding, ...]:
    if len(findings) <= MAX_FINDINGS and sum(map(_weight, findings)) <= MAX_FINDINGS_BYTES:
        return findings
    # Warnings say that the snapshot is the worse for it: they go first.
    ordered = sorted(findings, key=lambda finding: finding.level != "warning")[:MAX_FINDINGS]
    kept = sum(1 for weight in accumulate(map(_weight, ordered)) if weight <= MAX_FINDINGS_BYTES)
    return tuple(ordered[:kept])


def _weight(finding: RootFinding) -> int:
    return len(finding.path) + len(finding.message.encode())


def decode(data: bytes | memoryview) -> SnapshotRoot:
    """Decode and check a root.

    Raises:
        IntegrityError: It is malformed, or of a format this release does not know.
    """
    try:
        wire = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise IntegrityError(f"snapshot root is malformed: {error}") from None
    if wire.format != ROOT_FORMAT:
        raise IntegrityError(
            f"snapshot root has format {wire.format}, this release reads {ROOT_FORMAT}",
            hint="Use the release of drkeeper that wrote the snapshot.",
        )
    pieces = tuple(
        PieceAt(first, entries, Place.from_list(place)) for first, entries, place in wire.pieces
    )
    _check(wire, pieces)
    return SnapshotRoot(
        policy=wire.policy,
        host=wire.host,
        kind=wire.kind,
        drkeeper=wire.drkeeper,
        paths=tuple(wire.paths),
        tags=wire.tags,
        domain=wire.domain,
        consistent_at=wire.consistent_at,
        finished_at=wire.finished_at,
        consistency=wire.consistency,
        complete=wire.complete,
        stats=wire.stats,
        pieces=pieces,
        findings=tuple(RootFinding(*finding) for finding in wire.findings),
    )


def _check(wire: _Wire, pieces: tuple[PieceAt, ...]) -> None:
    if len(wire.domain) != _DOMAIN_BYTES:
        raise IntegrityError("snapshot root is malformed: domain secret of wrong length")
    if len(wire.findings) > MAX_FINDINGS:
        raise IntegrityError("snapshot root is malformed: too many findings")
    keys = [sort_key(piece.first_path) for piece in pieces]
    # A piece may begin inside the run of one huge file, so equal neighbours are allowed.
    if keys != sorted(keys):
        raise IntegrityError("snapshot root is malformed: pieces out of order")
    if any(piece.entries < 1 for piece in pieces):
        raise IntegrityError("snapshot root is malformed: piece without entries")
