"""The Merkle tree of RFC 6962: one hash for a whole log, and short proofs about it.

Pure: hashes in, hashes out. A leaf is hashed behind a zero byte and a node behind a one, so that no
leaf can pass for a node. Indexes count from 0, sizes are numbers of leaves.

Source: RFC 6962 section 2.1; the verifying side is RFC 9162 sections 2.1.3.2 and 2.1.4.2.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final

from drkeeper.errors import IntegrityError

HASH_BYTES: Final = 32
"""Length of every hash here. Source: RFC 6962 section 2.1, SHA-256."""

EMPTY: Final = sha256(b"").digest()
"""Root of the tree without leaves. Source: RFC 6962 section 2.1."""


def leaf_hash(data: bytes) -> bytes:
    """Hash what stands at a leaf."""
    return sha256(b"\0" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two subtrees into the one above them."""
    return sha256(b"\1" + left + right).digest()


class Tree:
    """A tree that grows at its end, as few hashes: those of its full subtrees.

    Args:
        leaves: Hashes of the first leaves.
    """

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        self.size = 0
        self._full: list[bytes] = []
        for leaf in leaves:
            self.add(leaf)

    def add(self, leaf: bytes) -> None:
        """Take one more leaf, given its hash."""
        self.size += 1
        top, rest = leaf, self.size
        while rest % 2 == 0:  # a subtree of each size at most, as the bits of a number
            top = node_hash(self._full.pop(), top)
            rest //= 2
        self._full.append(top)

    def state(self) -> bytes:
        """Return what :meth:`resumed` needs besides the size: a hash for each bit that is set in it."""
        return b"".join(self._full)

    @classmethod
    def resumed(cls, size: int, state: bytes) -> "Tree":
        """Go on with a tree from where :meth:`state` was taken.

        Raises:
            IntegrityError: It is no state of a tree of this size.
        """
        if size < 0 or len(state) != HASH_BYTES * size.bit_count():
            raise IntegrityError("state of a Merkle tree is damaged", size=size)
        tree = cls()
        tree.size = size
        tree._full = [state[at : at + HASH_BYTES] for at in range(0, len(state), HASH_BYTES)]
        return tree

    @property
    def root(self) -> bytes:
        """The hash of all leaves so far."""
        if not self._full:
            return EMPTY
        top = self._full[-1]
        for left in reversed(self._full[:-1]):
            top = node_hash(left, top)
        return top


def root_of(leaves: Sequence[bytes]) -> bytes:
    """Return the root over the hashes of leaves."""
    return Tree(leaves).root


