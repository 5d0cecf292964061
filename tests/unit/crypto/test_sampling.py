"""Samples that nobody picks."""

from collections import Counter

import pytest
from blake3 import blake3

from drkeeper.crypto.sampling import draw, sample_seed

ROOT = bytes(range(32))


def test_the_seed_follows_from_checkpoint_and_drill():
    """It can be computed from docs/ledger.md alone; these bytes are frozen."""
    spelt = b"drkeeper/v1/drill seed\0" + ROOT + (7).to_bytes(8, "big")
    assert sample_seed(ROOT, 7) == blake3(spelt).digest()
    assert sample_seed(ROOT, 7) not in {sample_seed(ROOT, 8), sample_seed(ROOT[::-1], 7)}
    with pytest.raises(ValueError, match="32 bytes"):
        sample_seed(b"", 7)


def test_the_same_seed_draws_the_same_sample():
    """Drawn numbers are different from each other, below the bound, and the same for everybody."""
    seed = sample_seed(ROOT, 7)
    drawn = draw(seed, 100, 20)
    assert drawn == draw(seed, 100, 20)
    assert draw(seed, 100, 5) == drawn[:5]
    assert len(set(drawn)) == 20
    assert all(0 <= each < 100 for each in drawn)
    assert sorted(draw(seed, 9, 9)) == [*range(9)]
    assert draw(seed, 0, 0) == []
    with pytest.raises(ValueError, match="more than there is"):
        draw(seed, 3, 4)


def test_no_number_is_favoured():
    """Over many drills every point of seven is drawn about as often."""
    found = Counter(draw(sample_seed(ROOT, each), 7)[0] for each in range(7000))
    assert all(850 < found[each] < 1150 for each in range(7))
