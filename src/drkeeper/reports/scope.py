"""What a report takes from the configuration: what is promised, for what, and where it is kept."""

from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from drkeeper.reports.figures import us


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyScope:
    """What is promised for one source.

    Attributes:
        policy: Name of the policy.
        definition: Digest of all it says; the ledger recorded it when the daemon saw it.
        source: Kind of source.
        protects: What of it, in the policy's words.
        repository: Name of the repository.
        schedule: When it runs, in words; empty when only by hand.
        keeps: What is kept, in words.
        rpo: Most data, as time, that may be lost.
        rto: Longest time to a proven restore.
    """

    policy: str
    definition: str
    source: str
    protects: tuple[str, ...]
    repository: str
    schedule: str = ""
    keeps: tuple[str, ...] = ()
    rpo: timedelta | None = None
    rto: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryScope:
    """Where recovery points are kept.

    Attributes:
        name: In the configuration.
        store: Its address, without credentials.
        medium: ``folder`` or ``object store``.
        check_within: How long ago the last good check may be.
    """

    name: str
    store: str
    medium: str
    check_within: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What the report is about.

    Attributes:
        host: Name of the machine.
        policies: In order of their names.
        repositories: In order of their names.
    """

    host: str
    policies: tuple[PolicyScope, ...] = ()
    repositories: tuple[RepositoryScope, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return it as the report has it."""
        policies = [
            asdict(each)
            | {"protects": [*each.protects], "keeps": [*each.keeps]}
            | {"rpo_us": us(each.rpo), "rto_us": us(each.rto)}
            for each in self.policies
        ]
        stores = [
            asdict(each) | {"check_within_us": us(each.check_within)} for each in self.repositories
        ]
        for each in policies:
            del each["rpo"], each["rto"]
        for each in stores:
            del each["check_within"]
        return {"host": self.host, "policies": policies, "repositories": stores}
