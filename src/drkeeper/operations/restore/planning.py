"""What a restore would do: how it treats what is there, how much there is to do, and its room."""

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from drkeeper.errors import IntegrityError, NoSpaceError, TargetError
from drkeeper.model.entry import FileType
from drkeeper.operations.restore import marker as markers
from drkeeper.operations.restore.changes import Compares, LeavesAlone
from drkeeper.operations.restore.printable import printable
from drkeeper.operations.restore.report import RestorePlan, Severity, Tally
from drkeeper.operations.restore.request import Overwrite, RestoreRequest
from drkeeper.operations.restore.rights import Owners
from drkeeper.operations.restore.space import BLOCK, Space
from drkeeper.operations.restore.target import Target
from drkeeper.operations.restore.work import Decides, Everything, Kind, Manifest, Planner
from drkeeper.repository.reads import ChunkRef, plan_reads


def plan(request: RestoreRequest) -> RestorePlan:
    """Say what a restore would do, without writing anything.

    Everything that a restore would compare is compared, so a plan of ``if-changed`` reads the
    files that are there.

    Raises:
        TargetError: The target cannot be used as the request says.
        IntegrityError: The snapshot root is damaged.
    """
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(1))
        manifest = Manifest(request.reader, request.paths, pool)
        target = None
        overwrite = None
        if os.path.isdir(request.target):
            target = stack.enter_context(Target.open(request.target))
            overwrite, _ = admit(request, target)
        totals = _totals(request, manifest, target, Tally())
        decides = decides_for(request, target, overwrite)
        stack.callback(decides.close)
        planner = Planner(decides, Owners(numeric=True), request.batch_bytes)
        fetch_bytes = requests = unchanged = 0
        before: dict[bytes, ChunkRef] = {}  # neighbouring batches share what lies between them
        for work in planner.batches(manifest.found(_ignore)):
            wanted = [ref for ref in work.needed.values() if ref.id not in before]
            before = work.needed
            fetch_bytes += sum(ref.plain for ref in wanted)
            requests += sum(read.requests for read in plan_reads(wanted))
            unchanged += sum(unit.kind == Kind.KEPT and unit.first for unit in work.units)
    return RestorePlan(
        files=totals.files,
        plain_bytes=totals.plain_bytes,
        fetch_bytes=fetch_bytes,
        requests=requests + manifest.pieces + 1,
        space_bytes=totals.space_bytes,
        free_bytes=totals.free_bytes,
        unchanged=unchanged,
        damaged=totals.damaged,
    )


def admit(request: RestoreRequest, target: Target) -> tuple[Overwrite | None, bool]:
    """Return how to treat what is there, and whether an unfinished restore is continued.

    Raises:
        TargetError: Something is there, and nothing was said about it.
    """
    if target.fresh:
        return None, False
    before = markers.find(target)
    resumed = before is not None and before.snapshot == request.reader.commit.digest
    if request.overwrite is not None:
        return request.overwrite, resumed
    if resumed:
        return Overwrite.IF_CHANGED, True
    if request.in_place:
        return Overwrite.IF_CHANGED, False
    raise TargetError(
        f"{printable(target.path)} is not empty",
        hint="Restore to a new directory, or say what to do with --overwrite.",
    )


def decides_for(
    request: RestoreRequest, target: Target | None, overwrite: Overwrite | None
) -> Decides:
    """Return who decides what has to be done for each file."""
    if target is None or overwrite is None or overwrite == Overwrite.ALWAYS:
        return Everything()
    if overwrite == Overwrite.NEVER:
        return LeavesAlone(target)
    return Compares(target, request.reader.domain.chunk_key)


def estimate(
    request: RestoreRequest, manifest: Manifest, target: Target, tally: Tally
) -> tuple[RestorePlan, bool]:
    """Return what there is to do, and whether every piece of the manifest was read for that.

    A whole snapshot onto an empty target that is much larger needs no counting: what the commit
    says is good enough to show progress. Otherwise the manifest decides.

    Raises:
        TargetError: Nothing in the snapshot is at one of the paths.
        NoSpaceError: The file system cannot hold so many files.
    """
    counts = request.reader.commit.counts
    if target.fresh and not request.paths and counts.entries:
        space = Space(request.target, None)
        rough = counts.plain_bytes + counts.entries * BLOCK
        if rough < space.free and counts.entries < (space.free_files or counts.entries + 1):
            rough_plan = RestorePlan(
                files=counts.entries,
                plain_bytes=counts.plain_bytes,
                space_bytes=rough,
                free_bytes=space.free,
            )
            return rough_plan, False
    return _totals(request, manifest, target, tally), True


def tell_damage(tally: Tally, path: bytes, error: IntegrityError) -> None:
    """Tell of a piece of the manifest that cannot be read."""
    tally.add(Severity.DAMAGED, "manifest", path, f"{error}: paths from here on are missing")


def _totals(
    request: RestoreRequest, manifest: Manifest, target: Target | None, tally: Tally
) -> RestorePlan:
    """Count what there is to do and the room it takes.

    Raises:
        TargetError: Nothing in the snapshot is at one of the paths.
        NoSpaceError: The file system cannot hold so many files.
    """

    def damaged(path: bytes, error: IntegrityError) -> None:
        tell_damage(tally, path, error)

    space = Space(request.target, target)
    files = plain_bytes = 0
    missing = set(request.paths)
    for entry, _, _, _ in manifest.found(damaged, again=True):
        files += 1
        missing.discard(entry.path)
        if entry.type == FileType.FILE:
            plain_bytes += space.add(entry)
        elif entry.type == FileType.DIRECTORY:
            space.add_directory()
    count = tally.counts[Severity.DAMAGED]
    if missing and not count:
        raise TargetError(
            f"the snapshot has no {printable(b'/' + min(missing))}",
            hint="List it with 'drkeeper ls'.",
        )
    if space.free_files is not None and space.files > space.free_files:
        raise NoSpaceError(
            f"restoring makes {space.files} files, the target has room for {space.free_files}",
            hint="Restore to a file system with more inodes.",
        )
    return RestorePlan(
        files=files,
        plain_bytes=plain_bytes,
        space_bytes=space.needed,
        free_bytes=space.free,
        damaged=count,
    )


def _ignore(path: bytes, error: IntegrityError) -> None:
    """Damage is told in the pass before."""
