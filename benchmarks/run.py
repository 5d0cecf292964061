"""Run drkeeper, restic and borg in turn on the same data; print a table, write results.json.

Every figure is the median over the rounds; every ratio is the best peer's median over drkeeper's,
so above 1 means that drkeeper is faster. `make bench` runs it whole; `--help` lists the parts.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import data
from benchmarks.measure import Measured
from benchmarks.restic import newest_restic
from benchmarks.tools import Borg, Bucket, Drkeeper, Restic, Tool, find_borg, version

GIB = 1 << 30
STEPS = ("first", "no change", "1 % change", "restore")
# A file younger than this is read again by the next backup (its times prove nothing yet), so
# fresh data would be measured instead of unchanged data.
SETTLE_S = 65

Results = dict[str, dict[str, dict[str, list[Measured]]]]  # data, step, tool


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("benchmarks/work"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="part of the full data sizes")
    parser.add_argument("--data", nargs="*", default=["large", "text", "small"])
    parser.add_argument("--no-s3", action="store_true", help="leave the S3 server out")
    parser.add_argument("--no-borg", action="store_true")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results.json"))
    return parser.parse_args()


def make_data(work: Path, names: list[str], scale: float) -> dict[str, Path]:
    """Make the trees that are not there yet, and wait until they are old enough."""
    makers: dict[str, Callable[[Path], None]] = {
        "large": lambda p: data.make_large(p, int(2 * GIB * scale), 1),
        "text": lambda p: data.make_text(p, int(2 * GIB * scale), 2),
        "small": lambda p: data.make_small(p, int(100_000 * scale), 3),
    }
    trees = {name: work / "data" / name for name in names}
    for name, path in trees.items():
        data.remove(path)
        print(f"making {path}", flush=True)
        makers[name](path)
    os.sync()
    time.sleep(SETTLE_S)
    return trees


@dataclass(frozen=True, slots=True)
class Round:
    """One pass of every tool over one tree.

    Attributes:
        name: Of the data, in the table.
        tree: What is backed up.
        seed: Decides what is changed.
        targets: Folder that receives what is restored. It is not emptied between measurements: ext4
            avoids inodes that were just freed, and whoever creates files next would pay for it.
    """

    name: str
    tree: Path
    seed: int
    targets: Path


def one_round(tools: list[Tool], this: Round, results: Results) -> None:
    """Take every tool through the four steps, step by step, so that they alternate."""
    name, tree, seed = this.name, this.tree, this.seed
    this.targets.mkdir(parents=True, exist_ok=True)
    for tool in tools:
        data.remove(tool.work)
        tool.init()
    data.warm(tree)
    for step in STEPS:
        if step == "1 % change":
            data.change(tree, seed)
        for tool in tools:
            os.sync()
            if step == "restore":
                measured = tool.restore(this.targets / f"{tool.name}-{seed}")
            else:
                measured = tool.back_up(tree)
            results.setdefault(name, {}).setdefault(step, {}).setdefault(tool.name, []).append(
                measured
            )
            print(
                f"{name:9} {step:11} {tool.name:9} {measured.wall_s:7.2f} s"
                f" {measured.cpu_s:7.2f} s cpu {measured.peak_mib:6.0f} MiB",
                flush=True,
            )
        if step == "first":
            stored(tools, results, name)


def stored(tools: list[Tool], results: Results, name: str) -> None:
    """Note how much each tool stored, as a measurement without time."""
    for tool in tools:
        folder = tool.work / "repository"
        if not folder.exists():  # in a bucket
            continue
        total = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
        row = results[name].setdefault("stored", {}).setdefault(tool.name, [])
        row.append(Measured(total / data.MIB, 0, 0))


def summary(results: Results) -> list[dict[str, object]]:
    """Return a row per data set and step: medians, and the ratio to the best peer."""
    rows: list[dict[str, object]] = []
    for name, steps in results.items():
        for step, tools in steps.items():
            row: dict[str, object] = {"data": name, "step": step}
            medians = {t: statistics.median(m.wall_s for m in runs) for t, runs in tools.items()}
            for tool, runs in tools.items():
                row[tool] = round(medians[tool], 2)
                row[f"{tool} cpu s"] = round(statistics.median(m.cpu_s for m in runs), 2)
                row[f"{tool} MiB"] = round(statistics.median(m.peak_mib for m in runs))
            peers = [v for t, v in medians.items() if t != "drkeeper"]
            if peers:
                row["ratio"] = round(min(peers) / medians["drkeeper"], 2)
            rows.append(row)
    return rows


def table(rows: list[dict[str, object]]) -> Iterator[str]:
    """Yield the lines of a Markdown table: wall seconds (peak MiB), and the ratio."""
    names = ("drkeeper", "restic", "borg")
    yield "| data | step | " + " | ".join(names) + " | best peer / drkeeper |"
    yield "|---|---|" + "---|" * (len(names) + 1)
    for row in rows:
        cells = []
        for tool in names:
            unit = " MiB" if row["step"] == "stored" else f" s ({row.get(tool + ' MiB')} MiB)"
            cells.append(f"{row[tool]}{unit}" if tool in row else "")
        yield f"| {row['data']} | {row['step']} | {' | '.join(cells)} | {row.get('ratio', '')} |"


@contextmanager
def s3_server(work: Path) -> Iterator[Bucket | None]:
    """Run the tests' Ceph RGW on loopback, or yield ``None`` when it is not installed."""
    if not all(shutil.which(program) for program in ("radosgw", "ceph-mon", "ceph-osd")):
        yield None
        return
    sys.path.insert(0, "tests")
    from services.rgw import shared  # noqa: PLC0415 - lives with the tests

    data.remove(work)
    with shared(work) as server:
        yield Bucket(server.endpoint, "", server.access_key, server.secret_key)


