"""The filter of system calls, run by an interpreter of its own for machines that are not at hand."""

import struct

import pytest

from drkeeper.scratch.syscalls import filter_for

ALLOWED = 0x7FFF0000
REFUSED = 0x00050001
ABSENT = 0x00050026
NEW_USER = 0x10000000
AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
# Source: asm/unistd_64.h and asm-generic/unistd.h.
NUMBERS = {
    "x86_64": {"read": 0, "clone": 56, "mount": 165, "unshare": 272, "bpf": 321, "execve": 59},
    "aarch64": {"read": 63, "clone": 220, "mount": 40, "unshare": 97, "bpf": 280, "execve": 221},
}


def verdict(program: bytes, audit: int, number: int, argument: int = 0) -> int:
    """Run a filter as the kernel does: struct seccomp_data in, an action out."""
    data = struct.pack("<IIQ6Q", number, audit, 0, argument, 0, 0, 0, 0, 0)
    steps = list(struct.iter_unpack("=HBBI", program))
    at = value = 0
    while True:
        code, yes, no, k = steps[at]
        at += 1
        if code == 0x20:
            (value,) = struct.unpack_from("<I", data, k)
        elif code == 0x06:
            return k
        else:
            holds = {0x15: value == k, 0x35: value >= k, 0x45: bool(value & k)}[code]
            at += yes if holds else no


@pytest.fixture(params=sorted(AUDIT))
def machine(request: pytest.FixtureRequest) -> str:
    """Each architecture that the filter knows."""
    return str(request.param)


def test_ordinary_calls_pass(machine):
    """Programs read, are executed, and make processes and threads."""
    program = filter_for(machine)
    assert program is not None
    for name in ("read", "execve", "clone", "unshare"):
        assert verdict(program, AUDIT[machine], NUMBERS[machine][name], 0x11) == ALLOWED


def test_dangerous_calls_do_not(machine):
    """Mounts and the like are refused, and so are new user namespaces, by whatever call."""
    program = filter_for(machine)
    assert program is not None
    for name in ("mount", "bpf"):
        assert verdict(program, AUDIT[machine], NUMBERS[machine][name]) == REFUSED
    for name in ("clone", "unshare"):
        asked = NEW_USER | 0x11
        assert verdict(program, AUDIT[machine], NUMBERS[machine][name], asked) == REFUSED
    assert verdict(program, AUDIT[machine], 435) == ABSENT  # clone3
    assert verdict(program, AUDIT[machine], 425) == REFUSED  # io_uring_setup


def test_other_ways_to_count_calls_do_not(machine):
    """Calls of another ABI have other numbers for the same deeds, so that none of them is there."""
    program = filter_for(machine)
    assert program is not None
    assert verdict(program, 0x40000003, 21) == ABSENT  # i386
    if machine == "x86_64":
        assert verdict(program, AUDIT[machine], 0x40000000 + 165) == ABSENT  # x32


def test_an_unknown_machine_has_none():
    """Better no filter than one with the numbers of another architecture."""
    assert filter_for("riscv64") is None
