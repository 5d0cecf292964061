"""Leaving things out by patterns in the manner of gitignore (docs/sources-files.md).

Patterns become regular expressions over bytes once. A policy may be hostile, so the translation
leaves nothing to try twice: every run of ``*`` or ``**`` but the last of its kind stands in an
atomic group, which is right because the leftmost match of a piece never rules out a match of the
pieces after it. Matching a name costs at most its length times that of the pattern.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, auto

from drkeeper.errors import ConfigurationError
from drkeeper.sources.files.globs import MalformedGlobError, translate_component, translate_path

MAX_PATTERN_BYTES = 4096
"""Longest pattern taken. Source: PATH_MAX, Linux limits.h; nothing longer can name a file."""


class _Subject(Enum):
    NAME = auto()
    RELATIVE = auto()  # to the named path
    ABSOLUTE = auto()


@dataclass(frozen=True, slots=True)
class _Rule:
    """One pattern, translated.

    Attributes:
        regex: Source of an expression for a whole subject: a name or a relative path, with a
            slash at the end when it is a directory.
        subject: What of a path the expression is about.
        includes: Whether what matches is kept.
    """

    regex: bytes
    subject: _Subject
    includes: bool


class Excludes:
    """Decides what is left out.

    The last pattern that matches a path decides. Neighbours of one kind are tried at once, from
    the last ones to the first ones.
    """

    def __init__(self, rules: list[_Rule]) -> None:
        self._groups: list[tuple[Callable[[bytes], object], _Subject, bool]] = []
        position = len(rules)
        while position:
            last = rules[position - 1]
            begin = position - 1
            while begin and _alike(rules[begin - 1], last):
                begin -= 1
            union = b"|".join(rule.regex for rule in rules[begin:position])
            matches = re.compile(union, re.DOTALL).fullmatch
            self._groups.append((matches, last.subject, not last.includes))
            position = begin

    @classmethod
    def of(cls, patterns: Iterable[str], named: frozenset[bytes]) -> "Excludes | None":
        """Translate patterns; ``None`` when there are none.

        Args:
            patterns: As in ``FilesSpec.exclude``.
            named: As in ``Roots``; an absolute pattern is one that leads into one of them.

        Raises:
            ConfigurationError: A pattern is malformed.
        """
        rules: list[_Rule] = []
        for pattern in patterns:
            try:
                rule = _rule(pattern, named)
            except MalformedGlobError as error:
                raise ConfigurationError(
                    f"exclude pattern {pattern!r} is malformed: {error}",
                    hint="Correct the pattern; a backslash makes the next character ordinary.",
                ) from error
            if rule is not None:
                rules.append(rule)
        return cls(rules) if rules else None

    def match(self, path: bytes, base: int, *, directory: bool) -> bool:
        """Whether something is left out whose directory is not.

        Args:
            path: As in ``Entry.path``.
            base: How many bytes of it lead to the named path it is in.
            directory: Whether it is a directory.
        """
        name = path[path.rfind(b"/") + 1 :]
        if directory:
            path += b"/"
            name += b"/"
        for matches, subject, excludes in self._groups:
            if subject is _NAME:
                if matches(name) is not None:
                    return excludes
            elif matches(path[base:] if subject is _RELATIVE else path) is not None:
                return excludes
        return False


_WILD = frozenset(b"*?[")
_NAME = _Subject.NAME
_RELATIVE = _Subject.RELATIVE


def _alike(one: _Rule, other: _Rule) -> bool:
    return one.subject is other.subject and one.includes == other.includes


def _rule(pattern: str, named: frozenset[bytes]) -> _Rule | None:
    """Translate one pattern; ``None`` for an empty one or a comment.

    Raises:
        MalformedGlobError: It can never match.
    """
    text = _trimmed(pattern.encode("utf-8", "surrogateescape"))
    if not text or text.startswith(b"#"):
        return None
    if len(text) > MAX_PATTERN_BYTES or b"\0" in text:
        raise MalformedGlobError("it is longer than any path, or holds a NUL byte")
    includes = text.startswith(b"!")
    text = text[includes:]
    ending = b"/?"
    if text.endswith(b"/"):
        text, ending = text[:-1], b"/"
    if b"/" not in text:
        if not text:
            raise MalformedGlobError("it names nothing")
        return _Rule(_whole(translate_component(text), ending), _Subject.NAME, includes)
    components = text.removeprefix(b"/").split(b"/")
    if b"" in components:
        raise MalformedGlobError("it has an empty component")
    absolute = text.startswith(b"/") and any(_leads_into(components, root) for root in named)
    subject = _Subject.ABSOLUTE if absolute else _Subject.RELATIVE
    return _Rule(_whole(translate_path(components), ending), subject, includes)


def _whole(regex: bytes, ending: bytes) -> bytes:
    return b"(?:" + regex + ending + b")"


def _trimmed(text: bytes) -> bytes:
    """Drop spaces at the end, but for one that a backslash protects."""
    bare = text.rstrip(b" ")
    backslashes = len(bare) - len(bare.rstrip(b"\\"))
    return text[: len(bare) + 1] if backslashes % 2 else bare


def _leads_into(components: list[bytes], root: bytes) -> bool:
    """Whether a pattern, read as an absolute path, is about something below ``root``.

    It is if it begins with the very name that ``root`` begins with, matches the rest of ``root``,
    and goes on.

    Raises:
        MalformedGlobError: A component is malformed.
    """
    if not root:
        return True
    names = root.split(b"/")
    if set(components[0]) & _WILD or (len(components) <= len(names) and b"**" not in components):
        return False
    for component, name in zip(components, names, strict=False):
        if component == b"**":
            break
        if re.fullmatch(translate_component(component), name, re.DOTALL) is None:
            return False
    return True
