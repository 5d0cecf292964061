"""Run drkeeper, restic and borg in turn on the same data; write their times, peaks and ratios.

benchmarks/README.md says what is measured, how long it takes, and how to do it in parts.
"""

import argparse
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks import data, disk, s3
from benchmarks.budgets import CHANGED, COLD, FIRST, SAME, WARM
from benchmarks.measure import run
from benchmarks.restic import newest_restic
from benchmarks.results import Results, Sample
from benchmarks.rounds import Round, Rubbish
from benchmarks.tools import DRKEEPER, Borg, Drkeeper, Restic, Tool, version

GIB = 1 << 30
# Those with many files come last in a round: what they restore is removed after it, at once.
CASES = ("large", "text", "s3-large", "small", "s3-small")
STEPS = {"no-change": SAME, "change": CHANGED, "restore": WARM, "cold": COLD}
# What a round at scale 1 needs at its peak, trees, repositories and all that is restored.
ROOM = 32 * GIB


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("benchmarks/work"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="part of the full data sizes")
    parser.add_argument(
        "--data", type=_some(CASES), default=CASES, help=f"of {','.join(CASES)}; default all"
    )
    parser.add_argument(
        "--steps",
        type=_some(tuple(STEPS)),
        default=tuple(STEPS),
        help=f"of {','.join(STEPS)}, after the first backup; default all",
    )
    parser.add_argument("--no-s3", action="store_true", help="leave the S3 server out")
    parser.add_argument("--no-borg", action="store_true")
    parser.add_argument(
        "--million", action="store_true", help="only drkeeper's peak memory with 10^6 files"
    )
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results.json"))
    parser.add_argument(
        "--add", action="store_true", help="keep the samples that the output has already"
    )
    return parser.parse_args()


def _some(names: tuple[str, ...]) -> Callable[[str], tuple[str, ...]]:
    """Return a reader of comma-separated names, which puts them into the order of ``names``."""

    def read(text: str) -> tuple[str, ...]:
        given = text.split(",")
        if unknown := set(given) - set(names):
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not of {', '.join(names)}")
        return tuple(name for name in names if name in given)

    return read


@dataclass(frozen=True, slots=True)
class Benchmark:
    """All rounds of one run.

    Attributes:
        work: Holds trees, repositories, what is restored.
        scale: Part of the full data sizes.
        restic: Path of the program, or ``None`` to leave it out.
        borg: The same of borg.
        results: Receives every sample.
        rubbish: What the rounds left behind.
    """

    work: Path
    scale: float
    restic: str | None
    borg: str | None
    results: Results
    rubbish: Rubbish

    def run(self, cases: tuple[str, ...], steps: tuple[str, ...], rounds: int) -> None:
        """Run the rounds; each takes every case once, so that an early end leaves whole ones."""
        kinds = {name.removeprefix("s3-"): None for name in cases}
        for folder in (self.work / "rounds", *map(self._tree, kinds)):
            self.rubbish.leave(folder)  # an interrupted run left it; an earlier one changed it
        self.rubbish.remove()
        for kind in kinds:
            self._make_tree(kind)
        os.sync()
        begun = {name: self.results.rounds(name) for name in ("start", *cases)}
        for number in range(rounds):
            self._start_up(begun["start"] + number)
            for name in cases:
                self._round(name, begun[name] + number, steps)

    def _tree(self, kind: str) -> Path:
        return self.work / "data" / kind

    def _make_tree(self, kind: str) -> None:
        tree = self._tree(kind)
        print(f"making {tree}", flush=True)
        if kind == "large":
            data.make_large(tree, int(2 * GIB * self.scale), 1)
        elif kind == "text":
            data.make_text(tree, int(2 * GIB * self.scale), 2)
        elif kind == "small":
            data.make_small(tree, int(100_000 * self.scale), 3)
        else:
            data.make_small(tree, int(1_000_000 * self.scale), 4, largest=1024)

    def _start_up(self, number: int) -> None:
        """Measure how long drkeeper takes to say what it can do."""
        self._record(Sample("start", "--help", "drkeeper", number, run([DRKEEPER, "--help"], {})))

    def _round(self, name: str, number: int, steps: tuple[str, ...]) -> None:
        """Take every tool through one case."""
        tree = self._tree(name.removeprefix("s3-"))
        work = self.work / "rounds" / f"{name}-{number}"
        with ExitStack() as stack:
            bucket = None
            if name.startswith("s3-"):
                # Only what S3 makes different; and the server's own store cannot be made cold.
                steps = tuple(step for step in steps if step == WARM)
                bucket = stack.enter_context(s3.fresh_bucket(work / "server"))
            this = Round(name, tree, number, (FIRST, *steps), work, self.rubbish, self._record)
            this.run(self._tools(work, bucket))
        self.rubbish.empty()  # and removed when all is measured

    def _tools(self, work: Path, bucket: s3.Bucket | None) -> list[Tool]:
        """Return the tools that take part, each with a place of its own below ``work``."""
        tools: list[Tool] = [Drkeeper(work / "drkeeper", bucket)]
        if self.restic:
            tools.append(Restic(work / "restic", self.restic, bucket))
        if self.borg and not bucket:
            tools.append(Borg(work / "borg", self.borg))
        return tools

    def _record(self, sample: Sample) -> None:
        """Keep a sample, say it, and write the files, so that an interruption costs none."""
        self.results.samples.append(sample)
        self.results.write()
        took = sample.took
        print(
            f"{sample.number} {sample.data:8} {sample.step:19} {sample.tool:8}"
            f" {took.wall_s:7.2f} s {took.cpu_s:7.2f} s cpu {took.peak_mib:6.0f} MiB",
            flush=True,
        )


