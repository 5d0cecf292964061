"""``drkeeper drill`` as a process: every kind, proven and not, in text and in JSON."""

import json
import sqlite3
from contextlib import closing

import pytest

from doubles.installation import Installation
from doubles.scratching import need
from drkeeper.scratch.base import ScratchKind


@pytest.fixture
def installed(tmp_path):
    """Return an installation with one snapshot of files."""
    made = Installation(tmp_path).init()
    made.done("backup", "files")
    return made


@pytest.fixture
def shop(installed):
    """Add a database with a policy that asks it something, and a snapshot of it."""
    path = installed.home / "shop.db"
    with closing(sqlite3.connect(path)) as bank:
        bank.execute("PRAGMA journal_mode = wal")
        bank.execute("CREATE TABLE orders(id INTEGER PRIMARY KEY, at TEXT)")
        bank.executemany("INSERT INTO orders(at) VALUES(datetime('now'))", [()] * 500)
        bank.commit()
    installed.policy(
        "shop",
        f"""policy: shop
source:
  sqlite: {{databases: [{path}]}}
objectives: {{rpo: 1h, rto: 10m}}
drill:
  probes:
    - {{sql: SELECT count(*) FROM orders, min: 500, name: orders}}
    - {{sql: SELECT max(at) FROM orders, max_age: 1h}}
    - {{command: [/usr/bin/grep, -c, SQLite format 3, "{{restored}}{path}"], expect: 1}}
    - {{file: {path}, min: 4 KiB}}
""",
    )
    installed.done("backup", "shop")
    return installed


def facts(result):
    """Return the summary of a command that wrote JSON lines."""
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    return [each for each in lines if each["message_type"] == "summary"][-1]


def test_a_policy_is_proven(shop):
    """Exit 0, and each number is in the ledger, whose chain is whole."""
    found = facts(shop.run("drill", "shop", "--json"))
    assert (found["verdict"], found["reason"]) == ("proven", "")
    assert {each["outcome"] for each in found["probes"] + found["controls"]} == {"passed"}
    assert found["controls"][-1]["fault"] == "nothing-there"
    rows = shop.lines("ledger", "query", "SELECT verdict, achieved_rto_s FROM drills")
    assert json.dumps(found["achieved_rto_seconds"]) in json.dumps(rows)
    shop.done("ledger", "verify")
    assert list((shop.home / "cache" / "scratch").iterdir()) == []


def test_what_is_not_proven_ends_with_15_and_says_what_to_do(shop):
    """The verdict and its reason come first, a hint last; the other policy is drilled all the same."""
    for pack in (shop.home / "store" / "packs").rglob("*"):
        if pack.is_file():
            pack.unlink()
    result = shop.run("drill", "--all")
    assert result.returncode == 15, result.stderr
    assert result.stdout.count(": FAILED: ") == 2
    assert result.stderr.count("hint: Run drkeeper check") == 2
    assert "Traceback" not in result.stderr
    runs = json.dumps(shop.lines("ledger", "query", "SELECT state, operation FROM runs"))
    assert runs.count("drill") == 2


def test_an_answer_that_is_wrong_is_unsound(shop):
    """What was restored is right byte by byte, and not what the policy asks for."""
    path = shop.etc / "policies.d" / "shop.yaml"
    path.write_text(path.read_text().replace("min: 500", "min: 501"))
    result = shop.run("drill", "shop")
    assert result.returncode == 15
    assert "shop: UNSOUND: probe orders failed: expected at least 501, found 500" in result.stdout


@pytest.mark.parametrize("kind", ["random", "oldest"])
def test_a_kind_may_say_of_which_point(installed, kind):
    """``--kind oldest`` is a restore of the oldest point, as ``--at oldest`` is."""
    installed.done("drill", "files", "--kind", kind)
    said = installed.lines("ledger", "query", "SELECT kind, choice FROM drills")
    assert said[0]["row"] == {"kind": "restore", "choice": kind}


