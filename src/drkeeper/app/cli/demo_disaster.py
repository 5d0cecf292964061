"""The third part of ``drkeeper demo``: drills, the loss of the machine, and what is left of it."""

import json
import shlex
import shutil
import sys
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from drkeeper.app.cli.demo_compare import differences, files_below
from drkeeper.app.cli.demo_places import Places
from drkeeper.app.cli.demo_shop import Books, Shop, lost, newest
from drkeeper.app.cli.demo_story import Story
from drkeeper.errors import VerificationError
from drkeeper.model.quantities import format_duration
from drkeeper.reports.quarters import quarter_of

PROMISED_RPO: Final = timedelta(seconds=40)
PROMISED_RTO: Final = timedelta(minutes=1)
"""What the policy of the shop promises. Source: demo_daemon.py."""
_FIRST_LINES: Final = 2
_SELLING_S: Final = 3.0
_MEMBER: Final = "drkeeper-report-{}"
"""Folder in a bundle. Source: docs/evidence.md, "The bundle"."""
_ACTION: Final = "Keep a second copy in another place"
_LEDGER: Final = "SELECT kind, policy, verdict, achieved_rto_s FROM drills ORDER BY id"


@dataclass(frozen=True, slots=True)
class Rescued:
    """What came of the disaster.

    Attributes:
        orders: How many there were.
        lost: How many of them were lost.
        seconds: From the first command to proven.
    """

    orders: int
    lost: int
    seconds: float


