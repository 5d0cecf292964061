"""``drkeeper snapshots``: what there is to go back to."""

import click

from drkeeper.app.cli.choosing import zone_of
from drkeeper.app.cli.commands import command as make_command
from drkeeper.app.cli.completing import policy_names
from drkeeper.app.cli.invocation import Invocation, this_invocation
from drkeeper.app.cli.opening import damage_warner, open_repository
from drkeeper.app.cli.reaching import Reach, looking_options
from drkeeper.app.cli.text import safe, table
from drkeeper.model.instants import local_text
from drkeeper.model.quantities import format_size
from drkeeper.model.retention import Point, kept
from drkeeper.operations.snapshots import Snapshot, snapshots


@make_command()
@click.argument("policy", required=False, shell_complete=policy_names)
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", help="Only those so marked.")
@looking_options
def command(policy: str | None, *, reach: Reach, tags: tuple[str, ...]) -> None:
    """List snapshots, oldest first.

    The instant is the one that the data describes. A partial snapshot is what an interrupted
    backup left; the next one continues from it. The last column says which rules of the policy's
    retention keep a snapshot; a dash, that none does.
    """
    called = this_invocation()
    repository = open_repository(called, reach, policy)
    rows = []
    found = snapshots(repository, policy, damage_warner(called))
    reasons = _reasons(called, found)
    for snapshot in found:
        if not _is_marked(snapshot, tags):
            continue
        why = reasons.get(snapshot.commit.n)
        called.output.item({**_fields(snapshot), "kept": None if why is None else list(why)})
        commit, root = snapshot.commit, snapshot.root
        zone = zone_of(called, root.policy)
        words = [f"{key}={value}" for key, value in sorted(root.tags.items())]
        if not commit.complete:
            words.insert(0, "partial")
        if root.stats.get("warnings"):
            words.insert(0, f"{root.stats['warnings']} warnings")
        rows.append(
            (
                str(commit.n),
                commit.digest.hex()[:8],
                local_text(commit.consistent_at, zone),
                safe(root.policy),
                safe(root.host),
                str(root.stats.get("files", 0)),
                format_size(commit.counts.plain_bytes),
                format_size(commit.counts.stored_bytes),
                safe(", ".join(words)),
                _short(why),
            )
        )
    called.output.summary({"snapshots": len(rows)})
    if not rows:
        called.output.say("no snapshots yet")
        return
    head = ("no", "id", "instant", "policy", "host", "files", "size", "stored", "", "kept by")
    for line in table([head, *rows], right=frozenset({0, 5, 6, 7})):
        called.output.result(line)


def _reasons(called: Invocation, found: list[Snapshot]) -> dict[int, tuple[str, ...]]:
    """Return why each snapshot is kept; those of unknown policies and other hosts are left out."""
    configuration = called.configuration
    lineages: dict[bytes, list[Snapshot]] = {}
    for snapshot in found:
        lineages.setdefault(snapshot.commit.lineage, []).append(snapshot)
    reasons: dict[int, tuple[str, ...]] = {}
    for line in lineages.values():
        root = line[-1].root
        policy = configuration.policies.get(root.policy)
        if policy is None or root.host != configuration.host:
            continue
        points = [
            Point(snapshot.commit.n, snapshot.commit.consistent_at)
            for snapshot in line
            if snapshot.commit.complete
        ]
        by_rules = kept(points, policy.retention, policy.zone, called.clock.now())
        newest = points[-1].id if points else 0
        for n in (snapshot.commit.n for snapshot in line):
            # What an interrupted backup left helps the next one, until that is complete.
            reasons[n] = by_rules.get(n, ("partial",) if n > newest else ())
    return reasons


def _short(why: tuple[str, ...] | None) -> str:
    """Name the rules; which day and which week it is stands in the line already."""
    if why is None:
        return ""
    return ", ".join(reason if reason[:4] == "last" else reason.split()[0] for reason in why) or "-"


def _is_marked(snapshot: Snapshot, tags: tuple[str, ...]) -> bool:
    marks = {f"{key}={value}" for key, value in snapshot.root.tags.items()}
    return marks.issuperset(tags)


def _fields(snapshot: Snapshot) -> dict[str, object]:
    commit, root = snapshot.commit, snapshot.root
    return {
        "snapshot": commit.n,
        "snapshot_id": commit.digest,
        "policy": root.policy,
        "host": root.host,
        "kind": root.kind,
        "consistent_at": commit.consistent_at,
        "finished_at": commit.finished_at,
        "next_due": commit.next_due,
        "consistency": commit.consistency,
        "complete": commit.complete,
        "files": root.stats.get("files", 0),
        "plain_bytes": commit.counts.plain_bytes,
        "new_bytes": commit.counts.new_bytes,
        "stored_bytes": commit.counts.stored_bytes,
        "warnings": root.stats.get("warnings", 0),
        "tags": root.tags,
    }
