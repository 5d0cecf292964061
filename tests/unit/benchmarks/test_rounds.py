"""How a round takes the tools through its steps."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from benchmarks import data
from benchmarks.budgets import CHANGED, COLD, FIRST, SAME, WARM
from benchmarks.measure import Measured
from benchmarks.rounds import Round, Rubbish

TOOK = Measured(1.0, 1.0, 0.0, 1.0)


@dataclass
class Copying:
    """A backup program that copies; ``loses`` makes it restore one file too few."""

    work: Path
    name: str
    loses: bool = False
    seen: list[bytes] = field(default_factory=list)

    @property
    def repository(self):
        return self.work / "repository"

    def init(self):
        self.work.mkdir(parents=True)

    def back_up(self, tree):
        self.seen.append(b"".join(Path(path).read_bytes() for path in sorted(data.files(tree))))
        shutil.copytree(tree, self.repository, dirs_exist_ok=True)
        return TOOK

    def restore(self, target):
        shutil.copytree(self.repository, target)
        if self.loses:
            next(p for p in target.rglob("*") if p.is_file()).unlink()
        return TOOK


@pytest.fixture
def tree(tmp_path):
    data.make_large(tmp_path / "tree", 4 * data.MIB, 1)
    return tmp_path / "tree"


def round_of(tmp_path, tree, samples, *, number=0):
    steps = (FIRST, SAME, CHANGED, WARM, COLD)
    return Round(
        "large", tree, number, steps, tmp_path / "work", Rubbish(), samples.append, lambda _: None
    )


def test_the_tools_alternate_and_take_turns_to_begin(tmp_path, tree):
    """No tool always comes first, and none does two steps in a row."""
    order = []
    for number in (0, 1):
        samples = []
        tools = [Copying(tmp_path / str(number) / "work" / name, name) for name in ("a", "b")]
        this = round_of(tmp_path / str(number), tree, samples, number=number)
        this.run(tools)
        order.append("".join(s.tool for s in samples))
        this.rubbish.remove()
    assert order == ["ab" * 5, "ba" * 5]


def test_every_tool_sees_the_same_three_states(tmp_path, tree):
    """First, unchanged, changed by one per cent: the same for all."""
    tools = [Copying(tmp_path / "work" / name, name) for name in ("a", "b")]
    round_of(tmp_path, tree, []).run(tools)
    first, same, changed = tools[0].seen
    assert tools[1].seen == [first, same, changed]
    assert first == same
    assert first != changed


def test_a_restore_that_lost_something_is_no_sample(tmp_path, tree):
    """A fast restore of less than everything ends the benchmark."""
    samples = []
    with pytest.raises(SystemExit, match="a restored something else"):
        round_of(tmp_path, tree, samples).run([Copying(tmp_path / "work" / "a", "a", loses=True)])
    assert [s.step for s in samples] == [FIRST, SAME, CHANGED]


def test_stored_bytes_and_what_stayed_in_the_cache_are_noted(tmp_path, tree):
    """The size of the repository comes with the first backup, the cache with the cold restore."""
    samples = []
    round_of(tmp_path, tree, samples).run([Copying(tmp_path / "work" / "a", "a")])
    assert samples[0].stored_bytes == 4 * data.MIB
    assert [s.left_in_cache_bytes is None for s in samples] == [True] * 4 + [False]


def test_what_a_round_leaves_is_removed_afterwards(tmp_path, tree):
    """Nothing is deleted between measurements, and nothing stays after the round."""
    this = round_of(tmp_path, tree, [])
    this.run([Copying(tmp_path / "work" / "a", "a")])
    assert len(list((tmp_path / "work").iterdir())) == 3  # a repository, and two restores
    this.rubbish.remove()
    assert list(tmp_path.iterdir()) == [tree]


def test_trees_are_the_same_every_time(tmp_path):
    """Two runs, or two machines, back up the same bytes."""
    for name in ("one", "two"):
        data.make_text(tmp_path / name / "text", 256 * 1024, 2)
        data.make_small(tmp_path / name / "small", 120, 3)
        data.change(tmp_path / name / "small", 100)
    one, two = (
        [Path(p).read_bytes() for p in sorted(data.files(tmp_path / n))] for n in ("one", "two")
    )
    assert one == two
    assert len(one) == 124


def test_what_is_left_gives_back_its_room_and_keeps_its_inodes_until_the_end(tmp_path):
    """Freed inodes would slow the rounds that follow; files that may not be written are no obstacle."""
    left = tmp_path / "left"
    (left / "deep").mkdir(parents=True)
    for name in ("one", "deep/two"):
        (left / name).write_bytes(b"x" * 10_000)
        (left / name).chmod(0o400)
    rubbish = Rubbish()
    rubbish.leave(left)
    rubbish.empty()
    assert [(left / name).stat().st_size for name in ("one", "deep/two")] == [0, 0]
    rubbish.empty()
    rubbish.remove()
    assert not left.exists()
