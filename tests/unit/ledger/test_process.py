import os
import subprocess
import sys

from msgspec.structs import replace

from drkeeper.ledger.process import is_alive, this_process


def test_this_process_is_alive():
    """A process recognises itself, and knows its host by the name it was given."""
    me = this_process("keeper")
    assert (me.host, me.pid) == ("keeper", os.getpid())
    assert me.started
    assert is_alive(me)


def test_the_same_number_is_not_the_same_process():
    """A number that was given away again, or one from before a reboot, is a dead process."""
    me = this_process("keeper")
    assert not is_alive(replace(me, started="1"))
    assert not is_alive(replace(me, boot_id="another boot", started="1"))
    assert not is_alive(replace(me, boot_id="another boot", started=""))
    assert is_alive(replace(me, started=""))


def test_a_sandbox_with_another_boot_id_hides_no_living_process():
    """In a container, a hardened service and a shell may read two boot ids: neither is dead."""
    assert is_alive(replace(this_process("keeper"), boot_id="the one outside of the container"))


def test_ended_processes_are_dead():
    """A process that ended is dead, also while its parent has not asked for its end."""
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=-1)
    them = replace(this_process("keeper"), pid=child.pid, started="")
    assert is_alive(them)
    child.stdin.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not is_alive(them)
    child.wait()
    assert not is_alive(them)


def test_what_cannot_be_looked_at_counts_as_alive(tmp_path):
    """Where processes are hidden, one that exists may be the run; one that does not is dead."""
    me = this_process("keeper")
    hidden = str(tmp_path)
    assert is_alive(me, proc=hidden)
    assert is_alive(replace(me, pid=1), proc=hidden)
    child = subprocess.Popen(["true"])
    child.wait()
    for pid in (child.pid, 0, 2**31 - 1, 2**70):
        assert not is_alive(replace(me, pid=pid), proc=hidden)
    assert is_alive(replace(me, boot_id=""))
