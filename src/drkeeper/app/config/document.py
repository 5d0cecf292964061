"""A strict reader of YAML 1.2, with the place of every value.

PyYAML's parser supplies events; everything after that is here, because its loaders follow
YAML 1.1 (``no`` is false, ``22:30`` is 1350) and take the last of duplicate keys in silence. Not
part of this dialect: aliases and anchors, merge keys, tags, directives, several documents.
Each would let a file say something else than its reader sees.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml

from drkeeper.app.config.problems import (
    MOST_PROBLEMS,
    Mark,
    Problem,
    did_you_mean,
    excerpt_of,
)
from drkeeper.app.config.reading import LARGEST_FILE

DEEPEST = 32
"""Most levels of nesting; the schema has five."""
MOST_NODES = 100_000
"""Most values in one file."""

_FORBIDDEN = re.compile(
    # C0 and C1 controls but tab, newline and return; line breaks that YAML 1.1 and 1.2 disagree
    # about; and marks that make a line look different from what it says.
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]"
)
_NO_TEXT = frozenset(["", *"nN~tTfF+-.0123456789"])
"""Everything that is not text begins with one of these, or is nothing."""
_NULL = re.compile(r"(?:null|Null|NULL|~|)", re.ASCII)
_BOOL = re.compile(r"(?:true|True|TRUE|false|False|FALSE)", re.ASCII)
_INT = re.compile(r"(?:[-+]?[0-9]{1,18}|0o[0-7]{1,20}|0x[0-9a-fA-F]{1,15})", re.ASCII)
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
    re.ASCII,
)


@dataclass(slots=True)
class Scalar:
    """A single value as it is written.

    Attributes:
        text: The characters, without quotes.
        plain: Whether it was written without quotes, so that it may be a number.
        mark: Where it begins.
    """

    text: str
    plain: bool
    mark: Mark


@dataclass(slots=True)
class Sequence:
    """A list of values.

    Attributes:
        mark: Where it begins.
        items: The values.
    """

    mark: Mark
    items: list["Node"] = field(default_factory=list)


@dataclass(slots=True)
class Mapping:
    """Keys and their values.

    Attributes:
        mark: Where it begins.
        items: Value by key.
        keys: Place of each key.
    """

    mark: Mark
    items: dict[str, "Node"] = field(default_factory=dict)
    keys: dict[str, Mark] = field(default_factory=dict)


Node = Scalar | Sequence | Mapping


@dataclass(frozen=True, slots=True)
class Document:
    """One file, read.

    Attributes:
        file: Its path.
        text: Its text.
        root: Its value; an empty mapping for an empty file.
        problems: What is wrong with it as YAML.
        complete: Whether ``root`` holds the whole file, so that it is worth checking further.
    """

    file: str
    text: str
    root: Node
    problems: tuple[Problem, ...]
    complete: bool = True


def read_document(file: str, content: bytes) -> Document:
    """Read one file; never raises, every problem is in the answer."""
    empty = Mapping(Mark(1, 1))
    text, problem = _text_of(file, content)
    if problem is not None:
        return Document(file, text, empty, (problem,), complete=False)
    problems = [
        Problem(file, _mark_at(text, match.start()), f"character U+{ord(match[0]):04X} is refused")
        for match, _ in zip(_FORBIDDEN.finditer(text), range(MOST_PROBLEMS), strict=False)
    ]
    if problems:
        return Document(file, text, empty, tuple(problems), complete=False)
    reader = _Reader(file, text)
    root = reader.read()
    return Document(file, text, root or empty, tuple(reader.problems), complete=reader.complete)


def _text_of(file: str, content: bytes) -> tuple[str, Problem | None]:
    if len(content) > LARGEST_FILE:
        message = f"the file is larger than {LARGEST_FILE // 1024} KiB"
        return "", Problem(file, None, message)
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "", Problem(file, None, "the file is UTF-16; save it as UTF-8")
    content = content.removeprefix(b"\xef\xbb\xbf")
    try:
        return content.decode(), None
    except UnicodeDecodeError as error:
        text = content[: error.start].decode()
        byte = content[error.start]
        mark = _mark_at(text, len(text))
        return "", Problem(file, mark, f"byte 0x{byte:02x} is not UTF-8; save the file as UTF-8")


def _mark_at(text: str, index: int) -> Mark:
    start = text.rfind("\n", 0, index) + 1
    return Mark(text.count("\n", 0, index) + 1, index - start + 1)


class _StopError(Exception):
    """Reading on would make no sense."""


class _Reader:
    """Builds the tree from the parser's events, collecting problems on the way."""

    def __init__(self, file: str, text: str) -> None:
        self._file = file
        self._text = text
        self._nodes = 0
        self.problems: list[Problem] = []
        self.complete = False

    def read(self) -> Node | None:
        """Return the value of the one document, or ``None`` when there is none."""
        try:
            root = self._document(yaml.parse(self._text, Loader=_LOADER))
            self.complete = True
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            where = Mark(mark.line + 1, mark.column + 1) if mark else None
            told = " ".join(part for part in (error.context, error.problem) if part)
            self._problem(where, f"not YAML: {told}")
        except yaml.YAMLError as error:
            self._problem(None, f"not YAML: {error}")
        except _StopError:
            pass
        else:
            return root
        return None

    def _document(self, events: Iterator[yaml.Event]) -> Node | None:
        root: Node | None = None
        documents = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self._problem(_mark(event), "a second document; one file holds one")
                    break
                if event.version or event.tags:
                    self._problem(_mark(event), "directives (%YAML, %TAG) are refused")
            elif isinstance(event, yaml.NodeEvent):
                root = self._node(event, events, 1)
        return root

    def _node(self, event: yaml.Event, events: Iterator[yaml.Event], depth: int) -> Node:
        mark = _mark(event)
        self._nodes += 1
        if depth > DEEPEST or self._nodes > MOST_NODES:
            self._refuse_size(mark, depth)
        if isinstance(event, yaml.AliasEvent):
            self._problem(mark, f"alias *{event.anchor} is refused; repeat the value")
            return Scalar("", plain=False, mark=mark)
        self._look(event, mark)
        if isinstance(event, yaml.ScalarEvent):
            return Scalar(event.value, plain=not event.style, mark=mark)
        if isinstance(event, yaml.SequenceStartEvent):
            sequence = Sequence(mark)
            for item in events:
                if isinstance(item, yaml.SequenceEndEvent):
                    break
                sequence.items.append(self._node(item, events, depth + 1))
            return sequence
        return self._mapping(Mapping(mark), events, depth)

    def _mapping(self, mapping: Mapping, events: Iterator[yaml.Event], depth: int) -> Mapping:
        for event in events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            key = self._node(event, events, depth + 1)
            value = self._node(next(events), events, depth + 1)
            self._enter(mapping, key, value)
        return mapping

    def _enter(self, mapping: Mapping, key: Node, value: Node) -> None:
        if not isinstance(key, Scalar):
            self._problem(key.mark, "a key must be a word")
        elif key.plain and key.text == "<<":
            self._problem(key.mark, "merge key << is refused; repeat the keys")
        elif key.text in mapping.items:
            first = mapping.keys[key.text].line
            self._problem(key.mark, f"key {key.text!r} is here twice; first on line {first}")
        else:
            mapping.items[key.text] = value
            mapping.keys[key.text] = key.mark

    def _look(self, event: yaml.Event, mark: Mark) -> None:
        if getattr(event, "anchor", None):
            self._problem(mark, "anchors (&) are refused; repeat the value where it is needed")
        if getattr(event, "tag", None):
            self._problem(mark, "tags (!) are refused; write the plain value")

    def _refuse_size(self, mark: Mark, depth: int) -> None:
        if depth > DEEPEST:
            self._problem(mark, f"nested deeper than {DEEPEST} levels")
        else:
            self._problem(mark, f"more than {MOST_NODES} values")
        raise _StopError

    def _problem(self, mark: Mark | None, message: str) -> None:
        self.problems.append(Problem(self._file, mark, message, excerpt_of(self._text, mark)))
        if len(self.problems) >= MOST_PROBLEMS:
            raise _StopError


