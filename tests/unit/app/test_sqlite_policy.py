"""Policies that protect databases."""

import json
from datetime import timedelta

import jsonschema
import pytest

from drkeeper.app.config.checking import check
from drkeeper.app.config.document import plain_value, read_document
from drkeeper.app.config.export import schema_text
from drkeeper.app.config.schema import PolicyFile


def read(source: str):
    """Return the checked policy and what is wrong with it, as people see it."""
    document = read_document("p.yaml", f"policy: p\nsource: {source}\n".encode())
    file, problems = check(document, PolicyFile)
    return file, [problem.message for problem in problems], plain_value(document.root)


def is_right_by_schema(value: object) -> bool:
    return not list(jsonschema.Draft202012Validator(json.loads(schema_text())).iter_errors(value))


def test_databases_and_a_timeout():
    """What a policy says, in the types of the rest of drkeeper."""
    file, problems, value = read("{sqlite: {databases: [/a.db, /b.db], busy_timeout: 90s}}")

    assert problems == []
    assert file.source.sqlite.databases == ["/a.db", "/b.db"]
    assert file.source.sqlite.busy_timeout == timedelta(seconds=90)
    assert is_right_by_schema(value)


_NOT_IN_THE_SCHEMA = {"a.db", "1d"}
"""What JSON Schema cannot tell, or what this one does not tell."""


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{}", "write exactly one kind of source: files or sqlite"),
        (
            "{files: {paths: [/a]}, sqlite: {databases: [/b]}}",
            "write exactly one kind of source: files or sqlite",
        ),
        ("{sqlite: {databases: []}}", "databases"),
        ("{sqlite: {databases: [a.db]}}", "a.db"),
        ("{sqlite: {databases: [/a.db], busy_timeout: 2d}}", "1d"),
        ("{sqlite: {paths: [/a.db]}}", "paths"),
        ("{postgresql: {}}", "PostgreSQL as a source is not in this release"),
    ],
)
def test_what_is_wrong_is_said(source, message):
    """One problem each, and it names what to write or what is unknown."""
    _, problems, value = read(source)

    assert any(message in problem for problem in problems), problems
    if message not in _NOT_IN_THE_SCHEMA:
        assert not is_right_by_schema(value)
