"""What a restore keeps of a manifest in memory."""

import gc
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import pytest

from doubles.crafted import Crafter, file
from drkeeper.operations.restore.work import Manifest

PIECES = 20
ENTRIES = 400


@pytest.fixture
def reader(tmp_path):
    crafter = Crafter(tmp_path / "repository")
    return crafter.snapshot(
        *(
            crafter.piece([file(b"%03d-%04d" % (piece, at)) for at in range(ENTRIES)])
            for piece in range(PIECES)
        )
    )


def _kept(manifest: Manifest, *, again: bool) -> int:
    """Return the bytes that stay in memory after a pass."""

    def damaged(path: bytes, error: Exception) -> None:
        raise AssertionError(path) from error

    gc.collect()
    before, _ = tracemalloc.get_traced_memory()
    assert sum(1 for _ in manifest.found(damaged, again=again)) == PIECES * ENTRIES
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    return after - before


def test_a_manifest_is_kept_only_for_another_pass(reader):
    """Memory does not grow with the number of files, but for the short time between two passes."""
    with ThreadPoolExecutor(1) as pool:
        manifest = Manifest(reader, (), pool)
        tracemalloc.start()
        try:
            once = _kept(manifest, again=False)
            for_another = _kept(manifest, again=True)
            last = _kept(manifest, again=False)
        finally:
            tracemalloc.stop()
    assert once < 20 * ENTRIES * PIECES  # what the reader remembers of objects
    assert for_another > 100 * ENTRIES * PIECES
    assert last < 0