_LOADER = yaml.CBaseLoader if yaml.__with_libyaml__ else yaml.BaseLoader


def _mark(event: yaml.Event) -> Mark:
    start = event.start_mark
    return Mark(start.line + 1, start.column + 1) if start else Mark(1, 1)


def plain_value(node: Node) -> object:
    """Return ``node`` as Python values, by the core schema of YAML 1.2.

    Only ``null``, ``true``, ``false`` and decimal, ``0o7`` and ``0x1f`` numbers are not text:
    ``no``, ``22:30``, ``1_000`` and dates are. Keys are always text.

    Source:
        YAML 1.2.2, section 10.3.2, "Tag Resolution".
    """
    match node:
        case Mapping():
            return {key: plain_value(value) for key, value in node.items.items()}
        case Sequence():
            return [plain_value(item) for item in node.items]
        case Scalar(text, plain):
            # Asked in this order since most of what is written is text.
            return plain_scalar(text) if plain and text[:1] in _NO_TEXT else text


def plain_scalar(text: str) -> object:
    """Return what is written without quotes as a Python value, by the same schema."""
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text.lower() == "true"
    if _INT.fullmatch(text):
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        return int(text[2:] if base != 10 else text, base)  # noqa: PLR2004 - ten is ten
    if _FLOAT.fullmatch(text):
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text


def unknown_key(document: Document, mark: Mark, key: str, known: list[str]) -> Problem:
    """Describe a key that the schema does not have, showing nothing of its value."""
    line = excerpt_of(document.text, mark)
    shown = line[: mark.column - 1 + len(key)]
    message = f"unknown key {key!r}{did_you_mean(key, known)}"
    return Problem(document.file, mark, message, f"{shown}: …" if shown.strip() else "")