def test_a_command_reads_what_the_policy_names(installed):
    """A script and what lies beside it: kept from the sandbox, unless the policy names their folder."""
    need(ScratchKind.BUBBLEWRAP, installed.home / "trial")
    folder = installed.home / "opt"
    folder.mkdir(mode=0o755)
    script = folder / "check"
    script.write_text('#!/bin/sh\nexec grep -qxf "${0%/*}/expected" "$1"\n')
    script.chmod(0o755)
    (folder / "expected").write_text("one\n")
    text = (installed.etc / "policies.d" / "files.yaml").read_text()
    probe = f'{{command: [{script}, "{{restored}}{installed.source}/one.txt"]}}'
    installed.policy("files", f"{text}\ndrill: {{probes: [{probe}]}}\n")
    assert facts(installed.run("drill", "files", "--json"))["verdict"] == "unsound"
    installed.policy("files", f"{text}\ndrill: {{probes: [{probe}], readable: [{folder}]}}\n")
    assert facts(installed.run("drill", "files", "--json"))["verdict"] == "proven"


def test_a_database_of_many_tables(installed):
    """What is said of 200 very long names is more than programs usually say, and is heard to its end."""
    path = installed.home / "wide.db"
    with closing(sqlite3.connect(path)) as wide:
        wide.execute("PRAGMA page_size = 512")
        for number in range(200):
            wide.execute(f"CREATE TABLE {'a_table_with_a_long_name' * 300}{number}(a)")
        wide.commit()
    installed.policy("wide", f"policy: wide\nsource:\n  sqlite: {{databases: [{path}]}}\n")
    installed.done("backup", "wide")
    found = facts(installed.run("drill", "wide", "--json"))
    assert (found["verdict"], found["reason"]) == ("proven", "")


def test_many_at_once(shop):
    """One row for the whole, one for each policy, linked by the number of the whole."""
    result = shop.run("drill", "--all", "--kind", "mass", "--json")
    assert result.returncode == 0, result.stderr
    whole = facts(result)
    assert (whole["kind"], whole["verdict"]) == ("mass", "proven")
    assert [each["name"] for each in whole["probes"]] == ["files", "shop"]
    rows = json.dumps(shop.lines("ledger", "query", "SELECT parent FROM drills WHERE parent > 0"))
    assert rows.count(f'"parent": {whole["drill"]}') == 2


def test_bare_from_store_and_kit_alone(shop):
    """A process without configuration, keys, state and cache proves the policy; we remember it."""
    keys = shop.etc / "keys"
    keys.rename(shop.home / "gone")
    result = shop.run("drill", "shop", "--kind", "bare", "--identity", shop.kit, "--json")
    assert result.returncode == 0, (result.stdout, result.stderr)
    found = facts(result)
    assert (found["kind"], found["verdict"]) == ("bare", "proven")
    assert found["phases"][0]["phase"] == "keys-opened"
    assert found["achieved_rto_seconds"] > found["phases"][0]["elapsed_seconds"]


def test_a_kit_that_opens_nothing_fails_the_bare_drill(installed, tmp_path):
    """The kit is drilled, not trusted: another repository's opens nothing here."""
    other = Installation(tmp_path / "other")
    other.home.mkdir()
    other.source.mkdir()
    other._do_init()
    options = ["--kind", "bare", "--identity", other.kit, "--store", installed.store]
    result = installed.run("drill", "files", *options)
    assert result.returncode == 15, (result.stdout, result.stderr)
    assert "files: FAILED: " in result.stdout


def test_each_key_opens_what_it_must(installed):
    """The keys at hand, each alone, and the kit's; a key made for the purpose opens nothing."""
    mine = facts(installed.run("drill", "--kind", "key", "--json"))
    kits = facts(installed.run("drill", "--kind", "key", "--identity", installed.kit, "--json"))
    assert mine["verdict"] == kits["verdict"] == "proven"
    assert mine["controls"][0]["fault"] == "wrong-key"
    rows = installed.lines("ledger", "query", "SELECT role, opened FROM key_drills")
    assert "recovery" in json.dumps(rows)


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["files", "--at", "2020-01-01T00:00:00Z"], 15, "no snapshot of files is as old as"),
        (["nothing"], 13, "no policy 'nothing'"),
        ([], 2, "name the policies to drill"),
        (["files", "--kind", "bare"], 2, "takes --identity KIT"),
        (["files", "--kind", "key"], 2, "keys belong to a repository"),
        (["files", "--at", "soon"], 2, "--at"),
        (["files", "--kind", "random", "--at", "oldest"], 2, "contradict each other"),
    ],
)
def test_what_cannot_be(installed, arguments, code, told):
    """Each refusal has its exit code and its reason."""
    result = installed.run("drill", *arguments)
    assert result.returncode == code, (result.stdout, result.stderr)
    assert told in result.stdout + result.stderr
