"""Snapshots that a hostile writer with a valid key could make, one function each.

Each is given a ``Crafter`` and returns a reader. What matters is what they do not do: touch
anything outside of the target, end with an untyped error, hang, or take the memory.
"""

import os
from collections.abc import Callable, Sequence

import msgspec

from doubles.crafted import CHUNK, Crafter, file, in_order, link, node
from drkeeper.crypto.digests import digest, keyed
from drkeeper.model.entry import Entry, EntryFlag, Extra, FileType
from drkeeper.repository import pieces
from drkeeper.repository.pieces import Piece
from drkeeper.repository.places import Codec
from drkeeper.repository.reader import SnapshotReader
from drkeeper.repository.reads import ChunkRef

Make = Callable[[Crafter], SnapshotReader]
CORPUS: dict[str, Make] = {}

OUTSIDE = b"../canary/planted"
"""Where a file would land if a name could lead out of the target."""


def _item(name: str, make: Make) -> None:
    assert name not in CORPUS, name
    CORPUS[name] = make


def _entries(name: str, *items: Entry | tuple[Entry, bytes]) -> None:
    """Add an item whose one piece holds these, in this order."""
    _item(name, lambda c: c.snapshot(c.piece(list(items))))


def _with(entry: tuple[Entry, bytes], **changes) -> tuple[Entry, bytes]:
    return msgspec.structs.replace(entry[0], **changes), entry[1]


# ---------------------------------------------------------------- names that lead elsewhere

for _name, _path in {
    "parent": OUTSIDE,
    "parent inside": b"a/../../canary/planted",
    "parent last": b"a/..",
    "parent alone": b"..",
    "dot": b"./x",
    "dot inside": b"a/./x",
    "dot alone": b".",
    "absolute": b"/etc/drkeeper-planted",
    "doubled slash": b"a//x",
    "trailing slash": b"a/",
    "empty": b"",
    "NUL": b"a\0b",
    "NUL and parent": b"a\0/../../canary/planted",
    "many parents": b"../" * 64 + b"tmp/drkeeper-planted",
}.items():
    _entries(f"path: {_name}", file(_path, b"planted"))
    if _path and not _path.endswith(b"/"):
        _entries(f"directory path: {_name}", node(_path))

_entries("path: 255 bytes", file(b"n" * 255, b"x"))
_entries("path: 256 bytes", file(b"n" * 256, b"x"))
_entries("path: 5000 bytes in one name", file(b"n" * 5000, b"x"))
_entries("path: a megabyte of components", file(b"d/" * 500_000 + b"f", b"x"))
_entries(
    "path: deeper than descriptors",
    *[node(b"/".join([b"d"] * depth)) for depth in range(1, 1500, 1)],
)
_entries("path: newline and escapes", file(b"\x1b[2J\n\x1b]0;owned\x07", b"x"))
_entries("path: right to left", file("txt.\u202eexe.\u2066".encode(), b"x"))
_entries("path: not UTF-8", file(bytes(range(0x80, 0xFF)), b"x"))
_entries("path: looks temporary", file(b".drkeeper-0000000000000000", b"x"))
_entries("path: looks like our note", file(b".drkeeper-restore", b'{"snapshot": "00"}'))
_entries(
    "path: our note is a directory", node(b".drkeeper-restore"), file(b".drkeeper-restore/f", b"x")
)
_entries("path: our note is a link", link(b".drkeeper-restore", b"../canary/file"))
_entries(
    "path: case variants",
    *in_order([file(b"A", b"1"), file(b"a", b"2"), node(b"B"), file(b"b", b"3")]),
)
_entries("path: device name", file(b"CON", b"x"), file(b"aux:stream", b"x"))

# ---------------------------------------------------------------- order and repetition

_entries("twice: file", file(b"f", b"one"), file(b"f", b"two"))
_entries("twice: directory", node(b"d"), node(b"d"))
_entries("twice: link then file", link(b"d", b"../canary"), file(b"d", b"x"))
_entries("order: backwards", file(b"z", b"1"), file(b"a", b"2"))
_entries("order: directory after its content", file(b"d/f", b"1"), node(b"d"))
_entries("order: no directory at all", file(b"d/e/f", b"1"))
_item(
    "order: pieces overlap",
    lambda c: c.snapshot(
        c.piece([file(b"a", b"1"), file(b"m", b"1")]), c.piece([file(b"b", b"2"), file(b"z", b"2")])
    ),
)


