"""Who is told about what, as policies and channels say it."""

from collections.abc import Iterable
from zoneinfo import ZoneInfo

from drkeeper.app.config.configuration import Configuration
from drkeeper.model.channel import Channel, HeartbeatChannel
from drkeeper.operations.notifying import Audience, Audiences


def audiences_of(configuration: Configuration, channels: Iterable[Channel]) -> Audiences:
    """Return who is told about what.

    A policy that names no channel tells all that are no heartbeats: silence must be asked for. So
    does a repository through the policies that use it.
    """
    known = list(channels)
    people = frozenset(each.name for each in known if not isinstance(each.kind, HeartbeatChannel))
    policies = {
        name: Audience(frozenset(policy.notify) or people, policy.zone, policy.zone_name)
        for name, policy in configuration.policies.items()
    }
    zone = ZoneInfo(configuration.zone_name)
    about_all = frozenset(each.name for each in known if each.daemon)
    repositories = {}
    for name in configuration.repositories:
        users = sorted(
            each.name for each in configuration.policies.values() if each.repository == name
        )
        told = frozenset[str]().union(*(policies[user].channels for user in users)) or about_all
        repositories[name] = Audience(told, zone, configuration.zone_name, tuple(users))
    return Audiences(
        everything=Audience(about_all, zone, configuration.zone_name),
        policies=policies,
        repositories=repositories,
    )
