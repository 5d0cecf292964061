"""Samples, the medians made of them, and the two files that show both."""

import json
import os
import statistics
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.budgets import (
    CHANGED,
    COLD,
    FASTER,
    FIRST,
    MEMORY,
    MILLION_MIB,
    SAME,
    START_S,
    STORED,
    WARM,
    Judged,
)
from benchmarks.measure import Measured

DATA = ("start", "large", "text", "small", "s3-large", "s3-small", "million")
STEPS = ("--help", FIRST, SAME, CHANGED, WARM, COLD)
TOOLS = ("drkeeper", "restic", "borg")


@dataclass(frozen=True, slots=True)
class Sample:
    """One measured run of one tool.

    Attributes:
        data: Name of the tree.
        step: What was done with it.
        tool: Who did it.
        number: Of the round.
        took: What it took.
        stored_bytes: Size of the repository after a first backup into a folder.
        left_in_cache_bytes: What the page cache still held of the repository before a restore from
            a cold store; above 0, the store was not cold.
    """

    data: str
    step: str
    tool: str
    number: int
    took: Measured
    stored_bytes: int | None = None
    left_in_cache_bytes: int | None = None


def _wall(sample: Sample) -> float:
    return sample.took.wall_s


def _cpu(sample: Sample) -> float:
    return sample.took.cpu_s


def _peak(sample: Sample) -> float:
    return sample.took.peak_mib


def _stored(sample: Sample) -> float | None:
    return sample.stored_bytes


@dataclass(frozen=True, slots=True)
class Row:
    """The samples of one step on one tree, by tool."""

    data: str
    step: str
    samples: dict[str, list[Sample]]

    def median(self, tool: str, figure: Callable[[Sample], float | None]) -> float | None:
        """Return the median of one figure of one tool; ``None`` when it was not measured."""
        figures = [figure(sample) for sample in self.samples.get(tool, [])]
        measured = [value for value in figures if value is not None]
        return statistics.median(measured) if measured else None

    @property
    def ratio(self) -> float | None:
        """The best peer's time over drkeeper's; above 1, drkeeper is faster."""
        own = self.median("drkeeper", _wall)
        peers = [w for t in self.samples if t != "drkeeper" and (w := self.median(t, _wall))]
        return min(peers) / own if own and peers else None

    def of_restic(self, figure: Callable[[Sample], float | None]) -> float | None:
        """Return a figure of drkeeper as a part of restic's, or ``None`` when one is missing."""
        own, restic = self.median("drkeeper", figure), self.median("restic", figure)
        return own / restic if own and restic else None

    @property
    def not_cold(self) -> bool:
        """Whether some of the store stayed in the page cache."""
        return any(s.left_in_cache_bytes for runs in self.samples.values() for s in runs)

    def judged(self) -> Iterator[Judged]:
        """Yield every figure of this row that has a budget."""
        faster = FASTER.get((self.data, self.step))
        if faster and (ratio := self.ratio):
            yield Judged("best peer / drkeeper", ratio, faster, least=True)
        if self.data in STORED and (stored := self.of_restic(_stored)):
            yield Judged("stored / restic's", stored, STORED[self.data])
        if memory := self.of_restic(_peak):
            yield Judged("peak / restic's", memory, MEMORY)
        own = self.samples.get("drkeeper", [])
        if self.data == "start":
            yield Judged("seconds", statistics.median(s.took.wall_s for s in own), START_S)
        if self.data == "million":
            yield Judged("peak MiB", max(s.took.peak_mib for s in own), MILLION_MIB)


