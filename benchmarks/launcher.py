"""Run the command given as arguments and print what it took, as one line of JSON.

A process of its own and lean on purpose. The kernel counts the largest resident set of a process
from before ``exec``, when a spawned child still shares the memory of the one that spawned it: a
runner that holds 300 MiB would make `/bin/true` seem to need 300 MiB. This one holds about 10.
"""

import json
import os
import sys
import time


def main() -> None:
    """Run to the end; what the command prints goes to standard error."""
    command = sys.argv[1:]
    began = time.perf_counter()
    pid = os.posix_spawnp(
        command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, 2, 1)]
    )
    _, status, usage = os.wait4(pid, 0)
    took = {
        "wall_s": time.perf_counter() - began,
        "user_s": usage.ru_utime,
        "system_s": usage.ru_stime,
        "peak_mib": usage.ru_maxrss / 1024,
    }
    print(json.dumps({"status": os.waitstatus_to_exitcode(status), "took": took}))


if __name__ == "__main__":
    main()
