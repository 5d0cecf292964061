"""Where ``drkeeper demo`` keeps things: a machine that will be lost, and what outlives it."""

import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from drkeeper.app.config.environment import child_environment


@dataclass(frozen=True, slots=True)
class Places:
    """The folders and files of a demonstration.

    Attributes:
        home: Everything is below it.
    """

    home: Path

    @property
    def machine(self) -> Path:
        """All that is lost with the machine: data, configuration, keys, ledger, cache."""
        return self.home / "machine"

    @property
    def etc(self) -> Path:
        """Folder of the configuration; keys are below it."""
        return self.machine / "etc"

    @property
    def project(self) -> Path:
        """The files that are protected."""
        return self.machine / "project"

    @property
    def database(self) -> Path:
        """The database that is protected."""
        return self.machine / "shop.db"

    @property
    def store(self) -> Path:
        """The repository, which stands elsewhere."""
        return self.home / "elsewhere" / "repository"

    @property
    def kit(self) -> Path:
        """The recovery kit, in a safe."""
        return self.home / "safe" / "recovery-kit.txt"

    @property
    def witness(self) -> Path:
        """Copies that drkeeper knows nothing of, to compare with."""
        return self.home / "witness"

    @property
    def log(self) -> Path:
        """What the daemon says."""
        return self.home / "daemon.log"

    @property
    def profile(self) -> Path:
        """What a shell reads to work on the machine."""
        return self.home / "profile"

    def variables(self) -> dict[str, str]:
        """Return the variables that make a drkeeper one of this machine."""
        return {
            "DRKEEPER_CONFIG": str(self.etc),
            "DRKEEPER_STATE_DIR": str(self.machine / "state"),
            "DRKEEPER_CACHE_DIR": str(self.machine / "cache"),
        }

    def environment(self) -> dict[str, str]:
        """Return the whole environment of a drkeeper of this machine."""
        return {**child_environment(), **self.variables()}

    def write_profile(self) -> None:
        """Write what a shell needs for the commands of the demonstration to work as shown."""
        lines = [f"export {name}={shlex.quote(value)}" for name, value in self.variables().items()]
        if shutil.which("drkeeper") is None:
            folder = shlex.quote(str(Path(sys.argv[0]).absolute().parent))
            lines.append(f'export PATH={folder}:"$PATH"')
        self.profile.write_text("\n".join(lines) + "\n")
