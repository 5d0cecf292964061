"""Every error that may cross a package boundary.

The tree answers two questions, and a class exists only if it changes an answer::

    who acts?   the exit code: docs/exit-codes.md says whose turn it is
    again?      ``transient`` is True when trying later, unchanged, may succeed

Anything else that escapes an operation is a defect in drkeeper and exits with 70.
"""

from datetime import timedelta
from typing import ClassVar


class DrkeeperError(Exception):
    """Base of all expected failures.

    Attributes:
        exit_code: Process exit status; stable, documented in docs/exit-codes.md.
        transient: Whether the same call may succeed later without human action.
        hint: One imperative sentence naming the next thing to do, or ``None``.
        context: Structured facts for the log and the ledger; never secrets.
    """

    exit_code: ClassVar[int] = 1
    transient: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str | None = None, **context: object) -> None:
        super().__init__(message)
        self.hint = hint
        self.context = context


class RepositoryNotFoundError(DrkeeperError):
    """There is no repository where one was expected."""

    exit_code = 10


class FencedError(DrkeeperError):
    """Another process changed the repository in a way that ends this run."""

    exit_code = 11
    transient = True


class RunningError(FencedError):
    """A living run of the same policy does this already; nothing was begun."""


class KeyNotFoundError(DrkeeperError):
    """No identity at hand opens this object, or a passphrase is wrong."""

    exit_code = 12


class ConfigurationError(DrkeeperError):
    """A configuration, policy or key file is missing, malformed or contradicts itself."""

    exit_code = 13


class VerificationError(DrkeeperError):
    """Restored bytes differ from what was promised."""

    exit_code = 15


class InstantNotReachableError(DrkeeperError):
    """No recovery point satisfies the requested instant."""

    exit_code = 16


class StorageError(DrkeeperError):
    """The object store refused a request."""

    exit_code = 17


class StorageUnavailableError(StorageError):
    """No answer, or a request to slow down; a write may or may not have happened."""

    transient = True


class StorageDeniedError(StorageError):
    """The store does not accept the credentials, or they do not allow this."""


class ObjectNotFoundError(StorageError):
    """The store has no object of this name."""


class ObjectExistsError(StorageError):
    """An object of this name exists already, so it was not created."""


class SourceError(DrkeeperError):
    """What should be protected is missing or cannot be read."""

    exit_code = 18


class SourceEmptyError(SourceError):
    """Nothing is left of what should be protected, and nobody has said that this is right."""


class SourceShrunkError(SourceError):
    """Nearly everything of it is gone, and nobody has said that this is right."""


class SourceBusyError(SourceError):
    """Another program keeps it to itself; nothing is wrong with it."""

    transient = True


class IntegrityError(DrkeeperError):
    """Stored bytes are not the ones drkeeper wrote; never retried, always reported."""

    exit_code = 20


class NoSpaceError(DrkeeperError):
    """A file system or a store is full."""

    exit_code = 21
    transient = True


class TargetError(DrkeeperError):
    """A restore target cannot be used as it is."""

    exit_code = 22


class LedgerError(DrkeeperError):
    """The local ledger cannot be read or written."""

    exit_code = 23


class LedgerBusyError(LedgerError):
    """Another process keeps the ledger to itself; nothing was written."""

    transient = True


class NotifyError(DrkeeperError):
    """A channel did not take a message, and will not take it unchanged."""

    exit_code = 24


class NotifyUnavailableError(NotifyError):
    """A channel's server did not answer in time, or asked to come later; it may have the message.

    Attributes:
        wait: How long the server asked to be left alone; ``None`` when it did not say.
    """

    transient = True

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        wait: timedelta | None = None,
        **context: object,
    ) -> None:
        super().__init__(message, hint=hint, **context)
        self.wait = wait


class LedgerUnavailableError(LedgerError):
    """The ledger's server does not answer; what was being written may or may not be there."""

    transient = True


class ScratchError(DrkeeperError):
    """The place in which restores are proven cannot be had, or broke; the backup may be sound."""

    exit_code = 25
