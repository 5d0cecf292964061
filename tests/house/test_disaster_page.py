"""docs/disaster.md: five disasters are made to happen, and the page's commands, as shown, undo them."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

import drkeeper

PAGE = Path(__file__).parents[2] / "docs" / "disaster.md"
SECTIONS = {
    part.split("\n", 1)[0]: part for part in PAGE.read_text().split("\n## ") if "```console" in part
}
POLICY = """
policy: shop
source: {{sqlite: {{databases: [{home}/shop.db]}}}}
time_zone: UTC
schedule: daily at 03:00
repository: primary
"""

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("sqlite3") is None, reason="no sqlite3 (scripts/install-test-services)"
    ),
]


def commands(section):
    blocks = re.findall(r"^ *```console\n(.*?)^ *```", SECTIONS[section], re.MULTILINE | re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    assert all(line.startswith("$ ") for line in lines)
    return [line.removeprefix("$ ") for line in lines]


class Machine:
    """A home with two policies and two snapshots of each, and the hands that type."""

    def __init__(self, folder, store=None):
        self.home = folder / "home"
        self.programs = folder / "programs"
        self.store = store or folder / "store"
        self.variables = {}
        self.home.mkdir(parents=True)
        self.programs.mkdir()
        script = self.programs / "drkeeper"
        script.write_text(f'#!/bin/sh\nexec {sys.executable} -m drkeeper "$@"\n')
        script.chmod(0o755)

    def type(self, command, *, check=True):
        environment = {
            "PATH": f"{self.programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(Path(drkeeper.__file__).parents[1]),
            "HOME": str(self.home),
            "DRKEEPER_CONFIG": str(self.home / "etc"),
            "DRKEEPER_STATE_DIR": str(self.home / "state"),
            "DRKEEPER_CACHE_DIR": str(self.home / "cache"),
            **self.variables,
        }
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            env=environment, cwd=self.home, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=120, check=False,
        )  # fmt: skip
        assert not check or done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    def follow(self, section):
        """Type what the page shows, in order; return what was said."""
        return [self.type(command) for command in commands(section)]

    def begin(self):
        """Have two policies, and two snapshots of each."""
        self.store.parent.mkdir(exist_ok=True)
        (self.home / "documents" / "letters").mkdir(parents=True)
        self.write("letters/one.txt", "Dear reader\n")
        self.write("list.txt", "a list\n")
        self.sql("CREATE TABLE orders (id INTEGER PRIMARY KEY, what TEXT NOT NULL)")
        self.sql("CREATE TABLE people (name TEXT)")
        self.sql("INSERT INTO orders (what) VALUES ('a pen'), ('some paper')")
        options = "--policy documents --protect ~/documents --kit-file ~/kit.txt"
        self.type(f"drkeeper init {self.store} {options}")
        (self.home / "etc" / "policies.d" / "shop.yaml").write_text(POLICY.format(home=self.home))
        self.type("drkeeper backup --all")
        self.write("list.txt", "a longer list\n")
        self.type("drkeeper backup --all")
        return self

    def write(self, name, text):
        (self.home / "documents" / name).write_text(text)

    def read(self, name):
        return (self.home / "documents" / name).read_text()

    def sql(self, statement):
        with closing(sqlite3.connect(self.home / "shop.db")) as connection:
            rows = connection.execute(statement).fetchall()
            connection.commit()
            return rows

    def snapshots(self, policy):
        said = self.type(f"drkeeper snapshots {policy} --json").splitlines()
        return [line for line in map(json.loads, said) if line["message_type"] == "item"]

    def lose(self):
        """Keep nothing of the machine but what is on paper."""
        for path in self.home.iterdir():
            if path.name != "kit.txt":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        (self.home / "kit.txt").chmod(0o644)  # as a browser saves it


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path).begin()


def test_the_page_has_five_disasters():
    """Each with commands, each command of drkeeper's or of any system's."""
    assert len(SECTIONS) == 5
    first = {command.split()[0] for section in SECTIONS for command in commands(section)}
    assert first == {"drkeeper", "cat", "chmod", "cp", "sqlite3"}


def test_a_deleted_file_comes_back(machine):
    """And nothing else is touched meanwhile."""
    (machine.home / "documents" / "letters" / "one.txt").unlink()
    machine.write("list.txt", "changed since\n")
    found, *_ = machine.follow("A file was deleted")
    assert "one.txt" in found
    assert machine.read("letters/one.txt") == "Dear reader\n"
    assert machine.read("list.txt") == "changed since\n"


def test_a_dropped_table_comes_back(machine):
    """Also when it was backed up without it since; what came into other tables stays."""
    machine.variables["BEFORE"] = machine.snapshots("shop")[-1]["finished_at"]
    machine.sql("DROP TABLE orders")
    machine.sql("INSERT INTO people VALUES ('Ada')")
    machine.type("sleep 1.1; drkeeper backup shop")
    machine.follow("A table was dropped")
    assert machine.sql("SELECT what FROM orders ORDER BY id") == [("a pen",), ("some paper",)]
    assert machine.sql("SELECT name FROM people") == [("Ada",)]
    with pytest.raises(sqlite3.IntegrityError):
        machine.sql("INSERT INTO orders (what) VALUES (NULL)")


def test_a_lost_host_comes_back(machine):
    """From the store and the paper alone, and it goes on: backups, ledger, status."""
    before = machine.type("drkeeper ledger query 'SELECT count(*) FROM runs'")
    machine.lose()
    machine.follow("The host is lost")
    assert machine.read("letters/one.txt") == "Dear reader\n"
    assert machine.read("list.txt") == "a longer list\n"
    assert machine.sql("SELECT count(*) FROM orders") == [(2,)]
    after = machine.type("drkeeper ledger query 'SELECT count(*) FROM runs'")
    assert int(after.split()[-1]) > int(before.split()[-1])
    both = machine.type("drkeeper snapshots documents --json --identity ~/kit.txt").splitlines()
    assert sum('"item"' in line for line in both) == 3
    machine.type("drkeeper restore documents --to ~/newest")
    machine.type("drkeeper restore documents --identity ~/kit.txt --to ~/newest-too")


def test_stolen_credentials_show_that_nothing_was_done(machine, tmp_path):
    """The thief has copied everything: no name and no text of ours is in what he has."""
    shutil.copytree(machine.store, tmp_path / "loot")
    machine.follow("The credentials of the bucket were stolen")
    for path in (tmp_path / "loot").rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert b"Dear reader" not in content
        assert b"letters" not in content
        assert b"documents" not in content


def test_after_ransomware_the_last_good_data_is_back(machine):
    """From before the first bad snapshot, on a clean machine, with new keys."""
    machine.variables["GOOD"] = str(machine.snapshots("documents")[-1]["snapshot"])
    for name in ("letters/one.txt", "list.txt"):
        (machine.home / "documents" / name).write_bytes(os.urandom(500))
    machine.type("drkeeper backup documents")
    machine.variables["BAD"] = str(machine.snapshots("documents")[-1]["snapshot"])
    stolen = (machine.home / "etc" / "keys" / "primary" / "host.key").read_text()
    machine.lose()
    machine.follow("Ransomware")
    assert machine.read("list.txt") == "a longer list\n"
    assert machine.read("letters/one.txt") == "Dear reader\n"
    key = machine.home / "etc" / "keys" / "primary" / "host.key"
    assert key.read_text() != stolen
    key.write_text(stolen)
    refused = machine.type("drkeeper backup documents; echo ended with $?", check=False)
    assert "ended with 0" not in refused
