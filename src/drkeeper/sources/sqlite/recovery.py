"""Whether restored databases hold what was counted when they were copied."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Final

from drkeeper.model.instants import exact_rfc3339
from drkeeper.sources.base import Probed, RestoredTree, Runner
from drkeeper.sources.sqlite.copying import ANSWER_BYTES, PROGRAM, answer_of
from drkeeper.sources.sqlite.source import FORM, is_about_values
from drkeeper.sources.sqlite.spec import FINGERPRINT, roots_of_databases

TIMEOUT: Final = timedelta(hours=6)
"""How long the examination of one database may take.

Source: ``integrity_check`` of 1 TB at 50 MB/s, the slowest disk worth a drill.
"""
_SETTINGS: Final = ("page_size", "pages", "encoding", "application_id", "user_version")
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_LONGEST: Final = 200  # characters of a detail

_Answer = Mapping[str, Any]


class SqliteRecovery:
    """Databases that come back by being there.

    Args:
        databases: Their absolute paths, as the snapshot names them.

    Raises:
        ConfigurationError: A path is malformed.
    """

    def __init__(self, databases: tuple[bytes, ...]) -> None:
        self._databases = tuple(sorted(roots_of_databases(databases).named))

    @property
    def kind(self) -> str:
        """The word for it in policies."""
        return "sqlite"

    def rebuild(self, restored: RestoredTree) -> None:
        """Do nothing: the file is the database."""

    @contextmanager
    def start(self, restored: RestoredTree, runner: Runner) -> Iterator["SqliteRunning"]:
        """Start nothing: whoever opens the file is the engine."""
        yield SqliteRunning(self._databases, restored, runner)


class SqliteRunning:
    """Restored databases; each is examined once, when it is first asked for."""

    def __init__(
        self, databases: tuple[bytes, ...], restored: RestoredTree, runner: Runner
    ) -> None:
        self._databases = databases
        self._restored = restored
        self._runner = runner
        self._answers: dict[bytes, _Answer] = {}

    def probe(self) -> Iterator[Probed]:
        """Compare each database with its fingerprint, and have SQLite look at all of it.

        Raises:
            DrkeeperError: The scratch environment broke.
        """
        for path in self._databases:
            recorded = self._recorded(path)
            if recorded is None:
                yield _judged("fingerprint", path, "a fingerprint beside it", "none")
                continue
            found = self._found(path)
            try:
                if "refused" in found:
                    yield from list(_of_a_wreck(path, recorded, found))
                else:
                    yield from list(self._compared(path, recorded, found))
            except (KeyError, TypeError, ValueError, AttributeError):
                yield _judged("fingerprint", path, "a fingerprint beside it", "half of one")

    def fingerprint(self) -> Mapping[str, object]:
        """Return what is in the databases now, by path.

        Raises:
            DrkeeperError: The scratch environment broke.
        """
        found = {path: self._found(path) for path in self._databases}
        return {
            path.decode("utf-8", "backslashreplace"): {
                key: answer.get(key) for key in ("bytes", "sha256", "content")
            }
            for path, answer in found.items()
        }

    def newest_instant(self) -> datetime | None:
        """Return when the first of the databases was locked; ``None`` when that is not known."""
        instants = []
        for path in self._databases:
            recorded = self._recorded(path)
            try:
                instants.append(datetime.fromisoformat((recorded or {})["locked_at"]))
            except (KeyError, TypeError, ValueError):
                return None
        return min(instants)

    def _compared(self, path: bytes, recorded: _Answer, found: _Answer) -> Iterator[Probed]:
        shown = "/" + path.decode("utf-8", "surrogateescape")
        then, now = recorded["content"], found["content"]
        yield _judged("fingerprint", path, recorded["database"], shown)
        yield _judged("bytes", path, _digest(recorded), _digest(found))
        yield _judged("beside", path, {}, {name: n for name, n in found["beside"].items() if n})
        yield _judged("settings", path, _settings(recorded), _settings(found))
        yield _judged("schema", path, then["schema_sha256"], now["schema_sha256"])
        yield _rows(path, then["tables"], now["tables"])
        yield _integrity(path, recorded, found)
        yield _judged("foreign-keys", path, recorded["foreign_keys"], found["foreign_keys"])
        yield _judged("usable", path, now["schema_sha256"], found["used"])
        locked_at = datetime.fromisoformat(recorded["locked_at"])
        promised = self._restored.consistent_at
        yield Probed(
            "instant",
            path,
            passed=locked_at >= promised,
            expected=f"locked at or after {exact_rfc3339(promised)}",
            found=exact_rfc3339(locked_at),
        )

    def _recorded(self, path: bytes) -> _Answer | None:
        """Return the fingerprint of a database; ``None`` when it is not there or is none."""
        try:
            descriptor = os.open(os.path.join(self._restored.root, path + FINGERPRINT), _READ)
        except OSError:
            return None
        with open(descriptor, "rb") as file:
            answer = answer_of(file.read(ANSWER_BYTES))
        return answer if answer.get("form") == FORM else None

    def _found(self, path: bytes) -> _Answer:
        if path not in self._answers:
            place = os.fsdecode(os.path.join(self._restored.root, path))
            ran = self._runner.run([*PROGRAM, "examine", place], timeout=TIMEOUT)
            self._answers[path] = answer_of(ran.out)
        return self._answers[path]


def _of_a_wreck(path: bytes, recorded: _Answer, found: _Answer) -> Iterator[Probed]:
    """Tell what is known of something that SQLite gave up on."""
    yield _judged("opens", path, "a database", found["message"])
    if "sha256" in found:
        yield _judged("bytes", path, _digest(recorded), _digest(found))
    if "integrity" in found:
        yield _integrity(path, recorded, found)


def _digest(answer: _Answer) -> tuple[object, object]:
    return answer["bytes"], answer["sha256"]


def _settings(answer: _Answer) -> dict[str, object]:
    return {name: answer["facts"][name] for name in _SETTINGS}


def _judged(name: str, path: bytes, expected: object, found: object) -> Probed:
    passed = expected == found
    return Probed(name, path, passed=passed, expected=_short(expected), found=_short(found))


def _rows(path: bytes, expected: Mapping[str, Any], found: Mapping[str, Any]) -> Probed:
    for name in sorted({*expected, *found}):
        if expected.get(name) != found.get(name):
            return _judged("rows", path, (name, expected.get(name)), (name, found.get(name)))
    rows = sum(table["rows"] or 0 for table in found.values())
    return _judged("rows", path, *[f"{rows} rows in {len(found)} tables"] * 2)


def _integrity(path: bytes, recorded: _Answer, found: _Answer) -> Probed:
    """Judge what ``integrity_check`` said; rules that the rows broke at the source do not count."""
    messages, known = found["integrity"], recorded["quick_check"]
    if messages is None or known is None:
        return _judged("integrity", path, known, messages)
    wrong = [text for text in messages if not (is_about_values(text) and text in known)]
    already = " (and was so at the source)" if _digest(recorded) == _digest(found) else ""
    return _judged("integrity", path, "ok", f"{wrong[0]}{already}" if wrong else "ok")


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."
