"""The hooks of one run: what they are told, and what becomes of their failures."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final

from drkeeper.app.config.environment import child_environment, environment
from drkeeper.app.wiring.logs.escaping import escaped
from drkeeper.app.wiring.logs.known import secrets_of_environment
from drkeeper.app.wiring.logs.redacting import Redactor
from drkeeper.clock import Clock
from drkeeper.errors import DrkeeperError
from drkeeper.model.policy import Policy
from drkeeper.operations.hooks import HookOutcome, HookRunner, Occasion, RunFacts

IN_A_HURRY: Final = timedelta(seconds=20)
"""What the hooks after a run that was told to end may take, all together."""
_MOST_ERROR: Final = 1000


@dataclass(slots=True)
class RunHooks:
    """The hooks of one run.

    Attributes:
        policy: Whose hooks.
        clock: Measures.
        facts: What they are told.
        say: Is given a line of what they write, harmless and without secrets.
        warn: Is given what went wrong without failing the run.
        failures: How many hooks failed without failing the run.
    """

    policy: Policy
    clock: Clock
    facts: RunFacts
    say: Callable[[str], None]
    warn: Callable[[str], None]
    failures: int = 0
    _begun: bool = field(default=False)

    def before(self) -> None:
        """Run the hooks before the source is read.

        Raises:
            SourceError: An essential one failed.
        """
        hooks = self.policy.hooks.before_backup
        self._begun = True
        self._note(self._runner().run_before(hooks, self.facts))

    def after(
        self, result: str, *, snapshot: int | None = None, within: timedelta | None = None
    ) -> None:
        """Run the hooks after a backup that made a snapshot; their failures are warnings.

        Args:
            result: How it ended.
            snapshot: Its number.
            within: What all of them may take together.
        """
        self.facts = replace(self.facts, result=result, snapshot=snapshot, exit_code=0)
        hooks = self.policy.hooks.after_backup
        self._note(self._runner().run(Occasion.AFTER, hooks, self.facts, within=within))

    def failed(self, error: BaseException) -> None:
        """Run the hooks after a backup that made none: those after any, then those after failures.

        Whatever goes wrong with them, the first error stays the one that counts.
        """
        within = None if isinstance(error, Exception) else IN_A_HURRY
        code = error.exit_code if isinstance(error, DrkeeperError) else None
        self.facts = replace(
            self.facts,
            result="failed" if isinstance(error, Exception) else "interrupted",
            exit_code=code,
            error=str(error)[:_MOST_ERROR] if isinstance(error, DrkeeperError) else "",
        )
        hooks, runner = self.policy.hooks, self._runner()
        if self._begun:
            self._note(runner.run(Occasion.AFTER, hooks.after_backup, self.facts, within=within))
        if isinstance(error, Exception):
            self._note(runner.run(Occasion.FAILED, hooks.after_failure, self.facts))

    def _runner(self) -> HookRunner:
        # A hook may have its own way to the secrets of this process, and print them.
        redactor = Redactor(secrets_of_environment(environment()))

        def say(occasion: Occasion, program: str, line: str) -> None:
            self.say(f"{self._name(occasion, program)}: {escaped(redactor.text(line))}")

        return HookRunner(self.clock, say, child_environment())

    def _note(self, outcomes: list[HookOutcome]) -> None:
        for outcome in outcomes:
            name = self._name(outcome.occasion, outcome.hook.command[0])
            if outcome.problem:
                self.failures += 1
                self.warn(f"{self.policy.name}: {outcome.problem}")
            else:
                self.say(f"{name}: done in {outcome.seconds:.1f} s")
            if outcome.left:
                self.say(f"{name}: ended what it left behind ({outcome.left} in all)")

    def _name(self, occasion: Occasion, program: str) -> str:
        return f"{self.policy.name}: {occasion} {escaped(program)}"
