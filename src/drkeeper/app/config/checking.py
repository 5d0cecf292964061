"""From a document to a checked model, or to the list of everything that is wrong with it."""

from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from drkeeper.app.config.document import (
    Document,
    Mapping,
    Node,
    Sequence,
    plain_value,
    unknown_key,
)
from drkeeper.app.config.fields import NAME
from drkeeper.app.config.problems import Mark, Problem, excerpt_of
from drkeeper.app.config.schema import DIGEST, NOT_YET, is_secret_word
from drkeeper.app.config.settings_schema import SECRET_KEYS, variable_of

Model = TypeVar("Model", bound=BaseModel)
Location = tuple[int | str, ...]

_WORDS = {
    "string_type": "expected text; put it in quotes",
    "int_type": "expected a whole number",
    "bool_type": "expected true or false",
    "list_type": "expected a list",
    "dict_type": "expected keys and values",
    "model_type": "expected keys and values",
    "model_attributes_type": "expected keys and values",
    "command_type": "a command is a list of words: [/usr/local/bin/quiesce, --fast]",
    "too_short": "the list must not be empty",
}

_TAG = "["
"""Begins the names by which pydantic tells the forms of a value apart; no key looks like that."""

_NAME = (
    "only a-z, 0-9, dot, dash and underscore, at most 63 of them, beginning with a letter or digit"
)
_HOST = "only letters, digits, dot, dash and underscore, beginning with a letter or digit"
_PATTERNS = {
    NAME: _NAME,
    DIGEST: "write sha256: or blake3: and 64 hexadecimal digits in lower case",
}


def check(document: Document, model: type[Model]) -> tuple[Model | None, list[Problem]]:
    """Check ``document`` against ``model``; every problem at once, in the order of the file."""
    problems = list(document.problems)
    checked: Model | None = None
    if not document.complete:
        return None, problems
    if isinstance(document.root, Mapping):
        try:
            checked = model.model_validate(plain_value(document.root))
        except ValidationError as error:
            # What the YAML reader has complained about is not reported a second time.
            said = {problem.mark for problem in problems}
            for details in error.errors(include_url=False, include_input=False):
                problem = _problem(document, details, model)
                if problem is not None and problem.mark not in said:
                    problems.append(problem)
    else:
        problems.append(problem_at(document, (), "expected keys and values"))
    if problems:
        return None, sorted(problems, key=lambda problem: problem.mark or Mark(0, 0))
    return checked, []


def problem_at(document: Document, where: Location, message: str) -> Problem:
    """Describe a problem with the value at ``where``."""
    mark = _find(document.root, where)[1]
    return Problem(document.file, mark, message, excerpt_of(document.text, mark))


def _problem(document: Document, details: ErrorDetails, model: type[BaseModel]) -> Problem | None:
    where = details["loc"]
    kind = details["type"]
    if where and where[-1] == "[key]":  # how pydantic says that it means the key of a mapping
        where = where[:-1]
        mark = _key_mark(document.root, where)
        return Problem(
            document.file, mark, f"{where[-1]!r}: {_NAME}", excerpt_of(document.text, mark)
        )
    if where and where[-1] == "[words]" and kind == "list_type":
        kind = "command_type"
    if kind == "extra_forbidden":
        return _extra(document, where, model)
    if kind == "missing":
        if _has_unavailable(document, where[:-1]):
            return None  # said already, by the name of what is there instead
        return problem_at(document, where[:-1], f"key {str(where[-1])!r} is missing")
    name = ".".join(str(part) for part in where if not _is_tag(part)) or "the file"
    message = details["msg"]
    if kind == "value_error":
        message = str(details["ctx"]["error"])
    elif kind == "string_pattern_mismatch":
        message = _PATTERNS.get(details["ctx"]["pattern"], _HOST)
    else:
        message = _WORDS.get(kind, message[:1].lower() + message[1:])
    return problem_at(document, where, f"{name}: {message}")


def _extra(document: Document, where: Location, model: type[BaseModel]) -> Problem:
    key = str(where[-1])
    words = tuple(str(part) for part in where)
    mark = _key_mark(document.root, where)
    found = unknown_key(document, mark, key, _known_keys(model, where[:-1]))
    if model.__name__ == "PolicyFile" and words in NOT_YET:
        return Problem(
            found.file, mark, f"{key!r}: {NOT_YET[words]} is not in this release", found.excerpt
        )
    if words[-2:] in SECRET_KEYS:
        variable = f"DRKEEPER_{variable_of(words[-3], SECRET_KEYS[words[-2:]])}_FILE"
        message = f"{key!r} is a secret, and does not belong in this file; set {variable}"
        return Problem(found.file, mark, message, found.excerpt)
    if is_secret_word(key):
        message = f"unknown key {key!r}; secrets do not belong in this file (docs/configuration.md)"
        return Problem(found.file, mark, message, found.excerpt)
    return found


def _has_unavailable(document: Document, where: Location) -> bool:
    node = _find(document.root, where)[0]
    words = tuple(str(part) for part in where)
    return isinstance(node, Mapping) and any((*words, key) in NOT_YET for key in node.items)


def _find(root: Node, where: Location) -> tuple[Node, Mark]:
    """Return the value at ``where``, or the deepest one on the way that exists, and its place."""
    node, mark = root, root.mark
    for part in where:
        if _is_tag(part):
            continue
        if isinstance(node, Mapping) and str(part) in node.items:
            mark = node.keys[str(part)]
            node = node.items[str(part)]
            if not isinstance(node, Mapping | Sequence):
                mark = node.mark
        elif isinstance(node, Sequence) and isinstance(part, int) and part < len(node.items):
            node = node.items[part]
            mark = node.mark
        else:
            break
    return node, mark


def _is_tag(part: int | str) -> bool:
    return isinstance(part, str) and part.startswith(_TAG)


def _key_mark(root: Node, where: Location) -> Mark:
    node, mark = _find(root, where[:-1])
    return node.keys.get(str(where[-1]), mark) if isinstance(node, Mapping) else mark


def _known_keys(model: type[BaseModel], where: Location) -> list[str]:
    """Return the keys that may stand where ``where`` points, following the models' fields."""
    current: type[BaseModel] | None = model
    for part in where:
        if current is None:
            return []
        field = current.model_fields.get(str(part))
        if field is None:
            continue  # the key of a mapping from names to models; the models come next
        current = _model_in(field.annotation)
    return list(current.model_fields) if current else []


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _model_in(argument)
        if found is not None:
            return found
    return None