def _same_piece_twice(c: Crafter) -> SnapshotReader:
    piece = c.piece([node(b"d"), file(b"d/f", b"1")])
    return c.snapshot(piece, piece)


_item("order: the same piece twice", _same_piece_twice)
_item(
    "order: a piece begins elsewhere",
    lambda c: c.snapshot(c.piece([file(b"a", b"1")]), firsts=[b"b"]),
)

# ---------------------------------------------------------------- types that contradict

_entries("type: file, then a file in it", file(b"d", b"x"), file(b"d/f", b"planted"))
_entries(
    "type: link to outside, then a file in it", link(b"d", b"../canary"), file(b"d/planted", b"x")
)
_entries(
    "type: link to outside, then a directory in it",
    link(b"d", b"../canary"),
    node(b"d/e"),
    file(b"d/e/planted", b"x"),
)
_entries("type: link to /, then a file in it", link(b"d", b"/"), file(b"d/drkeeper-planted", b"x"))
_entries(
    "type: link to proc root", link(b"d", b"/proc/self/root"), file(b"d/drkeeper-planted", b"x")
)
_entries("type: link to proc cwd", link(b"d", b"/proc/self/cwd"), file(b"d/drkeeper-planted", b"x"))
_entries("type: link to proc fd", link(b"d", b"/proc/self/fd/3"), file(b"d/drkeeper-planted", b"x"))
_entries("type: link to itself", link(b"d", b"d"), file(b"d/f", b"x"))
_entries("type: link to the target's parent", link(b"d", b".."), file(b"d/planted", b"x"))
_entries(
    "type: chain of links", link(b"a", b"b"), file(b"a/planted", b"x"), link(b"b", b"../canary")
)
_entries("type: FIFO, then a file in it", node(b"d", FileType.FIFO), file(b"d/f", b"x"))
_entries("type: unknown", Entry(b"f", 9, 0o644, 0, 0, 0, 0, 0, 0, 1, 0))
_entries("type: negative", Entry(b"f", -1, 0o644, 0, 0, 0, 0, 0, 0, 1, 0))
_entries("type: socket", node(b"s", FileType.SOCKET))
_entries("type: content of a directory", _with(file(b"d", b"x"), type=int(FileType.DIRECTORY)))
_entries("link: without target", link(b"l", b""))
_entries("link: NUL in target", link(b"l", b"a\0b"))
_entries("link: target of 10,000 bytes", link(b"l", b"t" * 10_000))
_entries("link: escapes in target", link(b"l", b"\x1b[2J\n"))
_entries("link: of impossibly many names", link(b"l", b"../canary/file", links=2**64 - 1))

# ---------------------------------------------------------------- hard links

_entries(
    "hard link: through a symbolic link",
    link(b"a", b"../canary/file", links=2, inode=5),
    link(b"b", b"../canary/file", links=2, inode=5),
)
_entries(
    "hard link: of a directory",
    node(b"a", links=2, inode=5),
    node(b"b", links=2, inode=5),
    file(b"b/f", b"x", links=2, inode=5),
)
_entries(
    "hard link: types contradict",
    link(b"a", b"../canary/file", links=2, inode=5),
    file(b"b", b"planted", links=2, inode=5),
)
_entries(
    "hard link: contents contradict",
    file(b"a", b"one", links=3, inode=5),
    file(b"b", b"two", links=3, inode=5),
    file(b"c", b"one", links=3, inode=5),
)
_entries(
    "hard link: more names than links",
    *[file(b"f%03d" % n, b"same", links=2, inode=5) for n in range(50)],
)
_entries(
    "hard link: a billion links",
    file(b"a", b"x", links=2**60, inode=5),
    file(b"b", b"x", links=2**60, inode=5),
)
_entries(
    "hard link: first one cannot be made",
    file(b"n" * 256, b"x", links=2, inode=5),
    file(b"z", b"x", links=2, inode=5),
)
_entries(
    "hard link: of devices",
    node(b"a", FileType.BLOCK, links=2, inode=5, extra=Extra(major=8)),
    node(b"b", FileType.BLOCK, links=2, inode=5, extra=Extra(major=8)),
)

# ---------------------------------------------------------------- what gives rights away

