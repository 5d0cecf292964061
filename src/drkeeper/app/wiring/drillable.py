"""Which policies a machine can drill by itself."""

from drkeeper.app.config.configuration import Configuration
from drkeeper.app.wiring.repositories import HOST_KEY, READING_KEYS, known_roles
from drkeeper.model.policy import Policy

_READING = tuple(name for name in READING_KEYS if name != HOST_KEY)


def drillable(configuration: Configuration) -> dict[str, Policy]:
    """Return the policies that are to be drilled and whose repositories a key at hand can read.

    A host that may only write has no such key: its policies are drilled from elsewhere.
    """
    read = {
        name
        for name, settings in configuration.repositories.items()
        if known_roles(settings, _READING)
    }
    return {
        name: policy
        for name, policy in configuration.policies.items()
        if policy.drill.schedule is not None and policy.repository in read
    }


def drillable_bare(configuration: Configuration) -> dict[str, Policy]:
    """Return the policies that are to be drilled from store and kit alone, and whose kit is named."""
    return {
        name: policy
        for name, policy in configuration.policies.items()
        if policy.drill.bare is not None and policy.drill.kit is not None
    }
