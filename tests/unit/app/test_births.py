"""Making a repository: the recovery kit is in somebody's hands before there is a repository."""

import pytest

from drkeeper.app.config.configuration import RepositorySettings
from drkeeper.app.wiring.births import Wishes, end_birth, make_repository
from drkeeper.app.wiring.kit import parse_kit
from drkeeper.clock import SystemClock
from drkeeper.errors import ConfigurationError


class Hands:
    """Takes what is shown and said."""

    def __init__(self, store, *, drops=False):
        self.store = store
        self.drops = drops
        self.kits = []
        self.said = []

    def show(self, kit):
        """Take the kit, and remember whether there was a repository."""
        assert not (self.store / "journal").exists(), "shown too late"
        if self.drops:
            raise KeyboardInterrupt
        self.kits.append(kit)


@pytest.fixture
def make(tmp_path):
    """Return a function that makes a repository and shows its kit."""
    settings = RepositorySettings("primary", str(tmp_path / "store"), tmp_path / "keys")

    def made(hands, **wishes):
        wanted = Wishes(settings, show=hands.show, **wishes)
        return make_repository(wanted, tmp_path / "state", SystemClock(), hands.said.append)

    return made


def test_the_kit_is_shown_before_there_is_a_repository(make, tmp_path):
    """Whoever is cut off has a kit that opens nothing, never a repository without a kit."""
    hands = Hands(tmp_path / "store")
    birth = make(hands)
    end_birth(birth)
    assert [parse_kit(kit.encode()).repository for kit in hands.kits] == [birth.repository]
    assert not birth.taken_up


def test_a_kit_that_could_not_be_shown_leaves_nothing_behind(make, tmp_path):
    """No repository, no keys; the next call begins anew."""
    with pytest.raises(KeyboardInterrupt):
        make(Hands(tmp_path / "store", drops=True))
    assert list((tmp_path / "keys").iterdir()) == []
    hands = Hands(tmp_path / "store")
    end_birth(make(hands))
    assert len(hands.kits) == 1


def test_a_call_that_was_cut_off_is_taken_up(make, tmp_path):
    """The second call uses the keys that are there, and shows no second kit."""
    first, second = Hands(tmp_path / "store"), Hands(tmp_path / "store")
    before = make(first)  # and cut off before end_birth
    keys = {path.name: path.read_bytes() for path in (tmp_path / "keys").glob("*.key")}
    birth = make(second)
    end_birth(birth)
    assert birth.taken_up
    assert birth.repository == before.repository
    assert second.kits == []
    assert keys == {path.name: path.read_bytes() for path in (tmp_path / "keys").glob("*.key")}
    assert not (tmp_path / "keys" / "unfinished").exists()


def test_a_kit_is_not_promised_a_second_time(make, tmp_path):
    """Asked for a file after the kit was shown, the error says what to do instead."""
    make(Hands(tmp_path / "store"))
    with pytest.raises(ConfigurationError, match="showed its recovery kit") as caught:
        make(Hands(tmp_path / "store"), kit_file=tmp_path / "kit")
    assert "--kit-file -" in caught.value.hint