_entries("rights: set-user-id of root", file(b"sh", b"#!/bin/sh\n", mode=0o4755, uid=0, gid=0))
_entries("rights: set-group-id", file(b"sh", b"#!/bin/sh\n", mode=0o2755, uid=0, gid=0))
_entries("rights: all bits", file(b"sh", b"#!/bin/sh\n", mode=0o7777), node(b"t", mode=0o7777))
_entries("rights: mode out of range", file(b"sh", b"x", mode=0o100755))
_entries("rights: memory device", node(b"mem", FileType.CHARACTER, extra=Extra(major=1, minor=1)))
_entries("rights: disk", node(b"disk", FileType.BLOCK, mode=0o666, extra=Extra(major=8)))
_entries(
    "rights: impossible device",
    node(b"d", FileType.BLOCK, extra=Extra(major=2**32 - 1, minor=2**32 - 1)),
)
_entries(
    "rights: capability",
    file(
        b"c", b"x", extra=Extra(xattrs=((b"security.capability", b"\x01\0\0\x02" + b"\xff" * 16),))
    ),
)
_entries(
    "rights: trusted attribute",
    file(b"t", b"x", extra=Extra(xattrs=((b"trusted.overlay.opaque", b"y"),))),
)
_entries(
    "rights: label", file(b"l", b"x", extra=Extra(xattrs=((b"security.selinux", b"x:y:z:s0\0"),)))
)
_entries(
    "rights: integrity label", file(b"l", b"x", extra=Extra(xattrs=((b"security.ima", b"\x03"),)))
)
_entries(
    "rights: immutable",
    file(b"i", b"x", extra=Extra(fsflags=0x10)),
    node(b"j", extra=Extra(fsflags=0x30)),
)
_entries("rights: project", file(b"p", b"x", extra=Extra(project=7)))
_entries("rights: owner of all ones", file(b"o", b"x", uid=2**32 - 1, gid=2**32 - 1))
_entries("rights: owner too large", file(b"o", b"x", uid=2**40))
_entries("rights: negative owner", file(b"o", b"x", uid=-1))
_item(
    "rights: a stranger named root",
    lambda c: c.snapshot(
        msgspec.structs.replace(
            c.piece([file(b"o", b"x", uid=4242, gid=4242)]),
            users={4242: "root"},
            groups={4242: "root"},
        )
    ),
)
_item(
    "rights: owner with an impossible name",
    lambda c: c.snapshot(
        msgspec.structs.replace(
            c.piece([file(b"o", b"x", uid=4242)]), users={4242: "a\0b:c/../" + "n" * 10_000}
        )
    ),
)

# ---------------------------------------------------------------- extended attributes

_entries(
    "attributes: a bomb",
    file(
        b"x", b"x", extra=Extra(xattrs=tuple((b"user.%06d" % n, b"v" * 4000) for n in range(1000)))
    ),
)
_entries(
    "attributes: large value",
    file(b"x", b"x", extra=Extra(xattrs=((b"user.a", b"v" * 1_000_000),))),
)
_entries(
    "attributes: long name", file(b"x", b"x", extra=Extra(xattrs=((b"user." + b"n" * 1000, b"v"),)))
)
_entries("attributes: NUL in a name", file(b"x", b"x", extra=Extra(xattrs=((b"user.a\0b", b"v"),))))
_entries("attributes: no name", file(b"x", b"x", extra=Extra(xattrs=((b"", b"v"),))))
_entries(
    "attributes: unknown kind",
    file(b"x", b"x", extra=Extra(xattrs=((b"evil.a", b"v"), (b"system.b", b"v")))),
)
_entries(
    "attributes: twice",
    file(b"x", b"x", extra=Extra(xattrs=((b"user.a", b"v"), (b"user.a", b"w")))),
)
_entries(
    "attributes: broken ACL",
    file(b"x", b"x", extra=Extra(xattrs=((b"system.posix_acl_access", b"\xff" * 7),))),
)
_entries("attributes: on a link", link(b"l", b"../canary/file", mtime_ns=5))

# ---------------------------------------------------------------- sizes and holes

