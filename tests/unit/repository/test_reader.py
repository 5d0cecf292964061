"""One snapshot, read: which pieces are fetched for which paths."""

from hypothesis import given, settings, strategies as st

from doubles.crafted import Crafter, file, in_order, node
from drkeeper.model.entry import sort_key

NAMES = st.sampled_from([b"a", b"b", b"a.b", b"a-b", b"c", b"\x01", b"ab"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(b"/".join)


@settings(max_examples=30, deadline=None)
@given(st.sets(PATHS, min_size=1, max_size=12), PATHS, st.integers(1, 4))
def test_no_wanted_piece_is_missed(tmp_path_factory, paths, wanted, cut):
    """The pieces chosen for a path hold all of it, all below it, and what is above it."""
    full = set(paths)
    for path in paths:
        parts = path.split(b"/")
        full |= {b"/".join(parts[:n]) for n in range(1, len(parts))}
    crafter = Crafter(tmp_path_factory.mktemp("reader") / "repository")
    entries = in_order([node(path) for path in full])
    made = [crafter.piece(entries[at : at + cut]) for at in range(0, len(entries), cut)]
    reader = crafter.snapshot(*made)
    chosen = set(reader.pieces_holding([wanted]))
    for number, piece in enumerate(made):
        for entry in piece.entries:
            inside = entry.path == wanted or entry.path.startswith(wanted + b"/")
            if inside or wanted.startswith(entry.path + b"/"):
                assert number in chosen


def test_a_part_reads_a_part(tmp_path):
    """For one file of a long manifest, few pieces are read."""
    crafter = Crafter(tmp_path / "repository")
    made = [crafter.piece([file(b"f%03d" % n, b"x")]) for n in range(50)]
    reader = crafter.snapshot(*made)
    assert len(reader.pieces_holding([b"f025"])) <= 2
    assert reader.pieces_holding([]) == list(range(50))
    assert sort_key(reader.piece(25).entries[0].path) == b"f025"
