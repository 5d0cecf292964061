"""Errors sound the same wherever they come from."""

import ast
import re
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "drkeeper"
FILES = sorted(SOURCE.rglob("*.py"))


def raised(tree):
    """Yield calls of error classes of drkeeper that are raised or returned."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            name = node.func.id
            if name.endswith("Error") and name in ERRORS and node.args:
                yield node


ERRORS = {
    "ConfigurationError",
    "FencedError",
    "InstantNotReachableError",
    "IntegrityError",
    "KeyNotFoundError",
    "LedgerError",
    "NoSpaceError",
    "NotifyError",
    "NotifyUnavailableError",
    "RepositoryNotFoundError",
    "SourceEmptyError",
    "SourceError",
    "SourceShrunkError",
    "StorageDeniedError",
    "StorageError",
    "StorageUnavailableError",
    "TargetError",
    "VerificationError",
}


def text_of(node):
    """Return the literal text of a string or f-string, values as ``{}``; ``None`` for others."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(
            str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values
        )
    return None


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_messages_are_phrases_and_hints_are_sentences(path):
    """A message is lower case without full stop; a hint is one imperative sentence with one."""
    for call in raised(ast.parse(path.read_text())):
        message = text_of(call.args[0])
        if message:
            where = f"{path.name}:{call.lineno}: {message!r}"
            assert not re.match(r"[A-Z][a-z]", message), where
            assert not re.search(r"[^.]\.$", message), where
        for keyword in call.keywords:
            hint = text_of(keyword.value) if keyword.arg == "hint" else None
            if hint:
                assert hint.endswith("."), f"{path.name}:{call.lineno}: {hint!r}"
                assert hint[0].isupper(), f"{path.name}:{call.lineno}: {hint!r}"
