"""Whatever Apprise speaks: chats, telephones, pagers (the extra ``drkeeper[apprise]``).

Apprise keeps no deadline for a whole delivery and reads answers without bound, so it works in a
thread of its own that nobody waits for longer than the deadline; one delivery at a time, so that a
server that hangs costs one thread, not one for each message.
"""

import threading
from collections.abc import Sequence
from typing import Any, Final

from drkeeper.errors import NotifyError, NotifyUnavailableError
from drkeeper.faults import point
from drkeeper.model.alarm import Level
from drkeeper.notify.base import MOST_SECONDS, Message, Occasion

_KINDS: Final = {Level.INFO: "info", Level.WARNING: "warning", Level.FAILURE: "failure"}
"""Words of Apprise for levels."""


class AppriseNotifier:
    """Everything behind some Apprise URLs.

    Args:
        urls: Apprise's URLs; each is told.
    """

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = tuple(urls)
        self._busy = threading.Lock()

    def send(self, message: Message, *, within: float = MOST_SECONDS) -> None:
        """Tell every URL once.

        Raises:
            NotifyUnavailableError: At least one could not be told; Apprise does not say why, and
                others may have been told.
            NotifyError: Apprise is not installed, or does not know one of the URLs.
        """
        if not self._busy.acquire(blocking=False):
            raise NotifyUnavailableError(
                "what was told before by Apprise has not ended",
                hint="Look whether its servers work.",
            )
        done = threading.Event()
        told: list[bool] = []

        def work() -> None:
            try:
                told.append(self._told(message))
            except NotifyError as error:
                failed.append(error)
            finally:
                self._busy.release()
                done.set()

        failed: list[NotifyError] = []
        point("notify.apprise.send")
        threading.Thread(target=work, name="drkeeper-apprise", daemon=True).start()
        if not done.wait(within):
            raise NotifyUnavailableError(
                "Apprise did not end in time", hint="Look whether its servers work."
            )
        point("notify.apprise.sent")
        if failed:
            raise failed[0]
        if told != [True]:
            raise NotifyUnavailableError(
                "Apprise could not tell all of its URLs",
                hint="Try each URL with the command apprise -vv.",
            )

    def _told(self, message: Message) -> bool:
        apprise = _library()
        ours = apprise.Apprise()
        for number, url in enumerate(self._urls, 1):
            if not ours.add(url):
                raise NotifyError(
                    f"Apprise does not know the {number}. URL",
                    hint="Compare it with https://github.com/caronc/apprise/wiki.",
                )
        kind = "success" if message.occasion is Occasion.LEFT else _KINDS[message.level]
        try:
            return bool(
                ours.notify(
                    title=message.title, body=message.text, notify_type=kind, body_format="text"
                )
            )
        except Exception:  # noqa: BLE001 - a hundred plug-ins, each with errors of its own
            return False


def _library() -> Any:  # noqa: ANN401 - a module
    """Import Apprise when it is used.

    Raises:
        NotifyError: It is not installed.
    """
    try:
        import apprise  # noqa: PLC0415 - an extra, and slow to import
    except ImportError as error:
        raise NotifyError(
            "Apprise is not installed", hint="Install the extra: pip install drkeeper[apprise]."
        ) from error
    return apprise
