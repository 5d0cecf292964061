"""Who looks after what: on a ledger that several machines share, each speaks for its own alone."""

from collections.abc import Callable

from drkeeper.app.config.configuration import Configuration
from drkeeper.model.alarm import Subject


def looks_after(configuration: Configuration) -> Callable[[Subject], bool]:
    """Return whether this machine is the one to say that something about a subject is over.

    A ledger of its own is all its own, with what was removed from the configuration. On a shared one
    it speaks for what its configuration names, and for itself: its daemon, its copy of a setting.
    """
    host = configuration.host

    def mine(subject: Subject) -> bool:
        match subject.kind:
            case "policy":
                return subject.name in configuration.policies
            case "repository":
                return subject.name in configuration.repositories
            case "channel":
                return subject.name in configuration.channels
            case _:
                return subject.name == host or subject.name.endswith(f" on {host}")

    return (lambda _subject: True) if configuration.ledger is None else mine


def setting(name: str, host: str) -> Subject:
    """Name a setting of one machine, such as ``web``, as the subject of an alarm."""
    return Subject("setting", f"{name} on {host}")
