"""Which system calls programs in the sandbox do without.

A filter that the kernel runs before each call. It closes what namespaces and limits leave open: a
user namespace within the sandbox would give its maker rights over mounts again, and memory that
nobody counts; the others reach parts of the kernel that no proof of a restore needs.
"""

import platform
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_LOAD: Final = 0x20
"""BPF_LD | BPF_W | BPF_ABS."""
_JUMP_EQUAL: Final = 0x15
"""BPF_JMP | BPF_JEQ | BPF_K."""
_JUMP_AT_LEAST: Final = 0x35
"""BPF_JMP | BPF_JGE | BPF_K."""
_JUMP_ANY_BIT: Final = 0x45
"""BPF_JMP | BPF_JSET | BPF_K."""
_RETURN: Final = 0x06
"""BPF_RET | BPF_K. Source of all five: linux/bpf_common.h."""

_NUMBER: Final = 0
_ARCHITECTURE: Final = 4
_FIRST_ARGUMENT: Final = 16
"""Source: linux/seccomp.h, struct seccomp_data; the low half of the argument, little endian."""

_ALLOW: Final = 0x7FFF0000
_ERRNO: Final = 0x00050000
"""Source: linux/seccomp.h, SECCOMP_RET_ALLOW and SECCOMP_RET_ERRNO."""
_EPERM: Final = 1
_ENOSYS: Final = 38
_NEW_USER: Final = 0x10000000
"""Source: linux/sched.h, CLONE_NEWUSER."""
_X32: Final = 0x40000000
"""Source: asm/unistd.h: calls of the x32 ABI have this bit, and other numbers."""

_SAME_EVERYWHERE: Final = {
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "io_uring_register": 427,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "mount_setattr": 442,
}


@dataclass(frozen=True, slots=True)
class _Machine:
    """Numbers of one architecture.

    Attributes:
        audit: Its name to the kernel.
        refused: Calls that answer "not permitted".
        clone: Makes a process; refused with a new user namespace, which is in its first argument.
        unshare: The same without a process.
        highest: No call has this number or a higher one, but those of another ABI.
    """

    audit: int
    refused: Mapping[str, int]
    clone: int
    unshare: int
    highest: int


_MACHINES: Final = {
    "x86_64": _Machine(
        audit=0xC000003E,
        refused={
            "mount": 165,
            "umount2": 166,
            "pivot_root": 155,
            "setns": 308,
            "bpf": 321,
            "perf_event_open": 298,
            "userfaultfd": 323,
            "add_key": 248,
            "request_key": 249,
            "keyctl": 250,
            "open_by_handle_at": 304,
            **_SAME_EVERYWHERE,
        },
        clone=56,
        unshare=272,
        highest=_X32,
    ),
    "aarch64": _Machine(
        audit=0xC00000B7,
        refused={
            "mount": 40,
            "umount2": 39,
            "pivot_root": 41,
            "setns": 268,
            "bpf": 280,
            "perf_event_open": 241,
            "userfaultfd": 282,
            "add_key": 217,
            "request_key": 218,
            "keyctl": 219,
            "open_by_handle_at": 265,
            **_SAME_EVERYWHERE,
        },
        clone=220,
        unshare=97,
        highest=0xFFFFFFFF,
    ),
}
"""Source: asm/unistd_64.h, asm-generic/unistd.h, linux/audit.h."""
_CLONE3: Final = 435
"""The same number everywhere. Its flags are in memory, where no filter can look."""


def filter_for(machine: str | None = None) -> bytes | None:
    """Return the filter as the kernel wants it; ``None`` for an architecture that is not known.

    Args:
        machine: As of ``uname -m``; by default, this machine's.
    """
    numbers = _MACHINES.get(machine or platform.machine())
    if numbers is None:
        return None
    refuse, absent = _ERRNO | _EPERM, _ERRNO | _ENOSYS
    steps = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_JUMP_EQUAL, 1, 0, numbers.audit),
        (_RETURN, 0, 0, absent),  # programs of 32 bits have numbers of their own
        (_LOAD, 0, 0, _NUMBER),
        (_JUMP_AT_LEAST, 0, 1, numbers.highest),
        (_RETURN, 0, 0, absent),
        # Whoever is told that it does not exist uses clone instead.
        (_JUMP_EQUAL, 0, 1, _CLONE3),
        (_RETURN, 0, 0, absent),
    ]
    for number in numbers.refused.values():
        steps += [(_JUMP_EQUAL, 0, 1, number), (_RETURN, 0, 0, refuse)]
    steps += [
        (_JUMP_EQUAL, 2, 0, numbers.clone),
        (_JUMP_EQUAL, 1, 0, numbers.unshare),
        (_RETURN, 0, 0, _ALLOW),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_JUMP_ANY_BIT, 0, 1, _NEW_USER),
        (_RETURN, 0, 0, refuse),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)
