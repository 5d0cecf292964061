"""A whole installation in a folder, driven through the real command as a process."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Installation:
    """Configuration, state, cache, source and store below one folder.

    Attributes:
        home: Everything is below it.
        variables: Added to the environment of every call.
    """

    home: Path
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def etc(self) -> Path:
        """Folder of the configuration."""
        return self.home / "etc"

    @property
    def store(self) -> Path:
        """Folder of the repository."""
        return self.home / "store"

    @property
    def source(self) -> Path:
        """What the policy ``files`` protects."""
        return self.home / "source"

    @property
    def kit(self) -> Path:
        """The recovery kit."""
        return self.home / "kit.txt"

    def environment(self) -> dict[str, str]:
        """Return the environment of a call: nothing of the test's own."""
        kept = ("PATH", "LANG", "PYTHONPATH", "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")
        return {
            **{name: os.environ[name] for name in kept if name in os.environ},
            "HOME": str(self.home),
            "DRKEEPER_CONFIG": str(self.etc),
            "DRKEEPER_STATE_DIR": str(self.home / "state"),
            "DRKEEPER_CACHE_DIR": str(self.home / "cache"),
            **self.variables,
        }

    def start(self, *arguments: str, **settings) -> subprocess.Popen:
        """Start drkeeper and return the process."""
        return subprocess.Popen(
            [sys.executable, "-m", "drkeeper", *map(str, arguments)],
            env=self.environment(),
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **settings,
        )

    def run(self, *arguments: str, **settings) -> subprocess.CompletedProcess:
        """Run drkeeper to its end."""
        process = self.start(*arguments, **settings)
        out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def done(self, *arguments: str) -> str:
        """Run drkeeper, which must succeed, and return its output."""
        result = self.run(*arguments)
        assert result.returncode == 0, (result.returncode, result.stdout, result.stderr)
        return result.stdout

    def lines(self, *arguments: str) -> list[dict]:
        """Run drkeeper with ``--json`` and return its objects."""
        return [json.loads(line) for line in self.done(*arguments, "--json").splitlines()]

    def init(self, *options: str) -> "Installation":
        """Make a small source, a repository, keys, a kit and the policy ``files``."""
        (self.source / "deep").mkdir(parents=True)
        (self.source / "one.txt").write_text("one\n")
        (self.source / "deep" / "two.bin").write_bytes(os.urandom(300_000))
        (self.source / "link").symlink_to("one.txt")
        if self.variables:
            self._do_init(*options)
        else:
            self._take_over(self._made_before(*options))
        return self

    def _do_init(self, *options: str) -> None:
        self.done("init", self.store, "--kit-file", self.kit, "--protect", self.source, *options)

    def _made_before(self, *options: str) -> "Installation":
        """Return what ``init`` makes, made once beside all folders of a worker's tests."""
        made = Installation(self.home.parent / f".made{''.join(options)}")
        if not made.home.exists():
            making = Installation(Path(f"{made.home}-{os.getpid()}"))
            making.source.mkdir(parents=True)
            making._do_init(*options)
            making.home.rename(made.home)
            made._move(making.home)
        return made

    def _take_over(self, made: "Installation") -> None:
        """Be a copy of another installation, but for what it protects."""
        for path in made.home.iterdir():
            if path != made.source:
                subprocess.run(["cp", "-a", path, self.home], check=True)
        self._move(made.home)

    def _move(self, before: Path) -> None:
        """Say where everything is now."""
        for path in [*self.etc.rglob("*.yaml"), self.kit]:
            path.write_text(path.read_text().replace(str(before), str(self.home)))

    @contextmanager
    def uploading_at(self, rate: str) -> Iterator[None]:
        """Keep to a bandwidth, so that a run takes a known time at least."""
        path = self.etc / "drkeeper.yaml"
        before = path.read_text()
        path.write_text(f"{before}\n    limits: {{upload: {rate}}}\n")
        yield
        path.write_text(before)

    def policy(self, name: str, text: str) -> Path:
        """Write a policy file."""
        path = self.etc / "policies.d" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path


def expect(result: subprocess.CompletedProcess, code: int, *told: str) -> None:
    """Require an exit code, one clear message with a hint, and no traceback."""
    shown = f"exit {result.returncode}\n{result.stdout}\n{result.stderr}"
    assert result.returncode == code, shown
    assert result.stderr.count("error: ") == 1, shown
    assert result.stderr.count("hint: ") == 1, shown
    assert "Traceback" not in result.stderr, shown
    for text in told:
        assert text in result.stderr, shown