_entries("size: lies, longer", _with(file(b"f", b"x" * 100), size=200))
_entries("size: lies, shorter", _with(file(b"f", b"x" * 100), size=50))
_entries("size: negative", _with(file(b"f", b"x"), size=-1))
_entries("size: without content", node(b"f", FileType.FILE, size=2**50))
_entries("holes: 8 EiB", file(b"f", b"", size=2**63 - 1, extra=Extra(segments=())))
_entries("holes: 1 TiB", file(b"f", b"end!", size=2**40, extra=Extra(segments=((2**40 - 4, 4),))))
_entries("holes: data beyond the end", file(b"f", b"data", size=2, extra=Extra(segments=((0, 4),))))
_entries(
    "holes: overlapping", file(b"f", b"datadata", size=8, extra=Extra(segments=((0, 4), (2, 4))))
)
_entries("holes: negative offset", file(b"f", b"data", size=8, extra=Extra(segments=((-4, 4),))))
_entries(
    "holes: five thousand runs",
    file(
        b"f",
        b"x" * 5000,
        size=10**9,
        extra=Extra(segments=tuple((n * 10_000, 1) for n in range(5000))),
    ),
)
_entries(
    "space: a petabyte by declaration",
    *[node(b"f%d" % n, FileType.FILE, size=2**50, digest=bytes(32)) for n in range(3)],
)
_entries("digest: of something else", _with(file(b"f", b"hello"), digest=digest(b"other")))
_entries("digest: short", _with(file(b"f", b"hello"), digest=b"short"))
_entries("times: far future", node(b"d", mtime_ns=2**63 - 1), file(b"f", b"x", mtime_ns=2**63 - 1))
_entries(
    "times: far past",
    file(b"f", b"x", mtime_ns=-(2**63) + 1),
    link(b"l", b"x", mtime_ns=-(2**63) + 1),
)
_entries("times: beyond 63 bits", file(b"f", b"x", mtime_ns=2**63))
_entries(
    "flags: unreadable with content", file(b"f", b"x", extra=Extra(flags=int(EntryFlag.UNREADABLE)))
)
_entries("flags: all", file(b"f", b"x", extra=Extra(flags=2**31 - 1)))
_entries(
    "flags: continued by nothing", file(b"f", b"x", extra=Extra(flags=int(EntryFlag.CONTINUED)))
)
_entries(
    "flags: continued by something else",
    file(b"f", b"x", extra=Extra(flags=int(EntryFlag.CONTINUED))),
    file(b"g", b"y"),
)
_entries(
    "flags: continued as a directory",
    file(b"f", b"x", extra=Extra(flags=int(EntryFlag.CONTINUED))),
    node(b"f"),
)
_entries(
    "flags: a continued directory",
    node(b"f", extra=Extra(flags=int(EntryFlag.CONTINUED))),
    node(b"f"),
    file(b"f/g", b"y"),
)
_item(
    "flags: continued without end",
    lambda c: c.snapshot(
        *[
            c.piece(
                [_with(file(b"f", b"x"), size=10**6, extra=Extra(flags=int(EntryFlag.CONTINUED)))]
            )
            for _ in range(40)
        ]
    ),
)

# ---------------------------------------------------------------- chunks that lie


def _chunk(
    name: str, change: Callable[[ChunkRef], ChunkRef], content: bytes = b"hello" * 100
) -> None:
    def make(c: Crafter) -> SnapshotReader:
        ref = change(c.pack([content])[0])
        entry = node(
            b"f",
            FileType.FILE,
            size=len(content),
            digest=digest(content),
            extents=(0, 0, len(content)),
        )
        return c.snapshot(c.tables([entry, file(b"g")[0]], [ref]))

    _item(name, make)


_chunk("chunk: longer than declared", lambda ref: ref._replace(plain=ref.plain - 1))
_chunk("chunk: shorter than declared", lambda ref: ref._replace(plain=ref.plain + 1))
_chunk("chunk: plain length of 0", lambda ref: ref._replace(plain=0))
_chunk("chunk: plain length of 5 MiB", lambda ref: ref._replace(plain=5 * CHUNK))
_chunk("chunk: stored outside the pack", lambda ref: ref._replace(offset=2**25))
_chunk("chunk: stored beyond any pack", lambda ref: ref._replace(offset=2**62))
_chunk("chunk: negative offset", lambda ref: ref._replace(offset=-1))
_chunk("chunk: unknown codec", lambda ref: ref._replace(codec=7))
_chunk(
    "chunk: raw, called compressed",
    lambda ref: ref._replace(codec=int(Codec.ZSTD)),
    os.urandom(500),
)
_chunk("chunk: compressed, called raw", lambda ref: ref._replace(codec=0))
_chunk("chunk: another id", lambda ref: ref._replace(id=bytes(32)))
_chunk("chunk: short id", lambda ref: ref._replace(id=b"short"))
_chunk("chunk: missing pack", lambda ref: ref._replace(pack=b"m" * 16))
_chunk("chunk: pack of another session", lambda ref: ref._replace(session=b"s" * 16))
_chunk("chunk: short pack id", lambda ref: ref._replace(pack=b"short"))


