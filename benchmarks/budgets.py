"""What drkeeper has promised itself, and whether a measured figure keeps it."""

from dataclasses import dataclass

FIRST, SAME, CHANGED = "first backup", "no change", "1 % change"
WARM, COLD = "restore", "restore, cold store"

FASTER = {
    ("large", FIRST): 3.0,
    ("text", FIRST): 2.0,
    ("small", FIRST): 2.0,
    ("small", SAME): 3.0,
    ("large", CHANGED): 2.0,
    ("text", CHANGED): 2.0,
    ("small", CHANGED): 2.0,
    ("large", WARM): 1.5,
    ("large", COLD): 1.5,
    ("text", WARM): 1.5,
    ("text", COLD): 1.5,
    ("small", WARM): 1.3,
    ("small", COLD): 1.3,
}
"""Least ratio of the best peer's time to drkeeper's, by data and step."""

MEMORY = 1.5
"""Most peak memory, as a part of restic's."""

STORED = {"text": 1.03}
"""Most stored bytes, as a part of restic's, by data."""

START_S = 0.15
"""Most seconds of ``drkeeper --help``."""

MILLION_MIB = 512
"""Most peak memory with a million files, whatever the step."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A figure beside its budget.

    Attributes:
        what: Name of the figure.
        figure: As measured.
        budget: The bound, in the same unit.
        least: Whether the bound is the least (a speed) or the most (a size, a time) allowed.
    """

    what: str
    figure: float
    budget: float
    least: bool = False

    @property
    def met(self) -> bool:
        """Whether the figure keeps the budget."""
        return self.figure >= self.budget if self.least else self.figure <= self.budget

    @property
    def verdict(self) -> str:
        """Say it in words; a miss says by how much of the budget."""
        if self.met:
            return "met"
        return f"missed by {abs(self.figure / self.budget - 1):.1%}"
