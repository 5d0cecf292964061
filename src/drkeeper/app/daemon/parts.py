"""The parts of the daemon, and what each of them is given of the others."""

import os
import subprocess
from collections.abc import Callable, Collection
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from drkeeper.app.config.configuration import Configuration
from drkeeper.app.config.locations import Locations
from drkeeper.app.daemon.assessing import LOOK_EVERY, Assessor, Rounder
from drkeeper.app.daemon.books import Books
from drkeeper.app.daemon.clockwork import Clockwork
from drkeeper.app.daemon.concerns import Concerns
from drkeeper.app.daemon.drilling import Driller, Due
from drkeeper.app.daemon.keeping import Keeper
from drkeeper.app.daemon.loud import log
from drkeeper.app.daemon.policies import Accepted
from drkeeper.app.daemon.probing import Prober
from drkeeper.app.daemon.reading import LedgerReader
from drkeeper.app.daemon.rounds import Rounds
from drkeeper.app.daemon.supervision import Supervisor
from drkeeper.app.daemon.tick import Starts, Tick
from drkeeper.app.daemon.verifying import Verifier
from drkeeper.app.daemon.watchdog import Actions, Patience, Watchdog
from drkeeper.app.daemon.window import Window
from drkeeper.app.wiring.channels import Courier
from drkeeper.app.wiring.children import Program, start_program, this_program
from drkeeper.app.wiring.drillable import drillable, drillable_bare
from drkeeper.app.wiring.ends import Ended
from drkeeper.app.wiring.execution import Executor, Surroundings
from drkeeper.app.wiring.ownership import looks_after
from drkeeper.app.wiring.places import Places
from drkeeper.app.wiring.runs import open_run_ledger
from drkeeper.clock import Clock
from drkeeper.model.alarm import Condition, Subject
from drkeeper.model.run import RunId

if TYPE_CHECKING:
    from drkeeper.ledger.ledger import Ledger

_PATIENCE = timedelta(seconds=10)
"""For a ledger that somebody else keeps to himself; the next tick tries again."""
_IMPROVISE_AFTER = 4
"""Ticks for which the ledger may be in trouble before runs begin without it."""
_END_OF_TICK = timedelta(seconds=2)
_FIRST_TICK = timedelta(seconds=60)
"""A ledger that is in trouble does not keep the daemon from being ready to tell so."""