class DisasterDemo:
    """A machine that is proven to come back, and then has to.

    Args:
        story: Speaks, and runs commands.
        places: Where everything is.
        shop: What is written to all the time.
    """

    def __init__(self, story: Story, places: Places, shop: Shop) -> None:
        self._story = story
        self._places = places
        self._shop = shop
        self._signers: list[str] = []

    def drill(self) -> None:
        """Prove that the shop comes back, on this machine and on none.

        Raises:
            DrkeeperError: It was not proven.
        """
        story, kit = self._story, ("--identity", str(self._places.kit))
        story.step("Would it come back, and how fast? A drill restores it, and asks it questions")
        story.drkeeper("drill", "shop", "--kind", "restore")
        story.fact("(a negative control damages what was restored: the probes must see it)")
        story.drkeeper("drill", "project", "--at", "random", lines=_FIRST_LINES)
        story.step("And without this machine? A drill with the store and the recovery kit alone")
        story.drkeeper("drill", "--kind", "key", *kit, lines=1)
        story.drkeeper("drill", "shop", "--kind", "bare", *kit)
        self._note_signer()

    def lose(self, pull_the_plug: Callable[[], None]) -> None:
        """Let the machine be gone, daemon and all.

        Args:
            pull_the_plug: Ends everything that runs there.
        """
        places = self._places
        self._story.step(
            "Disaster: the machine is gone, with data, configuration, keys, ledger and cache",
            f"rm -rf {places.machine}",
        )
        pull_the_plug()

    def destroy(self) -> tuple[Books, datetime]:
        """Keep copies that drkeeper knows nothing of, and remove the machine."""
        places, story = self._places, self._story
        books, at = self._shop.read(), story.clock.now()
        self._shop.copy(places.witness / "shop.db")
        shutil.copytree(places.project, places.witness / "project", symlinks=True)
        shutil.rmtree(places.machine)
        story.fact(f"what is left: the store, {places.store}")
        story.fact(f"and the recovery kit, {places.kit}")
        return books, at

    def rescue(self, books: Books, at: datetime) -> Rescued:
        """Bring everything back, and compare.

        Args:
            books: What was in the shop's database.
            at: When the machine was lost.

        Raises:
            DrkeeperError: Something did not come back as it was promised.
        """
        story, places = self._story, self._places
        kit = ("--identity", str(places.kit))
        story.step("A new machine, with nothing but drkeeper: the store and the kit must do")
        begun = story.clock.monotonic()
        story.drkeeper("rescue", *kit, "--take-over")
        story.fact("(nothing is in the way on this machine: everything may go back in its place)")
        for policy in ("project", "shop"):
            story.drkeeper("restore", policy, *kit, "--in-place", "--yes")
        story.step("Is it what it was? Compared with copies, without drkeeper's help")
        self._compare_project()
        after = self._shop.read()
        missing = lost(books, after)
        seconds = story.clock.monotonic() - begun
        story.fact(f"{len(after.orders)} orders are back, each equal; SQLite finds nothing wrong")
        self._judge(
            f"orders lost, sold after the last backup: {missing}; RPO achieved",
            at - newest(after),
            PROMISED_RPO,
        )
        self._judge(
            "from the first command to proven: RTO achieved",
            timedelta(seconds=seconds),
            PROMISED_RTO,
        )
        return Rescued(len(books.orders), missing, seconds)

    def protect_again(self) -> None:
        """Let the new machine keep the promises from here on.

        Raises:
            DrkeeperError: It does not.
        """
        story = self._story
        story.step(
            "The shop sells again, and is protected again; what is stored now is proven, too"
        )
        with self._shop.open():
            story.clock.sleep(_SELLING_S)
            story.drkeeper("backup", "--all")
            story.drkeeper("drill", "--all", "--kind", "mass")
        self._note_signer()
        story.step("What is to change is written down, and stands in every report until it is done")
        story.drkeeper("action", "open", _ACTION, "--owner", "Ada", "--policy", "project")
        story.step("The ledger came back with the machine: its history, signed, is in the store")
        story.drkeeper("ledger", "verify", "--storage", "--identity", str(self._places.kit))
        story.drkeeper("ledger", "query", _LEDGER)

    def report(self) -> Path:
        """Write what the quarter has shown; return the page.

        Raises:
            DrkeeperError: It cannot be written.
            VerificationError: It does not say what happened.
        """
        story, home = self._story, self._places.home
        quarter = str(quarter_of(story.clock.now()))
        story.step("What of all this can be handed over? A report, computed from the ledger")
        written = home / "report.json"
        story.drkeeper("report", "--quarter", quarter, "--format", "json", "--output", str(written))
        forms = ["html", "csv"] + (["pdf"] if find_spec("weasyprint") else [])
        for form in forms:
            path = written.with_suffix(f".{form}")
            story.drkeeper(
                "report", "-q", "--from", str(written), "--format", form, "--output", str(path)
            )
        if "pdf" not in forms:
            story.fact("(and as PDF, where drkeeper[pdf] is installed)")
        drills = json.loads(written.read_bytes())["results"]["drills"]
        if not drills or any(each["verdict"] != "proven" for each in drills):
            raise VerificationError(
                "the report does not say that all drills were proven", hint="Report this."
            )
        return written.with_suffix(".html")

    def verify(self) -> None:
        """Let a stranger verify a bundle, with nothing of drkeeper's but what is in it.

        Raises:
            DrkeeperError: It was not found to be what it says.
        """
        story, home = self._story, self._places.home
        quarter = str(quarter_of(story.clock.now()))
        bundle = home / "evidence.tar"
        story.step("And who does not believe it? The signed events go along, with their verifier")
        story.drkeeper("report", "-q", "--quarter", quarter, "--bundle", "--output", str(bundle))
        words = [f"{_MEMBER.format(quarter)}/verify_report.py", str(bundle), "--quarter", quarter]
        words += [word for key in dict.fromkeys(self._signers) for word in ("--key", key)]
        story.command(shlex.join(["tar", "-C", str(home), "-xf", str(bundle)]))
        with tarfile.open(bundle) as tar:
            tar.extractall(home, filter="data")
        words[0] = str(home / words[0])
        argv = [sys.executable, "-I", *words]
        story.program(argv, shown=argv)
        story.fact(
            "(the keys are those of the machine that was lost and of the one that it is now)"
        )

    def _note_signer(self) -> None:
        """Note the public key with which this machine signs, as an auditor does beforehand."""
        listed = self._story.asked("key", "list")
        self._signers += [
            str(each["key"]) for each in listed if each.get("kind") == "signer" and each["host"]
        ]

    def _compare_project(self) -> None:
        before, after = self._places.witness / "project", self._places.project
        found = differences(before, after)
        if found:
            raise VerificationError(
                f"the rescued project differs: {', '.join(found[:5])}",
                hint="Report this; it must not happen.",
            )
        self._story.fact(f"{len(files_below(before))} files compared byte for byte: all equal")

    def _judge(self, what: str, achieved: timedelta, promised: timedelta) -> None:
        kept = achieved <= promised
        self._story.fact(
            f"{what} {achieved.total_seconds():.1f} s, promised {format_duration(promised)}: "
            f"{'kept' if kept else 'NOT KEPT'}"
        )
        if not kept:
            raise VerificationError(
                "a promise was not kept", hint="Try again when the machine is less busy."
            )