@dataclass
class Results:
    """All samples of one results file.

    Attributes:
        path: The JSON; the table lies beside it, as Markdown.
        scale: Part of the full data sizes.
        machine: What must be equal for samples to be comparable.
        parts: One entry for each run of the benchmark that added samples.
        samples: In the order in which they were taken.
    """

    path: Path
    scale: float
    machine: dict[str, object]
    parts: list[dict[str, object]] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)

    def add_to_earlier(self) -> None:
        """Take over what the file has already; refuses samples of another machine or scale."""
        earlier = json.loads(self.path.read_text(encoding="utf-8"))
        for name, mine in (("scale", self.scale), ("machine", self.machine)):
            if earlier[name] != mine:
                raise SystemExit(f"{self.path} has another {name}: {earlier[name]}, not {mine}")
        self.parts = earlier["parts"]
        self.samples = [
            Sample(**sample | {"took": Measured(**sample["took"])}) for sample in earlier["samples"]
        ]

    def rounds(self, data: str) -> int:
        """Return how many rounds of a tree there are, whole or not."""
        return 1 + max((s.number for s in self.samples if s.data == data), default=-1)

    def rows(self) -> list[Row]:
        """Return a row for each step of each tree, in the order of the tables."""
        rows: dict[tuple[str, str], Row] = {}
        for sample in self.samples:
            key = (sample.data, sample.step)
            row = rows.setdefault(key, Row(*key, {}))
            row.samples.setdefault(sample.tool, []).append(sample)
        return [
            rows[key] for key in sorted(rows, key=lambda k: (DATA.index(k[0]), STEPS.index(k[1])))
        ]

    def write(self) -> None:
        """Replace both files, so that an interrupted run keeps what it has."""
        rows = self.rows()
        document = {
            "scale": self.scale,
            "machine": self.machine,
            "parts": self.parts,
            "rows": [_summary(row) for row in rows],
            "samples": [asdict(sample) for sample in self.samples],
        }
        _replace(self.path, json.dumps(document, indent=1))
        _replace(self.path.with_suffix(".md"), "\n".join(self.table()))

    def table(self) -> Iterator[str]:
        """Yield the lines of the Markdown table and what must be known to read it."""
        yield "| data | step | " + " | ".join(TOOLS) + " | best peer / drkeeper | budgets |"
        yield "|---|---|" + "---|" * (len(TOOLS) + 2)
        for row in self.rows():
            cells = [_cell(row, tool) if tool in row.samples else "" for tool in TOOLS]
            ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
            budgets = "<br>".join(map(_words, row.judged()))
            yield f"| {row.data} | {row.step} | {' | '.join(cells)} | {ratio} | {budgets} |"
        yield ""
        yield (
            "Medians: seconds from start to exit, seconds of processor time, peak memory; "
            "in brackets of how many runs."
        )
        yield (
            f"Scale {self.scale:g}; " + "; ".join(f"{k} {v}" for k, v in self.machine.items()) + "."
        )
        for part in self.parts:
            yield f"Run: {'; '.join(f'{k} {v}' for k, v in part.items())}."
        for row in self.rows():
            if row.not_cold:
                yield f"The store was not cold: {row.data}, {row.step}; see left_in_cache_bytes."


def _cell(row: Row, tool: str) -> str:
    """Return the medians of one tool, for people."""
    figures = [row.median(tool, figure) for figure in (_wall, _cpu, _peak, _stored)]
    texts = ("{:.2f} s", "{:.2f} s", "{:.0f} MiB", "stored {:.0f} MB")
    units = (1, 1, 1, 1e6)
    shown = ", ".join(
        text.format(figure / unit)
        for text, figure, unit in zip(texts, figures, units, strict=True)
        if figure is not None
    )
    return f"{shown} ({len(row.samples[tool])})"


def _words(judged: Judged) -> str:
    sign = ">=" if judged.least else "<="
    return f"{judged.what} {judged.figure:.2f} {sign} {judged.budget:g}: {judged.verdict}"


def _summary(row: Row) -> dict[str, object]:
    """Return a row with its medians, for programs."""
    figures = {"wall_s": _wall, "cpu_s": _cpu, "peak_mib": _peak, "stored_bytes": _stored}
    return {
        "data": row.data,
        "step": row.step,
        "medians": {
            tool: {"samples": len(runs)} | {k: row.median(tool, f) for k, f in figures.items()}
            for tool, runs in row.samples.items()
        },
        "best_peer_over_drkeeper": row.ratio,
        "budgets": [asdict(j) | {"verdict": j.verdict} for j in row.judged()],
    }


def _replace(path: Path, text: str) -> None:
    new = path.with_name(path.name + ".new")
    new.write_text(text + "\n", encoding="utf-8")
    os.replace(new, path)
