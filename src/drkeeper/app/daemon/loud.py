"""The daemon's log as a function of facts, each as loud as it deserves."""

from typing import Final

import structlog

_LOUD: Final = {
    "alarm.raised": "warning",
    "alarms.kept_in_memory": "warning",
    "configuration.needs_restart": "warning",
    "configuration.without_policies": "warning",
    "executor.failed": "critical",
    "executor.settling_failed": "error",
    "ledger.unavailable": "error",
    "ledger.damaged": "error",
    "notify.failed": "warning",
    "notify.ledger_unavailable": "warning",
    "run.improvised": "warning",
    "run.interrupted": "warning",
    "run.killed": "warning",
    "tick.broken": "error",
    "look.broken": "error",
    "watchdog.broken": "error",
    "web.unavailable": "error",
    "textfile.unwritten": "error",
}


def log(event: str, **fields: object) -> None:
    """Write one event: a dotted fact in the past tense, and its fields."""
    level = _LOUD.get(event, "info")
    structlog.get_logger().log(_NUMBERS[level], event, **fields)


_NUMBERS: Final = {"info": 20, "warning": 30, "error": 40, "critical": 50}
"""Source: Python library reference, logging, "Logging Levels"."""
