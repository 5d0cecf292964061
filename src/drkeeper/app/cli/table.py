"""The table of commands: what ``drkeeper --help`` shows, and where each command lives.

Only the module of the command that is called gets imported; that keeps ``--help`` and completion
fast. A test compares the help here with the command's own.
"""

from typing import NamedTuple


class Row(NamedTuple):
    """One command.

    Attributes:
        module: Module below ``drkeeper.app.cli``; its attribute ``command`` is the command.
        help: First line of its help.
        section: Under which heading it is listed.
    """

    module: str
    help: str
    section: str


DAILY = "Every day"
LOOK = "Look without restoring"
CARE = "Set up and care"

COMMANDS = {
    "init": Row("init", "Make a repository, its keys and a first configuration.", CARE),
    "backup": Row("backup", "Take a snapshot of what policies protect, now.", DAILY),
    "run": Row("run", "Run what is due, once, and end: for timers instead of the daemon.", DAILY),
    "restore": Row("restore", "Bring back what a policy protects, as it was at an instant.", DAILY),
    "drill": Row("drill", "Prove that policies come back, and measure how fast.", DAILY),
    "daemon": Row(
        "daemon", "Keep every policy: back up when it is due, and say what is wrong.", DAILY
    ),
    "status": Row(
        "status", "Show how every policy stands: last success, next run, RPO, RTO, alarms.", DAILY
    ),
    "report": Row("report", "Write what a quarter has shown, as evidence for others.", DAILY),
    "plan": Row("plan", "Show what runs next, why then, and the RPO it achieves.", LOOK),
    "snapshots": Row("snapshots", "List snapshots, oldest first.", LOOK),
    "ls": Row("ls", "List what a snapshot holds.", LOOK),
    "find": Row("find", "Find paths by pattern in snapshots.", LOOK),
    "diff": Row("diff", "Show what changed between two snapshots.", LOOK),
    "cat": Row("cat", "Write one file of a snapshot to standard output.", LOOK),
    "rescue": Row(
        "rescue",
        "Begin again on an empty machine: configuration, policies and ledger, then the data.",
        DAILY,
    ),
    "check": Row("check", "Check that a repository is whole and unchanged.", DAILY),
    "policy": Row("policy", "Check, explain and begin policies.", CARE),
    "key": Row("key", "List keys and print the recovery kit's page.", CARE),
    "doctor": Row("doctor", "Examine this installation, line by line.", CARE),
    "notify": Row("notify", "List the channels that tell people, and test them.", CARE),
    "ledger": Row(
        "ledger", "Verify, store, rebuild, export and ask the local record of runs.", CARE
    ),
    "action": Row(
        "action", "Open, close and list corrective actions, beside the incidents they answer.", CARE
    ),
    "config": Row("config", "Show where configuration is and what it says.", CARE),
    "completion": Row("completion", "Print the completion script for a shell.", CARE),
    "demo": Row("demo", "Watch drkeeper lose and recover a small project.", DAILY),
}