def _bomb(c: Crafter) -> SnapshotReader:
    stored = c.compressor.encode(bytes(60 * CHUNK))[1]
    name = os.urandom(16)
    c.put_pack(name, bytes(stored))
    ref = ChunkRef(
        b"\0" * 16, name, 0, len(stored), 4 * CHUNK, 1, keyed(c.domain.chunk_key, bytes(4 * CHUNK))
    )._replace(session=bytes(range(16)))
    entry = node(
        b"f",
        FileType.FILE,
        size=4 * CHUNK,
        digest=digest(bytes(4 * CHUNK)),
        extents=(0, 0, 4 * CHUNK),
    )
    return c.snapshot(c.tables([entry], [ref]))


_item("chunk: decompression bomb", _bomb)


def _extents(name: str, extents: Sequence[int]) -> None:
    def make(c: Crafter) -> SnapshotReader:
        refs = c.pack([b"hello" * 100])
        entry = node(
            b"f", FileType.FILE, size=500, digest=digest(b"hello" * 100), extents=tuple(extents)
        )
        return c.snapshot(c.tables([entry], refs))

    _item(name, make)


_extents("extent: outside its chunk", (0, 400, 500))
_extents("extent: negative offset", (0, -1, 500))
_extents("extent: length of 0", (0, 0, 0))
_extents("extent: negative length", (0, 0, -500))
_extents("extent: unknown chunk", (1, 0, 500))
_extents("extent: negative chunk", (-1, 0, 500))
_extents("extent: not a triple", (0, 0))
_extents("extent: too many", (0, 0, 1) * 5000)
_extents("extent: huge numbers", (0, 2**63, 2**63))

# ---------------------------------------------------------------- pieces and roots that lie

_item("piece: no piece at all", lambda c: c.snapshot(b"\xc1nonsense", firsts=[b"a"]))
_item(
    "piece: no entries",
    lambda c: c.snapshot(pieces.encode(Piece({}, {}, [], [], [])), firsts=[b"a"]),
)
_item("piece: deep nesting", lambda c: c.snapshot(b"\x91" * 100_000, firsts=[b"a"]))
_item(
    "piece: array of four billion",
    lambda c: c.snapshot(b"\x95\x80\x80\x90\x90\xdd\xff\xff\xff\xff", firsts=[b"a"]),
)
_item(
    "piece: bytes after the end",
    lambda c: c.snapshot(pieces.encode(c.piece([file(b"a", b"1")])) + b"x", firsts=[b"a"]),
)
_item(
    "piece: huge tables",
    lambda c: c.snapshot(
        msgspec.structs.replace(
            c.piece([file(b"a", b"1")]), users=dict.fromkeys(range(100000), "u" * 20)
        )
    ),
)
_item("root: no pieces", lambda c: c.snapshot())
_item(
    "root: a partial one that calls itself complete",
    lambda c: c.snapshot(c.piece([file(b"a", b"1")]), complete=False),
)


def _other_domain(c: Crafter) -> SnapshotReader:
    """Every piece under a digest of another domain."""
    piece = c.piece([file(b"a", b"1")])
    c.domain = type(c.domain)(b"E" * 32)
    return c.snapshot(piece, domain=b"F" * 32)


_item("root: another domain", _other_domain)

# ---------------------------------------------------------------- something to swap while it lasts


def _wide(number: int) -> None:
    items: list[Entry | tuple[Entry, bytes]] = []
    for at in range(150):
        name = b"%03d" % at
        items += [
            node(name),
            file(name + b"/planted", b"x" * 100),
            file(name + b"/file", b"same", links=150, inode=9),
            link(name + b"/link", b"../../canary"),
            node(name + b"/inner"),
            file(name + b"/inner/file", b"y" * 100, mode=0o600),
        ]
    ordered = in_order(items)
    _item(f"type: wide tree {number}", lambda c: c.snapshot(c.piece(ordered)))


for _number in range(4):
    _wide(_number)