class Proofs:
    """Makes proofs about a tree whose leaves are all at hand.

    Each full subtree is hashed once, so that proofs of all leaves cost little more than one.

    Args:
        leaves: Hashes of the leaves.
    """

    def __init__(self, leaves: Sequence[bytes]) -> None:
        self.size = len(leaves)
        self._levels = [list(leaves)]
        while len(below := self._levels[-1]) > 1:
            pairs = zip(below[::2], below[1::2], strict=False)
            self._levels.append([node_hash(left, right) for left, right in pairs])

    def root(self, size: int) -> bytes:
        """Return the root that the tree had at ``size``.

        Raises:
            ValueError: The tree is smaller.
        """
        if not 0 <= size <= self.size:
            raise ValueError("no tree of this size")
        return self._hash(0, size) if size else EMPTY

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """Prove that leaf ``index`` is in the tree of ``size``; lowest hash first.

        Raises:
            ValueError: It is not.

        Source:
            RFC 6962 section 2.1.1.
        """
        if not 0 <= index < size <= self.size:
            raise ValueError("no such leaf in a tree of this size")
        proof, begin, end = [], 0, size
        while end - begin > 1:
            cut = begin + _cut(end - begin)
            if index < cut:
                proof.append(self._hash(cut, end))
                end = cut
            else:
                proof.append(self._hash(begin, cut))
                begin = cut
        return proof[::-1]

    def consistency(self, old: int, new: int) -> list[bytes]:
        """Prove that the tree of ``new`` begins with the tree of ``old``; lowest hash first.

        Raises:
            ValueError: A size is none of this tree's.

        Source:
            RFC 6962 section 2.1.2.
        """
        if not 0 <= old <= new <= self.size:
            raise ValueError("no trees of these sizes")
        if old in {0, new}:
            return []
        proof, begin, end = [], 0, new
        while end != old:
            cut = begin + _cut(end - begin)
            if old <= cut:
                proof.append(self._hash(cut, end))
                end = cut
            else:
                proof.append(self._hash(begin, cut))
                begin = cut
        if begin:  # the verifier knows the old root itself, but not this part of it
            proof.append(self._hash(begin, end))
        return proof[::-1]

    def _hash(self, begin: int, end: int) -> bytes:
        """Hash the subtree over leaves ``begin`` to ``end``, which RFC 6962 would make."""
        width = end - begin
        if width & (width - 1) == 0:
            return self._levels[width.bit_length() - 1][begin // width]
        cut = begin + _cut(width)
        return node_hash(self._hash(begin, cut), self._hash(cut, end))


def verify_inclusion(
    leaf: bytes, index: int, size: int, *, proof: Sequence[bytes], root: bytes
) -> None:
    """Return when ``proof`` shows that the hash ``leaf`` is at ``index`` of the tree.

    Raises:
        IntegrityError: It does not.

    Source:
        RFC 9162 section 2.1.3.2.
    """
    sides = _sides(index, size - 1, len(proof)) if 0 <= index < size else None
    top = leaf
    for step, left in zip(proof, sides or (), strict=False):
        top = node_hash(step, top) if left else node_hash(top, step)
    if sides is None or not _are_hashes([leaf, *proof]) or top != root:
        raise IntegrityError("leaf is not in the tree", index=index, size=size)


def verify_consistency(
    old: int, new: int, *, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Return when ``proof`` shows that the new tree begins with the old one.

    Raises:
        IntegrityError: It does not.

    Source:
        RFC 9162 section 2.1.4.2.
    """
    if not _consistent(old, new, (old_root, new_root), list(proof)):
        raise IntegrityError("tree does not continue the older one", old=old, new=new)


def _consistent(old: int, new: int, roots: tuple[bytes, bytes], proof: list[bytes]) -> bool:
    if not 0 <= old <= new or not _are_hashes([*roots, *proof]):
        return False
    if old in {0, new}:
        return roots[0] == (roots[1] if old == new else EMPTY) and not proof
    if old & (old - 1) == 0:
        proof = [roots[0], *proof]
    place, last = old - 1, new - 1
    while place % 2:
        place, last = place // 2, last // 2
    sides = _sides(place, last, len(proof) - 1) if proof else None
    if sides is None:
        return False
    first = second = proof[0]
    for step, left in zip(proof[1:], sides, strict=True):
        if left:
            first, second = node_hash(step, first), node_hash(step, second)
        else:
            second = node_hash(second, step)
    return (first, second) == roots


def _sides(place: int, last: int, steps: int) -> list[bool] | None:
    """Say of each step from ``place`` to the root whether its sibling is on the left.

    ``None`` when the way has not just so many steps.
    """
    sides = []
    for _ in range(steps):
        if not last:
            return None
        left = place % 2 == 1 or place == last
        while left and place % 2 == 0 and place:  # levels at which the right edge has no sibling
            place, last = place // 2, last // 2
        sides.append(left)
        place, last = place // 2, last // 2
    return None if last else sides


def _are_hashes(values: Sequence[bytes]) -> bool:
    return all(len(value) == HASH_BYTES for value in values)


def _cut(width: int) -> int:
    """Return the largest power of two below ``width``, where RFC 6962 splits a tree."""
    return 1 << (width - 1).bit_length() - 1