def machine(restic: str | None, borg: str | None) -> dict[str, object]:
    """Return what must be equal for samples to be comparable."""
    cpus = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    models = {line.partition(": ")[2] for line in cpus if line.startswith("model name")}
    return {
        "processor": ", ".join(models) or platform.machine(),
        "cores": os.cpu_count(),
        "memory GiB": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIB),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "drkeeper": version(DRKEEPER).removeprefix("drkeeper "),
        "restic": version(restic).removeprefix("restic ") if restic else "not installed",
        "borg": version(borg).removeprefix("borg ") if borg else "not installed",
    }


def part(args: argparse.Namespace) -> dict[str, object]:
    """Return what this run of the benchmark is made with."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    speeds = disk.speeds(args.work, int(GIB * min(1.0, args.scale)))
    return {
        "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": commit.stdout.strip() or "unknown",
        "data": ",".join(args.data),
        "rounds": args.rounds,
        "load": round(os.getloadavg()[0], 2),
        **(speeds or {"direct read and write": "refused by the file system"}),
    }


def cases_of(args: argparse.Namespace) -> tuple[str, ...]:
    """Return what to run, without what cannot run here; says what is left out."""
    if args.million:
        return ("million",)
    chosen: tuple[str, ...] = args.data
    if args.no_s3 or not s3.available():
        if not args.no_s3:
            print("no S3 server is installed: its cases are left out")
        chosen = tuple(name for name in chosen if not name.startswith("s3-"))
    return chosen


def main() -> None:
    """Run what was asked for and print the table."""
    args = parse()
    args.work = args.work.resolve()
    args.work.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(args.work).free
    if free < ROOM * args.scale:
        raise SystemExit(f"{args.work} has {free / GIB:.0f} GiB free; {ROOM / GIB:g} are needed")
    restic, borg = newest_restic(args.work), shutil.which("borg")
    results = Results(args.output, args.scale, machine(restic, borg))
    if args.add and args.output.exists():
        results.add_to_earlier()
    steps = tuple(STEPS[name] for name in args.steps)
    if args.million:
        args.rounds, steps, restic, borg = 1, (SAME, WARM), None, None
    elif args.no_borg:
        borg = None
    results.parts.append(part(args))
    bench = Benchmark(args.work, args.scale, restic, borg, results, Rubbish())
    try:
        bench.run(cases_of(args), steps, args.rounds)
    finally:
        bench.rubbish.remove()
    print("\n" + "\n".join(results.table()))


if __name__ == "__main__":
    main()
