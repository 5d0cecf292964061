"""Measure what many policies cost: `drkeeper status`, a tick, an idle daemon, a day of runs.

benchmarks/README.md says what each figure is. Writes benchmarks/daemon.json.
"""

import argparse
import json
import os
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.budgets import Judged
from benchmarks.day import a_day
from benchmarks.keeping import fill_ledger, load, make_files
from benchmarks.measure import run
from benchmarks.tools import DRKEEPER
from drkeeper.app.config.configuration import Configuration
from drkeeper.clock import SystemClock

STATUS_S, TICK_S, IDLE_MIB, IDLE_SHARE = 0.3, 0.05, 120.0, 0.005
GROWN_MIB = 2.0
"""Most that a day of minutely runs may leave behind."""
_TICKS_A_DAY = 1440
_WARM = 300
_MIB = 1 << 20
_HERTZ = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("benchmarks/work/daemon"))
    parser.add_argument("--policies", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=50, help="runs of each in the ledger")
    parser.add_argument("--drills", type=int, default=24, help="drills of each in the ledger")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--idle", type=int, default=90, help="seconds to watch an idle daemon")
    parser.add_argument("--minutes", type=int, default=_TICKS_A_DAY, help="of minutely runs")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/daemon.json"))
    return parser.parse_args()


def main() -> None:
    """Measure everything, print the table, write the file."""
    args = parse()
    work = args.work.resolve()
    shutil.rmtree(work, ignore_errors=True)
    configuration = load(make_files(work / "many", args.policies))
    fill_ledger(configuration, args.runs, args.drills)
    env = {"DRKEEPER_CONFIG": str(work / "many" / "etc" / "drkeeper.yaml")}
    found: dict[str, object] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "policies": args.policies,
        "runs of each": args.runs,
        "drills of each": args.drills,
        "load before": round(os.getloadavg()[0], 2),
    }
    parts: list[Callable[[], list[Judged]]] = [
        lambda: status(env, args.rounds, found),
        lambda: looks(configuration, args.rounds, found),
        lambda: idle(env, args.idle, found),
        lambda: a_day_of_runs(work / "day", args.minutes, found),
    ]
    for part in parts:
        for each in part():
            print(
                f"{each.what:50} {each.figure:9.3f} {each.budget:9.3f}  {each.verdict}", flush=True
            )
        found["load after"] = round(os.getloadavg()[0], 2)
        args.output.write_text(json.dumps(found, indent=2) + "\n")
    shutil.rmtree(work)


def status(env: Mapping[str, str], rounds: int, found: dict[str, object]) -> list[Judged]:
    """Measure `drkeeper status` from its start to its exit; what files mean is remembered."""
    run([DRKEEPER, "status"], env)
    took = [run([DRKEEPER, "status"], env) for _ in range(rounds)]
    cpu, wall = (
        statistics.median(each) for each in ([t.cpu_s for t in took], [t.wall_s for t in took])
    )
    peak = max(each.peak_mib for each in took)
    found["status"] = {
        "cpu_s": cpu,
        "wall_s": wall,
        "least cpu_s": min(t.cpu_s for t in took),
        "peak_mib": peak,
    }
    return [Judged("status, processor s", cpu, STATUS_S), Judged("status, s", wall, STATUS_S)]


def looks(configuration: Configuration, rounds: int, found: dict[str, object]) -> list[Judged]:
    """Measure a tick, and the look at everything that page, metrics and alarms rest on."""
    with a_day(configuration, SystemClock()) as day:
        first = timed(day.tick)
        ticks = [timed(day.tick) for _ in range(rounds)]
        first_look = timed(day.look)
        again = [timed(day.look) for _ in range(rounds)]
    found["tick"] = {"cpu_s": statistics.median(ticks), "first cpu_s": first}
    found["look"] = {"cpu_s": statistics.median(again), "first cpu_s": first_look}
    return [
        Judged("tick, processor s", statistics.median(ticks), TICK_S),
        Judged("look at everything in the daemon, processor s", statistics.median(again), STATUS_S),
    ]


def timed(what: Callable[[], object]) -> float:
    """Return the processor time that a call takes, seconds."""
    began = time.process_time()
    what()
    return time.process_time() - began


def idle(env: Mapping[str, str], seconds: int, found: dict[str, object]) -> list[Judged]:
    """Watch a real daemon that has nothing to do."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        address = f"\0drkeeper-bench-{os.getpid()}"
        ear.bind(address)
        ear.settimeout(120)
        daemon = subprocess.Popen(
            [DRKEEPER, "daemon"],
            env={**os.environ, **env, "NOTIFY_SOCKET": address.replace("\0", "@")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            while b"READY=1" not in ear.recv(4096):
                pass
            time.sleep(20)  # the first look at everything is no idling
            before, began = processor_s(daemon.pid), time.monotonic()
            time.sleep(seconds)
            share = (processor_s(daemon.pid) - before) / (time.monotonic() - began)
            rss = resident_mib(daemon.pid)
        finally:
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(120)
    found["idle"] = {"rss_mib": rss, "share of a core": share, "seconds": seconds}
    return [
        Judged("idle daemon, resident MiB", rss, IDLE_MIB),
        Judged("idle daemon, share of a core", share, IDLE_SHARE),
    ]


def processor_s(pid: int) -> float:
    """Return the processor time that a process has used so far, without its children's."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _HERTZ


def resident_mib(pid: int | str) -> float:
    """Return the resident set of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE / _MIB


def a_day_of_runs(root: Path, minutes: int, found: dict[str, object]) -> list[Judged]:
    """Measure what minutely runs leave in memory, once all memories are full."""
    with a_day(load(make_files(root, 1, "every 1m"))) as day:
        warm_up = min(_WARM, minutes // 2)
        runs = sum(day.minute() for _ in range(warm_up))
        warm = resident_mib("self")
        runs += sum(day.minute() for _ in range(minutes - warm_up))
        grown = resident_mib("self") - warm
    found["a day"] = {"runs": runs, "warm_mib": warm, "grown_mib": grown}
    return [Judged("grown by a day of minutely runs, MiB", grown, GROWN_MIB)]


if __name__ == "__main__":
    main()