class Parts:
    """Everything that lives as long as the daemon; made at once, begun and ended in order.

    Args:
        locations: Where the files are, as the command line said it.
        in_force: What the daemon works by.
        clock: The machine's clocks.
        concerns: What is found wrong.
        supervisor: Who started us.
        redact: Takes secrets out of a line.
    """

    def __init__(
        self,
        locations: Locations,
        *,
        in_force: Accepted,
        clock: Clock,
        concerns: Concerns,
        supervisor: Supervisor,
        redact: Callable[[str], str],
    ) -> None:
        self._locations = locations
        self._in_force = in_force
        self._clock = clock
        self._concerns = concerns
        self._supervisor = supervisor
        self._redact = redact
        self._at_start = in_force.configuration()
        self._host = Subject("daemon", self._at_start.host)
        self._starts = Starts(clock)
        self._tick_books = self._books("tick")
        self._look_books = self._books("look")
        self._page_books = self._books("page")
        self._store_books = self._books("store")
        self._drill_books = self._books("drill")
        # Made now, by one thread, since each asks for the others it needs.
        for each in (
            self.executor,
            self._prober,
            self._keeper,
            self._driller,
            self._window,
            self.verifier,
            self.watchdog,
        ):
            del each

    # ------------------------------------------------------------ life

    def begin(self) -> None:
        """Begin everything; nothing here waits for long."""
        self._courier.start()
        self._window.open()
        self.tick_rounds.begin()
        self._clockwork.begin()
        # One after the other: what the first reads of a large ledger is memory for the second.
        self.tick_rounds.wait_for_first(_FIRST_TICK)
        self._look_rounds.begin()
        self._prober.begin()
        self._keeper.begin()
        self._driller.begin()

    def reload(self) -> None:
        """Go on with what is in force now."""
        configuration = self._in_force.configuration()
        self.executor.places = _places(configuration)
        self.executor.program = self._program.reading(configuration.locations.accepted)
        self._courier.reload(configuration)
        self.tick_rounds.call()
        self._look_rounds.call()

    def doing(self) -> str:
        """Say in a line what goes on, for systemctl status."""
        running = sorted(run.policy for run in self.executor.running().values())
        waiting = len(self.executor.waiting())
        now = f"running {', '.join(running)}" if running else "idle"
        return f"{now}; {waiting} waiting" if waiting else now

    def end_planning(self) -> None:
        """Plan nothing more."""
        self._clockwork.end()
        self.tick_rounds.end(_END_OF_TICK)

    def end(self, within: timedelta) -> None:
        """End everything else, after a last look."""
        self._prober.end()
        self._keeper.end()
        self._driller.end(within)
        self._look_rounds.end(within)
        self._look_rounds.once()
        self._courier.stop(within)
        self._window.close()
        for books in (
            self._tick_books,
            self._look_books,
            self._page_books,
            self._store_books,
            self._drill_books,
        ):
            books.close()

    # ------------------------------------------------------------ runs

    @cached_property
    def executor(self) -> Executor:
        """Runs what is due."""
        around = Surroundings(
            self._program,
            self._at_start.locations.state,
            self._open_ledger,
            self._clock,
            self._redact,
            self._told,
        )
        return Executor(around, _places(self._at_start), on_end=self._run_ended)

    @cached_property
    def _tick(self) -> Tick:
        """Plans."""
        return Tick(
            configuration=self._in_force.configuration,
            books=self._tick_books,
            executor=self.executor,
            starts=self._starts,
            clock=self._clock,
            shared=self._is_shared,
            log=log,
            improvise_after=_IMPROVISE_AFTER * self._at_start.daemon.tick,
        )

    @cached_property
    def tick_rounds(self) -> Rounds:
        """Plans when it is time."""
        return Rounds(
            self._tick,
            clock=self._clock,
            patience=2 * self._at_start.daemon.tick,  # the clock that calls may fail
            name="tick",
            on_error=lambda error: log("tick.broken", error=repr(error)),
        )

    @cached_property
    def _clockwork(self) -> Clockwork:
        """Says that it is time."""
        return Clockwork(self.tick_rounds.call, self._at_start.daemon.tick)

    def _told(self, event: str, **fields: object) -> None:
        log(event, **fields)
        if event == "run.started":
            self._courier.run_began(str(fields["policy"]), RunId(str(fields["run"])))
            self._supervisor.status(self.doing())

    def _run_ended(self, end: Ended) -> None:
        self._starts.began(end.policy, timedelta(seconds=end.seconds))
        if not end.is_elsewhere:
            why = str(end.error.get("message", "")) if end.error else ""
            self._courier.run_ended(end.policy, end.run, end.code, figures=end.summary, why=why)
        self._supervisor.status(self.doing())
        self.tick_rounds.call()
        self._look_rounds.call()

    # ------------------------------------------------------------ looking and telling

    @cached_property
    def _courier(self) -> Courier:
        """Tells people."""
        return Courier(self._at_start, open_ledger=self._open_ledger, clock=self._clock, log=log)

    @cached_property
    def _rounder(self) -> Rounder:
        """Looks at everything, and has it told."""
        return Rounder(
            assessor=self._assessor,
            books=self._look_books,
            courier=self._courier,
            mine=self._is_mine,
            clock=self._clock,
            log=log,
        )

    @cached_property
    def _look_rounds(self) -> Rounds:
        """Looks when it is time."""
        return Rounds(
            self._look,
            clock=self._clock,
            patience=LOOK_EVERY,
            name="look",
            on_error=lambda error: log("look.broken", error=repr(error)),
        )

    @cached_property
    def _prober(self) -> Prober:
        """Asks the stores."""
        program = self._program
        own = str(os.getpid())
        options = ["--config", str(program.settings), "--reach", "--parent", own, "--json"]
        return Prober(
            [*program.words, "doctor", *options],
            program.variables,
            self._at_start.daemon.probe_every,
            clock=self._clock,
            on_look=self._probed,
        )

    def _probed(self) -> None:
        answers = self._prober.reachable()
        self.executor.doubtful = {name for name, (good, _) in answers.items() if not good}
        self._look_rounds.call()

    @cached_property
    def _keeper(self) -> Keeper:
        """Stores the ledger."""
        return Keeper(
            self._start_storing,
            repositories=lambda: {
                policy.repository for policy in self._in_force.configuration().policies.values()
            },
            books=self._store_books,
            concerns=self._concerns,
            clock=self._clock,
            log=log,
        )

    def _start_storing(self, names: Collection[str]) -> "subprocess.Popen[bytes]":
        program = self._program.reading(self._in_force.configuration().locations.accepted)
        chosen = [word for name in names for word in ("--repository", name)]
        options = ["--config", str(program.settings), "--json", "--parent", str(os.getpid())]
        return start_program(program, [*program.words, "ledger", "store", *options, *chosen])

    @cached_property
    def _driller(self) -> Driller:
        """Proves that policies come back."""
        return Driller(
            self._start_drill,
            policies=lambda: drillable(self._in_force.configuration()),
            bare=lambda: drillable_bare(self._in_force.configuration()),
            books=self._drill_books,
            is_idle=self.executor.idle,
            on_end=self._look_rounds.call,
            clock=self._clock,
            log=log,
        )

    def _start_drill(self, due: Due) -> "subprocess.Popen[bytes]":
        program = self._program.reading(self._in_force.configuration().locations.accepted)
        options = ["--config", str(program.settings), "--json", "--parent", str(os.getpid())]
        if due.kit is not None:
            options += ["--kind", "bare", "--identity", due.kit]
        return start_program(program, [*program.words, "drill", *options, "--", due.policy])

    @cached_property
    def verifier(self) -> Verifier:
        """Verifies the ledger."""
        return Verifier(
            self._open_ledger,
            concerns=self._concerns,
            ledger=Subject("ledger", self._at_start.host),
            clock=self._clock,
            log=log,
        )

    @cached_property
    def _window(self) -> Window:
        """Shows everything."""
        return Window(
            self._at_start.web,
            host=self._at_start.host,
            overview=self._assessor_with(self._page_books).overview,
            reader=LedgerReader(self._in_force.configuration, self._page_books.ledger, self._clock),
            clock=self._clock,
            concerns=self._concerns,
            alive=lambda: self.tick_rounds.late <= self._patience.stalled,
            log=log,
        )

    @cached_property
    def _assessor(self) -> Assessor:
        return self._assessor_with(self._look_books)

    def _assessor_with(self, books: Books) -> Assessor:
        return Assessor(
            configuration=self._in_force.configuration,
            books=books,
            concerns=self._wrong,
            reachable=self._prober.reachable,
            since_start=self._starts.passed,
            verified_at=lambda: self.verifier.verified_at,
            clock=self._clock,
        )

    def _look(self) -> None:
        seen = self._rounder.look()
        self._window.open()
        self._window.write(seen)
        self.verifier.verify_when_due()

    def _wrong(self) -> tuple[Condition, ...]:
        return (*self._concerns.held(), *self._courier.conditions())

    def _is_mine(self, subject: Subject) -> bool:
        """Whether this daemon is the one to say that something about ``subject`` is over."""
        return looks_after(self._in_force.configuration())(subject)

    # ------------------------------------------------------------ watching

    @cached_property
    def watchdog(self) -> Watchdog:
        """Watches the others."""
        return Watchdog(
            clock=self._clock,
            daemon=self._host,
            patience=self._patience,
            ticks=self.tick_rounds,
            workers=self.executor,
            concerns=self._concerns,
            supervisor=self._supervisor,
            actions=Actions(
                nudge=self._nudge,
                replan=self._tick.replan,
                alarm=self._alarm,
                stakes=self._assessor.stakes,
            ),
        )

    @property
    def _patience(self) -> Patience:
        settings = self._at_start.daemon
        return Patience(settings.tick, settings.stalled_after)

    def _nudge(self) -> None:
        self._clockwork.nudge(self._clock.now())
        self.tick_rounds.call()

    def _alarm(self) -> None:
        self._look_rounds.call()
        if self._look_rounds.late > self._patience.stalled:
            self._courier.tell_unrecorded(self._concerns.held())  # it hangs, too: nobody else would

    # ------------------------------------------------------------ what they stand on

    @property
    def _is_shared(self) -> bool:
        return self._at_start.ledger is not None

    def _open_ledger(self) -> "Ledger":
        place = self._at_start.ledger or self._at_start.locations.ledger
        host, clock = self._at_start.host, self._clock
        return open_run_ledger(place, host=host, clock=clock, patience=_PATIENCE)

    def _books(self, name: str) -> Books:
        return Books(
            name,
            self._open_ledger,
            concerns=self._concerns,
            daemon=self._host,
            clock=self._clock,
        )

    @cached_property
    def _program(self) -> Program:
        """How runs are started: by the files that the daemon has found to be right."""
        return this_program(self._locations.settings, self._at_start.locations.accepted)


def _places(configuration: Configuration) -> Places:
    settings = configuration.daemon
    return Places(settings.workers, settings.per_repository, settings.per_source)
