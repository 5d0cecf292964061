"""The tree of RFC 6962, against the roots that other implementations publish for it."""

import random

import pytest

from drkeeper.crypto.merkle import (
    EMPTY,
    Proofs,
    Tree,
    leaf_hash,
    node_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from drkeeper.errors import IntegrityError

LEAVES = [
    bytes.fromhex(text)
    for text in (
        *("", "00", "10", "2021", "3031", "40414243"),
        *("5051525354555657", "606162636465666768696a6b6c6d6e6f"),
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
"""Roots of the first 0 to 8 leaves, as the tests of Certificate Transparency logs have them."""

HASHES = [leaf_hash(b"%d" % number) for number in range(40)]


def test_roots_are_those_of_other_implementations():
    """The published leaves have the published roots, at every size."""
    for size, root in enumerate(ROOTS):
        assert root_of([*map(leaf_hash, LEAVES[:size])]).hex() == root
        assert Proofs([*map(leaf_hash, LEAVES)]).root(size).hex() == root


def test_a_tree_goes_on_from_its_state():
    """Root and growth of a tree that was put away are those of the tree itself."""
    for size in range(len(HASHES)):
        kept = Tree(HASHES[:size])
        tree = Tree.resumed(size, kept.state())
        assert tree.root == kept.root
        for leaf in HASHES[size:]:
            tree.add(leaf)
        assert tree.root == root_of(HASHES)
    with pytest.raises(IntegrityError):
        Tree.resumed(3, bytes(32))


def test_every_leaf_is_proven_in_every_tree():
    """Inclusion proofs hold for their leaf, place, size and root, and for nothing else."""
    proofs = Proofs(HASHES)
    for size in range(1, 20):
        root = proofs.root(size)
        for index in range(size):
            proof = proofs.inclusion(index, size)
            verify_inclusion(HASHES[index], index, size, proof=proof, root=root)
            for wrong in (
                (HASHES[index + 1], index, size, proof, root),
                (HASHES[index], (index + 1) % (size + 1), size, proof, root),
                (HASHES[index], index, size, [*proof, root], root),
                (HASHES[index], index, size, proof, EMPTY),
            ):
                with pytest.raises(IntegrityError):
                    verify_inclusion(*wrong[:3], proof=wrong[3], root=wrong[4])


def test_every_tree_is_proven_to_continue_the_smaller_ones():
    """Consistency proofs hold between any two sizes, and for no other root."""
    proofs = Proofs(HASHES)
    for new in range(20):
        for old in range(new + 1):
            roots = {"old_root": proofs.root(old), "new_root": proofs.root(new)}
            proof = proofs.consistency(old, new)
            verify_consistency(old, new, proof=proof, **roots)
            for name in roots:
                if old or name == "old_root":
                    with pytest.raises(IntegrityError):
                        verify_consistency(
                            old, new, proof=proof, **(roots | {name: HASHES[0][::-1]})
                        )
            with pytest.raises(IntegrityError):
                verify_consistency(old, new, proof=[*proof, HASHES[0]], **roots)
            if proof:
                with pytest.raises(IntegrityError):
                    verify_consistency(old, new, proof=proof[:-1], **roots)


def test_a_changed_past_is_not_consistent():
    """No proof between sizes of one tree holds for the root of another history of that size."""
    chance = random.Random(1)
    for _ in range(50):
        new = chance.randrange(2, len(HASHES))
        old = chance.randrange(1, new)
        forged = HASHES[:new]
        forged[chance.randrange(old)] = leaf_hash(b"forged")
        proof = Proofs(forged).consistency(old, new)
        with pytest.raises(IntegrityError):
            verify_consistency(
                old, new, proof=proof, old_root=root_of(HASHES[:old]), new_root=root_of(forged)
            )


def test_a_node_cannot_pass_for_a_leaf():
    """The bytes of two hashes, taken as a leaf, do not have the hash of the node above them."""
    assert leaf_hash(HASHES[0] + HASHES[1]) != node_hash(HASHES[0], HASHES[1])


@pytest.mark.parametrize("sizes", [(2, 1), (-1, 2), (1, 41)])
def test_proofs_are_made_for_trees_that_there_are(sizes):
    """What cannot be proven is refused, not answered."""
    with pytest.raises(ValueError, match="no trees"):
        Proofs(HASHES).consistency(*sizes)
    with pytest.raises(ValueError, match="no such leaf"):
        Proofs(HASHES).inclusion(max(sizes), min(sizes))
    with pytest.raises(ValueError, match="no tree"):
        Proofs(HASHES).root(41)
