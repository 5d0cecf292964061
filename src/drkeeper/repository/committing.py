"""The end of a snapshot: root, refs, inventory, commit, and what the cache may know afterwards."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from drkeeper.crypto.derive import Domain
from drkeeper.crypto.digests import digest, keyed
from drkeeper.crypto.sealing import Kind
from drkeeper.faults import point
from drkeeper.repository import inventory, snapshot_root
from drkeeper.repository.cache import Cache, CachedPart, ChunkAt
from drkeeper.repository.chunk_store import SealingContext, meta_emitter
from drkeeper.repository.commit import Commit, CommitDraft, Counts
from drkeeper.repository.compression import Compressor
from drkeeper.repository.journal_body import format_instant
from drkeeper.repository.needs import Needs, needs_writer, write_needs
from drkeeper.repository.parts import PartWriter
from drkeeper.repository.places import Codec, Place, inventory_name
from drkeeper.repository.refs import RefsPart, decode_root
from drkeeper.repository.session import Session
from drkeeper.repository.snapshot_root import PieceAt, SnapshotRoot
from drkeeper.repository.workers import Workers


@dataclass(frozen=True, slots=True)
class Facts:
    """What a snapshot says about itself.

    Attributes:
        policy: Name of the policy.
        host: Name of the host, for people.
        kind: Kind of source.
        drkeeper: Version that writes.
        paths: What the policy names.
        tags: Free words.
        consistent_at: Instant the data describes.
        finished_at: When the source had been read.
        next_due: When the next commit of the lineage is promised.
        consistency: What kind of instant it is.
        stats: Counts for people; ``entries`` and ``plain_bytes`` among them.
        findings: What an operator should know.
    """

    policy: str
    host: str
    kind: str
    drkeeper: str
    paths: tuple[bytes, ...]
    tags: dict[str, str]
    consistent_at: datetime
    finished_at: datetime
    next_due: datetime | None
    consistency: str
    stats: dict[str, int]
    findings: tuple[snapshot_root.RootFinding, ...]


class Committer:
    """Commits the snapshots of one session: any number of partial ones, then a complete one."""

    def __init__(  # noqa: PLR0913 - the collaborators, by name
        self,
        session: Session,
        cache: Cache,
        domain: Domain,
        *,
        uploads: Workers[None],
        context: SealingContext,
        meta: PartWriter,
        earlier_refs: Sequence[RefsPart],
    ) -> None:
        """Commit through ``session``.

        Args:
            session: An open session.
            cache: Learns of what was committed.
            domain: Names roots.
            uploads: Store objects.
            context: Seals them.
            meta: Takes roots; nobody else appends while a snapshot is being committed.
            earlier_refs: Parts of the refs of the snapshot before.
        """
        self._session = session
        self._cache = cache
        self._domain = domain
        self._uploads = uploads
        self._context = context
        self._meta = meta
        self._earlier_refs = tuple(earlier_refs)
        self._inventories = 0
        self._parts: list[CachedPart] = []

    def commit(
        self,
        facts: Facts,
        pieces: tuple[PieceAt, ...],
        packs: Collection[tuple[bytes, bytes]],
        counts: Counts,
        *,
        complete: bool,
    ) -> Commit:
        """Make everything durable, in the order of the format, and commit.

        Everything the pieces refer to has been handed to the uploads.

        Raises:
            FencedError: Somebody ended the session, or what it needs is condemned.
            StorageError: The store did not answer as it should.
        """
        self._parts = []
        root = self._put_root(facts, pieces, complete=complete)
        point("repository.writer.data_durable")
        needs = self._put_needs(pieces, packs, root)
        point("repository.writer.refs_durable")
        inventory_digest = self._put_inventory()
        draft = CommitDraft(
            consistent_at=facts.consistent_at,
            finished_at=facts.finished_at,
            next_due=facts.next_due,
            complete=complete,
            consistency=facts.consistency,
            root=root,
            refs=needs.root,
            inventory_k=self._inventories,
            inventory_digest=inventory_digest,
            counts=replace(counts, stored_bytes=self._context.new.stored_bytes),
        )
        point("repository.writer.commit")
        commit = self._session.commit(draft, needs.references)
        point("repository.writer.committed")
        self._earlier_refs = tuple(decode_root(needs.root_data).parts)
        return commit

    def remember(
        self,
        commit: Commit,
        pieces: Iterable[PieceAt],
        packs: Iterable[tuple[bytes, bytes]],
        *,
        fresh: Iterable[ChunkAt],
        parts: Iterable[CachedPart],
    ) -> None:
        """Let the cache know of an acknowledged commit.

        Args:
            commit: The commit.
            pieces: Of its manifest.
            packs: That it needs.
            fresh: Chunks that the session stored since the commit before.
            parts: Pieces that it stored.
        """
        lineage = self._session.lineage
        self._cache.keep_parts(lineage, [*parts, *self._parts])
        self._cache.learn((commit.n, commit.digest), lineage, packs, fresh)
        if commit.complete:
            kept = {piece.place.digest for piece in pieces}
            self._cache.forget_other_parts(lineage, kept | {commit.root.digest, commit.refs.digest})

    def _put_root(self, facts: Facts, pieces: tuple[PieceAt, ...], *, complete: bool) -> Place:
        root = SnapshotRoot(
            policy=facts.policy,
            host=facts.host,
            kind=facts.kind,
            drkeeper=facts.drkeeper,
            paths=facts.paths,
            tags=facts.tags,
            domain=self._domain.secret,
            consistent_at=format_instant(facts.consistent_at),
            finished_at=format_instant(facts.finished_at),
            consistency=facts.consistency,
            complete=complete,
            stats=facts.stats,
            pieces=pieces,
            findings=facts.findings,
        )
        data = snapshot_root.encode(root)
        name = keyed(self._domain.piece_key, data)
        codec, body = Compressor().encode(data)
        place = self._meta.append(body, plain=len(data), codec=codec, part_digest=name)
        self._parts.append(CachedPart(name, codec, len(data), bytes(body), b""))
        self._meta.flush()
        self._uploads.wait(self._uploads.handed)
        return place

    def _put_needs(
        self,
        pieces: Iterable[PieceAt],
        packs: Collection[tuple[bytes, bytes]],
        root: Place,
    ) -> Needs:
        metas = {(piece.place.session, piece.place.id) for piece in pieces}
        metas.add((root.session, root.id))
        keys = self._session.keys
        emit = meta_emitter(self._context, Kind.REFS, keys.refs, self._uploads)
        needs = write_needs(
            needs_writer(self._session.id, emit),
            packs,
            metas,
            self._earlier_refs,
            self._session.repository.keys.slots,
        )
        self._uploads.wait(self._uploads.handed)
        data = needs.root_data
        self._parts.append(CachedPart(needs.root.digest, Codec.RAW, len(data), data, b""))
        return needs

    def _put_inventory(self) -> bytes:
        self._inventories += 1
        data = inventory.encode(self._context.new.taken())
        point("repository.writer.inventory")
        self._context.store.put(inventory_name(self._session.id, self._inventories), data)
        point("repository.writer.inventory_durable")
        return digest(data)
