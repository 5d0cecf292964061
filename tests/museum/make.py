"""Make a piece for the museum: run once for each release that changes what is written."""

import json
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from doubles.real_repository import Facts, make
from drkeeper.storage.folder import FolderStore

SOURCES = Path("/srv/drkeeper-museum")
"""Entries carry absolute paths: these are the same on every machine."""


def as_json(facts: Facts) -> dict[str, list[object]]:
    """Return facts about a tree with all bytes in hex."""
    return {
        path.hex(): [
            mode,
            list(owner),
            size,
            mtime,
            content.hex() if isinstance(content, bytes) else content,
            [[name, value.hex()] for name, value in attributes],
            None if linked is None else linked.hex(),
        ]
        for path, (mode, owner, size, mtime, content, attributes, linked) in facts.items()
    }


def main(folder: Path) -> None:
    """Fill a new folder."""
    store, keys = folder / "store", folder / "keys"
    for path in (store, keys, SOURCES):
        path.mkdir(parents=True)
    try:
        made = make(FolderStore(str(store)), SOURCES)
    finally:
        shutil.rmtree(SOURCES)
    for name in ("admin", "host", "janitor", "verifier", "recovery"):
        text = getattr(made.keys, name).to_text()
        (keys / f"{name}.key").write_text(text, encoding="utf-8")
    (keys / "other-host.key").write_text(made.other_host.to_text(), encoding="utf-8")
    trees: list[Facts] = []
    snapshots = []
    for snapshot in made.snapshots:
        if snapshot.facts not in trees:
            trees.append(snapshot.facts)
        snapshots.append(
            {
                "n": snapshot.n,
                "complete": snapshot.complete,
                "root": snapshot.root.hex(),
                "tree": trees.index(snapshot.facts),
            }
        )
    expected = {
        "admins": list(made.keys.admins),
        "snapshots": snapshots,
        "trees": [as_json(facts) for facts in trees],
    }
    text = json.dumps(expected, separators=(",", ":"))
    (folder / "expected.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
