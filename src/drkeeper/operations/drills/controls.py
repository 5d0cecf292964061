"""Negative controls: the probes of a drill, put to data that is wrong on purpose."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from drkeeper.errors import DrkeeperError
from drkeeper.model.drill import ControlResult, Outcome, ProbeResult
from drkeeper.model.entry import Entry
from drkeeper.model.instants import exact_rfc3339
from drkeeper.model.probes import FileProbe, Probes
from drkeeper.operations.drills.comparing import Comparison
from drkeeper.operations.drills.expecting import Expected
from drkeeper.operations.drills.planting import Target, is_target, planted, targets
from drkeeper.operations.drills.probing import Questions
from drkeeper.operations.drills.running import Engine

STALE_POINT: Final = "stale-point"
NOTHING_THERE: Final = "nothing-there"

_LATER: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Controls:
    """The negative controls of one drill.

    Attributes:
        seed: Of the drill's sample.
        root: The restored tree, where the probes have passed.
        aside: A directory beside it, empty.
        expected: What the manifest says.
        comparison: The probe of the bytes.
        engine: The probes of the kind of source, if it has any.
        questions: The policy's own probes.
        subjects: Paths that the engine is about; a fault goes into one of these.
        consistent_at: The instant that the data was said to describe.
        newest_instant: Up to when everything is in it, if the engine can tell.
    """

    seed: bytes
    root: Path
    aside: Path
    expected: Expected
    comparison: Comparison
    engine: Engine | None
    questions: Questions
    subjects: frozenset[bytes]
    consistent_at: datetime
    newest_instant: datetime | None

    def run(self) -> Iterator[ControlResult]:
        """Run them all, one after the other.

        Raises:
            DrkeeperError: The manifest can no longer be read.
        """
        for target in targets(self.seed, self.expected.entries(self._may_be_damaged)):
            yield self._planted(target)
        if self.engine is not None and self.newest_instant is not None:
            yield self._stale(self.engine, self.newest_instant + _LATER)
        asked = vacuous_without_data(self.questions.probes)
        if len(asked):
            yield self._nothing_there(asked)

    def _may_be_damaged(self, entry: Entry) -> bool:
        return is_target(entry) and (not self.subjects or entry.path in self.subjects)

    def _planted(self, target: Target) -> ControlResult:
        try:
            with planted(target, self.root, self.aside / "moved") as detail:
                asked = [self.comparison.compare(self.root, (target.entry.path,))]
                if self.engine is not None:
                    asked += self._engine_says(self.engine, self.consistent_at)
        except (DrkeeperError, OSError) as error:
            return ControlResult(target.fault, Outcome.BROKEN, (), f"{target.shown}: {error}")
        return _caught(target.fault, asked, detail)

    def _stale(self, engine: Engine, later: datetime) -> ControlResult:
        """Say that the data should be of a later instant than it is."""
        detail = f"the data was presented as that of {exact_rfc3339(later)}"
        try:
            asked = self._engine_says(engine, later)
        except DrkeeperError as error:
            return ControlResult(STALE_POINT, Outcome.BROKEN, (), str(error))
        return _caught(STALE_POINT, asked, detail)

    def _nothing_there(self, asked: Probes) -> ControlResult:
        """Put the policy's probes to an empty tree: each must see that its data is not there."""
        nothing = self.aside / "nothing"
        nothing.mkdir(mode=0o700)
        questions = Questions(
            asked, self.questions.scratch, self.questions.clock, self.questions.declared_at
        )
        results = list(questions.ask(nothing))
        blind = [each.name for each in results if each.outcome is Outcome.PASSED]
        caught = tuple(each.name for each in results if each.outcome is Outcome.FAILED)
        if blind:
            detail = f"without any data, these passed all the same: {', '.join(blind)}"
            return ControlResult(NOTHING_THERE, Outcome.FAILED, caught, detail)
        broken = len(caught) < len(results)
        outcome = Outcome.BROKEN if broken else Outcome.PASSED
        return ControlResult(NOTHING_THERE, outcome, caught, "the tree was empty")

    def _engine_says(self, engine: Engine, consistent_at: datetime) -> list[ProbeResult]:
        with engine.running(self.root, consistent_at) as running:
            return list(engine.ask(running))


def vacuous_without_data(probes: Probes) -> Probes:
    """Return the probes that must not pass where nothing was restored."""
    there: Callable[[FileProbe], bool] = lambda probe: probe.exists  # noqa: E731 - for the type
    return Probes(probes.commands, probes.queries, tuple(filter(there, probes.files)))


def _caught(fault: str, asked: list[ProbeResult], detail: str) -> ControlResult:
    by = tuple(each.name for each in asked if each.outcome is Outcome.FAILED)
    if by:
        return ControlResult(fault, Outcome.PASSED, by, detail)
    broken = any(each.outcome is Outcome.BROKEN for each in asked)
    return ControlResult(fault, Outcome.BROKEN if broken else Outcome.FAILED, (), detail)
