"""Whatever Apprise speaks: chats, telephones, pagers (the extra ``drkeeper[apprise]``).

Apprise keeps no deadline for a whole delivery and reads answers without bound. So each delivery is
a child process, which has limits of its own and is ended at the deadline: a hundred plug-ins that
nobody here wrote never run in the daemon, and never hold it up.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from drkeeper.errors import NotifyError, NotifyUnavailableError
from drkeeper.faults import point
from drkeeper.model.alarm import Level
from drkeeper.notify.apprise_child import FAILED, TOLD, UNKNOWN_URL
from drkeeper.notify.base import MOST_SECONDS, Message, Occasion

_KINDS: Final = {Level.INFO: "info", Level.WARNING: "warning", Level.FAILURE: "failure"}
"""Words of Apprise for levels."""

_ENVIRONMENT: Final = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
"""All that the child is told of ours: no secrets, no proxies."""


class AppriseNotifier:
    """Everything behind some Apprise URLs.

    Args:
        urls: Apprise's URLs; each is told.
    """

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = tuple(urls)

    def send(self, message: Message, *, within: float = MOST_SECONDS) -> None:
        """Tell every URL once.

        Raises:
            NotifyUnavailableError: At least one could not be told; Apprise does not say why, and
                others may have been told.
            NotifyError: Apprise is not installed, or does not know one of the URLs.
        """
        if find_spec("apprise") is None:
            raise NotifyError(
                "apprise is not installed", hint="Install the extra: pip install drkeeper[apprise]."
            )
        over = message.occasion is Occasion.LEFT
        asked = {
            "urls": self._urls,
            "title": message.title,
            "body": message.text,
            "kind": "success" if over else _KINDS[message.level],
            "seconds": within,
        }
        point("notify.apprise.send")
        code = _run(json.dumps(asked).encode(), within)
        point("notify.apprise.sent")
        if code >= UNKNOWN_URL:
            raise NotifyError(
                f"apprise does not know URL number {code - UNKNOWN_URL + 1}",
                hint="Compare it with https://github.com/caronc/apprise/wiki.",
            )
        if code != TOLD:
            said = "could not tell all of its URLs" if code == FAILED else "broke off"
            raise NotifyUnavailableError(
                f"apprise {said}", hint="Try each URL with the command apprise -vv."
            )


def _run(asked: bytes, within: float) -> int:
    """Let the child tell, and return its exit code.

    Raises:
        NotifyUnavailableError: It took too long, or could not be started.
    """
    child = Path(__file__).with_name("apprise_child.py")
    try:
        done = subprocess.run(  # noqa: S603 - ourselves; the URLs go by standard input
            [sys.executable, "-I", str(child)],
            input=asked,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=_ENVIRONMENT,
            timeout=within,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise NotifyUnavailableError(
            "apprise did not end in time", hint="Look whether its servers work."
        ) from error
    except OSError as error:
        raise NotifyUnavailableError(
            f"apprise could not be started: {error.strerror}",
            hint="Look how many processes this user may have.",
        ) from error
    return done.returncode
