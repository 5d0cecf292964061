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


@pytest.mark.parametrize(
    "hooks",
    [
        "{before_backup: [/bin/q, --fast]}",
        "{after_backup: [[/bin/touch, /run/x], {command: [/bin/q], timeout: 30s}]}",
        "{after_failure: []}",
    ],
)
def test_an_editor_takes_what_drkeeper_takes(hooks):
    """Every form of commands, and everything else that has more than one form."""
    text = f"""
policy: p
source: {{files: {{paths: [/a]}}}}
schedule: 30 2 * * mon-fri
jitter: 1h 30m
pause: {{until: 2026-12-24 14:30, reason: moving}}
limits: {{nice: 10, upload: 5 MiB/s, closed: [8:00 - 18:00]}}
retention: {{daily: 7, minimum: 2}}
notify: [ops]
hooks: {hooks}
drill:
  scratch: /var/tmp/drills
  limits: {{memory: 1 GiB, time: 30m, processes: 20}}
  probes:
    - {{sql: SELECT count(*) FROM t, database: /a/t.db, min: 5, max: 7.5}}
    - {{command: [/bin/test, -e, "{{restored}}/a"], expect: 5, timeout: 10s, exit: 1}}
    - {{file: /a/b, min: 1 KiB, max_age: 1d, name: fresh}}
"""
    document = read_document("p.yaml", text.encode())
    assert check(document, PolicyFile)[1] == []
    jsonschema.validate(plain_value(document.root), json.loads(schema_text()))