def run_folder(args: argparse.Namespace, restic: str | None, results: Results) -> None:
    """The six cases, to a folder."""
    trees = make_data(args.work, args.data, args.scale)
    borg = None if args.no_borg else find_borg()
    for name, tree in trees.items():
        tools: list[Tool] = [Drkeeper(args.work / "drkeeper")]
        if restic:
            tools.append(Restic(args.work / "restic-run", restic))
        if borg:
            tools.append(Borg(args.work / "borg", borg))
        for number in range(args.rounds):
            order = tools[number % len(tools) :] + tools[: number % len(tools)]
            one_round(order, Round(name, tree, 100 + number, args.work / "restored"), results)
        forget(args.work / "restored")


def forget(targets: Path) -> None:
    """Remove what was restored, and wait until the file system has got over it."""
    data.remove(targets)
    os.sync()
    time.sleep(SETTLE_S)


def run_s3(args: argparse.Namespace, restic: str | None, results: Results) -> None:
    """Backup and restore through a real S3 server on loopback, for the tools that speak S3."""
    with s3_server(args.work / "s3") as bucket:
        if bucket is None or restic is None:
            print("no S3 server or no restic here: the S3 cases are left out")
            return
        for name in ("large", "small"):
            tree = args.work / "data" / name
            if not tree.exists():
                continue
            for number in range(args.rounds):
                own = Bucket(
                    bucket.endpoint, f"{name}{number}", bucket.access_key, bucket.secret_key
                )
                make_bucket(own)
                tools: list[Tool] = [
                    Drkeeper(args.work / "drkeeper-s3", own),
                    Restic(args.work / "restic-s3", restic, own),
                ]
                order = tools[:: 1 if number % 2 else -1]
                one_round(
                    order, Round(f"s3 {name}", tree, 200 + number, args.work / "restored"), results
                )
            forget(args.work / "restored")


def make_bucket(bucket: Bucket) -> None:
    """Make an empty bucket for one round."""
    import boto3  # noqa: PLC0415 - only for the S3 cases

    client = boto3.client(
        "s3",
        endpoint_url=bucket.endpoint,
        aws_access_key_id=bucket.access_key,
        aws_secret_access_key=bucket.secret_key,
        region_name="us-east-1",
    )
    client.create_bucket(Bucket=bucket.bucket)


def main() -> None:
    """Run what was asked for, print the table and write the JSON."""
    args = parse()
    args.work = args.work.resolve()
    args.work.mkdir(parents=True, exist_ok=True)
    restic = newest_restic(args.work)
    results: Results = {}
    run_folder(args, restic, results)
    if not args.no_s3:
        run_s3(args, restic, results)
    rows = summary(results)
    lines = list(table(rows))
    print("\n" + "\n".join(lines))
    machine = {
        "cores": os.cpu_count(),
        "processor": platform.machine(),
        "python": platform.python_version(),
        "restic": version(restic) if restic else None,
        "borg": version(found) if (found := find_borg()) else None,
    }
    runs = {
        name: {s: {t: [asdict(m) for m in ms] for t, ms in ts.items()} for s, ts in steps.items()}
        for name, steps in results.items()
    }
    document = {"machine": machine, "rounds": args.rounds, "scale": args.scale, "rows": rows}
    args.output.write_text(
        json.dumps({**document, "runs": runs}, indent=1) + "\n", encoding="utf-8"
    )
    args.output.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
