"""The schema of policies, as editors and continuous integration use it."""

import json
from pathlib import Path

import jsonschema
import pytest

from drkeeper.app.config.checking import check
from drkeeper.app.config.document import plain_value, read_document
from drkeeper.app.config.export import schema_text
from drkeeper.app.config.schema import NOT_YET, PolicyFile

POLICIES = Path(__file__).parents[3] / "policies"
SAMPLES = sorted(POLICIES.glob("*.yaml"))


def test_the_kept_schema_is_the_models():
    """policies/policy.schema.json is what ``drkeeper policy schema`` prints."""
    assert (POLICIES / "policy.schema.json").read_text() == schema_text()


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_every_sample_is_right_by_schema_and_by_model(path):
    """Samples work as they stand."""
    document = read_document(str(path), path.read_bytes())
    assert check(document, PolicyFile)[1] == []
    jsonschema.validate(plain_value(document.root), json.loads(schema_text()))
    assert plain_value(document.root)["policy"] == path.stem


def test_the_schema_itself_is_valid():
    """By its own draft."""
    jsonschema.Draft202012Validator.check_schema(json.loads(schema_text()))


def test_keys_of_later_releases_are_not_in_the_schema():
    """A key is either honoured or refused by name, never both."""
    known = json.loads(schema_text())
    for where in NOT_YET:
        if len(where) == 1:
            assert where[0] not in known["properties"]
