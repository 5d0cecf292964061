"""The promises of ``drkeeper.scratch.base.Scratch``, asked of both kinds with hostile programs."""

import os
import secrets
import signal
import socket
import stat
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from doubles import scratching
from doubles.scratching import CLOCK, LIMITS, MIB, SOON, digest_of, processes_with_word, python
from drkeeper.errors import ScratchError
from drkeeper.scratch.base import Limits, Scratch, ScratchKind, Why
from drkeeper.scratch.opening import available, open_scratch, sweep

SANDBOX = ScratchKind.BUBBLEWRAP
SECRET = "canary-3d9f2c"


class Host:
    """A directory of the machine that programs in scratch must not touch, and one for scratch."""

    def __init__(self, folder: Path) -> None:
        self.scratch = folder / "scratch"
        self.outside = folder / "outside"
        self.outside.mkdir()
        self.canary = self.outside / "secret"
        self.canary.write_text(SECRET)
        self.canary.chmod(0o600)
        self._before = digest_of(self.outside)

    def is_unchanged(self) -> bool:
        return digest_of(self.outside) == self._before


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """Watch a tree of the machine over the test, and see that nothing is left in scratch."""
    made = Host(tmp_path)
    yield made
    assert made.is_unchanged()
    assert not made.scratch.exists() or not os.listdir(made.scratch)


@pytest.fixture(params=ScratchKind)
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> ScratchKind:
    """Each kind that there is."""
    scratching.need(request.param, tmp_path / "trial")
    return ScratchKind(request.param)


@pytest.fixture
def scratch(host: Host, kind: ScratchKind) -> Iterator[Scratch]:
    """A place with small limits."""
    with opened(host, kind) as made:
        yield made


def opened(host: Host, kind: ScratchKind | None, limits: Limits = LIMITS):
    return open_scratch(host.scratch, kind=kind, limits=limits, clock=CLOCK)


def restored(scratch: Scratch, name: str = "file", content: bytes = b"restored") -> Path:
    """Put a file into the tree as a restore does: with its own owner, for nobody else to read."""
    path = scratch.root / name
    path.write_bytes(content)
    path.chmod(0o600)
    if os.geteuid() == 0:
        os.chown(path, 54321, 54321)
    return path


# ------------------------------------------------------------------------------ what it is


def test_it_is_there_and_gone(host, kind):
    """The directory is empty, private and absolute while it is needed, and gone afterwards."""
    with opened(host, kind) as scratch:
        assert scratch.kind is kind
        assert scratch.root.is_absolute()
        assert os.listdir(scratch.root) == []
        assert stat.S_IMODE(scratch.root.stat().st_mode) == 0o700
        root = scratch.root
    assert not root.exists()


def test_the_best_kind_is_taken(host):
    """Who does not choose gets a sandbox, and where there is none, the fallback."""
    scratching.need(SANDBOX, host.scratch)
    with opened(host, None) as scratch:
        assert scratch.kind is SANDBOX
    with open_scratch(
        host.scratch, kind=None, limits=LIMITS, clock=CLOCK, search="/nowhere"
    ) as scratch:
        assert scratch.kind is ScratchKind.PROCESS


def test_what_was_chosen_is_not_replaced(host):
    """Who chooses a sandbox gets an error where there is none, and nothing else instead."""
    with (
        pytest.raises(ScratchError, match="bubblewrap is not installed"),
        open_scratch(host.scratch, kind=SANDBOX, limits=LIMITS, clock=CLOCK, search="/nowhere"),
    ):
        pass


def test_availability_says_why_not(host, tmp_path):
    """Each kind is tried, and one that fails says what failed and what to do."""
    both = available(host.scratch, CLOCK, search="/nowhere")
    assert [each.kind for each in both] == list(ScratchKind)
    assert not both[0].ok
    assert "not installed" in both[0].why_not
    assert both[0].hint.endswith(".")
    assert both[1].ok
    broken = tmp_path / "bin" / "bwrap"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1")
    broken.chmod(0o755)
    tmp_path.chmod(0o755)
    found = available(host.scratch, CLOCK, search=str(broken.parent))[0]
    assert not found.ok
    if os.geteuid() != 0:  # a user that nobody else is may not even look into the directory
        assert "No permissions to create new namespace" in found.why_not


def test_it_is_not_made_where_others_write(tmp_path):
    """A directory in which others can rename what is made there is refused."""
    where = tmp_path / "shared"
    where.mkdir()
    where.chmod(0o777)
    with (
        pytest.raises(ScratchError, match="others can write"),
        open_scratch(where, kind=ScratchKind.PROCESS, limits=LIMITS, clock=CLOCK),
    ):
        pass


# ------------------------------------------------------------------------------ programs


def test_a_program_ends_by_itself(scratch):
    """Its status and both its outputs come back as they are."""
    done = python(scratch, "import sys; print('out'); print('err', file=sys.stderr); sys.exit(7)")
    assert (done.code, done.signal, done.why, done.ok) == (7, None, Why.NOTHING, False)
    assert (done.stdout, done.stderr, done.dropped_bytes) == (b"out\n", b"err\n", 0)
    assert timedelta() < done.took < SOON


def test_a_program_is_ended_by_a_signal(scratch):
    """A signal is told from a status."""
    done = python(scratch, "import os; os.kill(os.getpid(), 11)")
    assert (done.code, done.signal, done.why) == (None, signal.SIGSEGV, Why.NOTHING)


def test_a_program_reads_its_input(scratch):
    """All of it, however long it is and however slowly it is read; or none."""
    data = secrets.token_bytes(3 * MIB)
    code = "import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())"
    import hashlib  # noqa: PLC0415 - beside what it is compared with

    done = python(scratch, code, input=data)
    assert done.stdout.decode().strip() == hashlib.sha256(data).hexdigest()
    assert python(scratch, "", input=data).ok
    assert python(scratch, "import sys; print(sys.stdin.read())").stdout == b"\n"


def test_a_program_has_no_more_than_it_is_given(scratch, monkeypatch):
    """Its environment is what it was given and a few harmless names; no descriptors are left."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    code = (
        "import os; print(sorted(os.environ)); print(os.environ['GIVEN']); print(os.getcwd());"
        "print([os.readlink(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd')"
        " if int(n) > 2 and os.path.exists(f'/proc/self/fd/{n}')])"
    )
    done = python(scratch, code, inside={"GIVEN": "with = and\nlines"})
    names, first, second, folder, others = done.stdout.decode().splitlines()
    allowed = {"PATH", "LANG", "HOME", "TMPDIR", "PWD", "GIVEN", "DRKEEPER_SCRATCH", "LC_CTYPE"}
    assert set(eval(names)) <= allowed
    assert (first, second) == ("with = and", "lines")
    assert folder == str(scratch.root)
    assert not [each for each in eval(others) if not each.startswith(("pipe:", "/proc/"))]


def test_variables_are_in_no_list_of_processes(scratch):
    """What a program is given is not among anybody's arguments, which everybody may read."""
    with scratch.start(
        [sys.executable, "-I", "-S", "-c", scratching.HOLD], inside={"GIVEN": SECRET}
    ):
        time.sleep(0.3)
        for name in os.listdir("/proc"):
            if name.isdecimal():
                try:
                    argv = Path("/proc", name, "cmdline").read_bytes()
                except OSError:
                    continue
                assert SECRET.encode() not in argv


def test_it_reads_the_tree_whoever_owns_it(scratch):
    """Restored files have their own owners and modes; a program that proves them reads them all."""
    path = restored(scratch)
    folder = scratch.root / "private"
    folder.mkdir()
    restored(scratch, "private/inner", b"deep")
    folder.chmod(0o700)
    if os.geteuid() == 0:
        os.chown(folder, 54321, 54321)
    done = python(
        scratch, "import sys; [print(open(p).read()) for p in sys.argv[1:]]", path, folder / "inner"
    )
    assert done.stdout == b"restored\ndeep\n", done


def test_it_changes_the_tree_only_if_it_may(scratch, kind):
    """The tree is for reading, but for a program that was started to change it."""
    path = restored(scratch)
    code = (
        "import os, sys; open(sys.argv[1], 'a').write('!'); open(sys.argv[1] + '.new', 'w').close()"
    )
    if kind is SANDBOX or os.geteuid() == 0:
        assert python(scratch, code, path).code == 1
        assert path.read_bytes() == b"restored"
    assert python(scratch, code, path, writable=True).ok
    assert path.read_bytes() == b"restored!"
    assert Path(f"{path}.new").exists()


def test_each_program_has_its_own_room_for_files(scratch):
    """What it writes beside the tree is gone before the next one begins."""
    code = (
        "import os; t = os.environ['TMPDIR']; print(os.listdir(t)); open(t + '/mine', 'w').close()"
    )
    before = python(scratch, code).stdout
    assert b"mine" not in before
    assert python(scratch, code).stdout == before


def test_what_cannot_be_started_says_so(scratch):
    """No program, or one without a path, is an error of the environment with its reason."""
    with pytest.raises(ScratchError, match="No such file"):
        scratch.run(["/nonexistent/program"], timeout=SOON)
    with pytest.raises(ScratchError, match="no absolute path"):
        scratch.run(["true"], timeout=SOON)
    with pytest.raises(ScratchError, match="cannot have"):
        scratch.run(["/bin/sh", "a\0b"], timeout=SOON)
    with pytest.raises(ScratchError, match="cannot have"):
        scratch.run(["/bin/sh"], inside={"A": "b\0--share-net"}, timeout=SOON)


def test_programs_run_side_by_side(scratch):
    """A server and those that ask it share the tree and nothing else."""
    argv = [sys.executable, "-I", "-S", "-c", scratching.HOLD]
    with scratch.start(argv) as server:
        for _ in range(3):
            assert python(scratch, "print(1)").ok
        assert server.finished is None
    assert server.finished is not None
    assert server.finished.why is Why.ASKED
    assert server.finished.stdout == b"here\n"


def test_a_server_may_end_by_itself(scratch):
    """Whoever waits for it is told how it ended."""
    with scratch.start([sys.executable, "-I", "-S", "-c", "raise SystemExit(3)"]) as server:
        finished = server.wait(SOON)
        assert finished is not None
        assert (finished.code, finished.why) == (3, Why.NOTHING)


def test_a_server_is_asked_to_end(scratch):
    """It can put things in order first, and does not have for ever."""
    code = (
        "import signal, sys, time\n"
        "def stop(*_): print('in order', flush=True); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, stop); print('ready', flush=True); time.sleep(600)"
    )
    with scratch.start([sys.executable, "-I", "-S", "-c", code]) as server:
        time.sleep(0.5)
    assert server.finished is not None
    assert server.finished.stdout == b"ready\nin order\n"
    assert (server.finished.code, server.finished.why) == (0, Why.ASKED)


def test_many_threads_use_many_places(host, kind):
    """Drills of many policies at once do not get into each other's way."""
    errors = []

    def drill(number: int) -> None:
        try:
            with opened(host, kind) as scratch:
                (scratch.root / "number").write_text(str(number))
                done = python(scratch, "print(open('number').read())")
                assert done.stdout.decode().strip() == str(number)
        except BaseException as error:  # noqa: BLE001 - told below
            errors.append(error)

    threads = [threading.Thread(target=drill, args=(number,)) for number in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not errors


# ------------------------------------------------------------------------------ hostile programs


def test_a_fork_bomb(scratch):
    """It is ended for its number, soon, and nothing of it goes on."""
    word = secrets.token_hex(8)
    done = python(scratch, scratching.FORK_BOMB, word)
    assert done.why is Why.PROCESSES, done
    assert done.took < timedelta(seconds=10)
    assert not processes_with_word(word)


@pytest.mark.parametrize("code", ["MANY_FILES", "ONE_FILE", "UNNAMED_FILE"])
@pytest.mark.parametrize("writable", [False, True])
def test_the_disk_is_not_filled(scratch, code, writable):
    """Whether by many files, by one, or by files without a name: it is ended, and room is back."""
    where = scratch.root if writable else None
    source = getattr(scratching, code)
    argument = where or "."
    if where is None:
        source = source.replace("sys.argv[1]", "os.environ['TMPDIR']")
    done = python(scratch, source, argument, writable=writable)
    if code == "UNNAMED_FILE" and done.why is Why.NOTHING:
        pytest.fail(f"not seen: {done}")
    if code == "ONE_FILE" and done.why is Why.NOTHING:
        # Python ignores the signal, and is told by the system call.
        assert b"File too large" in done.stderr
    else:
        assert done.why is Why.DISK, done
    used = sum(each.stat().st_blocks * 512 for each in scratch.root.rglob("*"))
    assert used < LIMITS.disk_bytes * 20


def test_memory_of_one(scratch):
    """A program that takes more and more is ended for it."""
    done = python(scratch, scratching.MEMORY)
    assert done.why is Why.MEMORY, done


def test_memory_of_many(scratch):
    """What processes hold is added up: six with a little each are one with too much."""
    done = python(scratch, scratching.MEMORY_OF_MANY)
    assert done.why is Why.MEMORY, done


def test_computing_for_ever(scratch):
    """The time that all processes compute is added up, and ends before the time on the wall."""
    done = python(scratch, scratching.COMPUTE, timeout=timedelta(seconds=25))
    assert done.why is Why.CPU, done


def test_running_for_ever(scratch):
    """What is deaf to every signal still ends when its time does."""
    word = secrets.token_hex(8)
    done = python(scratch, scratching.DEAF, word, timeout=timedelta(seconds=1))
    assert (done.why, done.code, done.stdout) == (Why.TIME, None, b"deaf\n")
    assert timedelta(seconds=1) <= done.took < timedelta(seconds=8)
    assert not processes_with_word(word)


def test_a_server_that_is_deaf(host, kind):
    """A server that does not want to end is ended."""
    word = secrets.token_hex(8)
    argv = [sys.executable, "-I", "-S", "-c", scratching.DEAF, word]
    with opened(host, kind) as scratch, scratch.start(argv) as server:
        time.sleep(0.5)
    assert server.finished is not None
    assert (server.finished.why, server.finished.code) == (Why.ASKED, None)
    assert not processes_with_word(word)


def test_the_wall_limit_is_for_everything(host, kind):
    """No run is given more time than the place allows, and a server has an end as well."""
    with opened(host, kind, replace(LIMITS, wall=timedelta(seconds=0.7))) as scratch:
        argv = [sys.executable, "-I", "-S", "-c", scratching.HOLD]
        assert scratch.run(argv, timeout=timedelta(hours=1)).why is Why.TIME
        with scratch.start(argv) as server:
            finished = server.wait(SOON)
        assert finished is not None
        assert finished.why is Why.TIME


def test_a_flood(host, kind):
    """Of what is written without end, the beginning is kept, the rest is counted."""
    with opened(host, kind, replace(LIMITS, output_bytes=100_000)) as scratch:
        done = python(scratch, scratching.FLOOD, timeout=timedelta(seconds=1))
    assert done.why is Why.TIME
    assert (done.stdout, done.stderr) == (b"x" * 100_000, b"y" * 100_000)
    assert done.dropped_bytes > 100_000


def test_a_daemon_is_not_left_behind(scratch):
    """Who forks twice and takes a session of its own ends all the same."""
    word = secrets.token_hex(8)
    done = python(scratch, scratching.DAEMON, word)
    assert done.ok, done
    assert not processes_with_word(word)


def test_a_tree_that_is_hard_to_remove(host, kind):
    """However deep, without rights, with names of any bytes: it is gone with the place."""
    code = """
import os
os.mkdir(b"\\xff\\n"); os.symlink("/", "link"); os.mkfifo("fifo"); os.mkdir(".removing-1")
os.makedirs("locked/inner"); open("locked/inner/file", "w").close()
os.chmod("locked/inner", 0); os.chmod("locked", 0)
for _ in range(1200):
    os.mkdir("d" * 100)
    os.chdir("d" * 100)
"""
    with opened(host, kind) as scratch:
        done = python(scratch, code, writable=True)
        assert done.ok, done
        root = scratch.root
    assert not root.parent.exists()


def test_rights_are_not_regained(scratch, kind):
    """No set-user-id program helps: the program can get no new rights."""
    done = python(scratch, "print(open('/proc/self/status').read())")
    status = dict(
        line.split(":\t", 1) for line in done.stdout.decode().splitlines() if ":\t" in line
    )
    assert status["NoNewPrivs"].strip() == "1"
    assert "0" not in status["Uid"].split() or (kind is ScratchKind.PROCESS and os.geteuid() != 0)
    rights = int(status["CapEff"], 16)
    assert rights in {0, 1 << 2}  # to read files, and nothing else
    if kind is SANDBOX:
        assert int(status["CapBnd"], 16) in {0, 1 << 2}
        assert status["Seccomp"].strip() == "2"


# -------------------------------------------------------------------- what only the sandbox keeps in


@pytest.fixture
def sandbox(host: Host) -> Iterator[Scratch]:
    """A sandbox."""
    scratching.need(SANDBOX, host.scratch)
    with opened(host, SANDBOX) as made:
        yield made


def test_no_network(sandbox, tmp_path_factory):
    """Neither other machines nor this one are reached, by no kind of socket."""
    folder = tmp_path_factory.mktemp("s", numbered=True)
    name = secrets.token_hex(8)
    with ExitStack() as servers:
        addresses = [
            (socket.AF_INET, ("127.0.0.1", 0)),
            (socket.AF_UNIX, str(folder / "socket")),
            (socket.AF_UNIX, "\0" + name),
        ]
        listening = []
        for family, address in addresses:
            server = servers.enter_context(socket.socket(family))
            server.bind(address)
            server.listen()
            listening.append(server)
        port = listening[0].getsockname()[1]
        done = python(sandbox, scratching.NETWORK, port, folder / "socket", name)
        assert [line[:7] for line in done.stdout.splitlines()] == [b"refused"] * 4, done
        for server in listening:
            server.settimeout(0)
            with pytest.raises(BlockingIOError):
                server.accept()


def test_secrets_outside_are_not_read(sandbox, host):
    """Nothing of the machine's files is there but programs; nor is any of its processes."""
    paths = [host.canary, "/etc/shadow", "/etc/hostname", f"/proc/{os.getpid()}/environ"]
    paths += [sandbox.root / ".." / ".." / ".." / "outside" / "secret", "/proc/1/root/etc/shadow"]
    done = python(sandbox, scratching.SPY, *paths)
    assert done.stdout.count(b"refused") == len(paths), done
    assert SECRET.encode() not in done.stdout


def test_nothing_outside_is_written(sandbox, host):
    """Nothing of the machine can be written: not its files, not its settings."""
    mine = restored(sandbox)
    paths = [host.canary, "/usr/bin/env", "/etc/passwd", "/new", "/proc/sys/kernel/hostname", mine]
    done = python(sandbox, scratching.VANDAL, *paths)
    assert b"DONE" not in done.stdout, done
    assert mine.read_bytes() == b"restored"


def test_its_own_program_is_not_changed(sandbox):
    """A program that may change the tree may change the tree only."""
    import drkeeper  # noqa: PLC0415 - what must not change

    before = Path(drkeeper.__file__).stat()
    done = python(sandbox, scratching.VANDAL, drkeeper.__file__, "/usr/bin/env", writable=True)
    assert b"DONE" not in done.stdout, done
    assert Path(drkeeper.__file__).stat().st_mtime_ns == before.st_mtime_ns


def test_other_processes_are_not_seen(sandbox):
    """It sees its own processes only, and cannot send a signal to another."""
    done = python(
        sandbox,
        "import os; print(sorted(int(n) for n in os.listdir('/proc') if n.isdecimal()));"
        "print(os.getppid())",
    )
    assert len(eval(done.stdout.splitlines()[0])) <= 3
    assert python(sandbox, f"import os; os.kill({os.getpid()}, 0)").code == 1


def test_no_namespace_within_the_namespace(sandbox):
    """It cannot become root of a world of its own, with memory that nobody counts."""
    code = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
print(libc.unshare(0x10000000), ctypes.get_errno())
print(libc.mount(b"none", b"/tmp", b"tmpfs", 0, None), ctypes.get_errno())
print(libc.syscall(435, 0, 0), ctypes.get_errno())
"""
    done = python(sandbox, code)
    assert done.stdout.splitlines() == [b"-1 1", b"-1 1", b"-1 38"], done


def test_a_directory_may_be_made_readable(host, tmp_path):
    """A program that is named is there; what lies beside it is there when it is asked for."""
    scratching.need(SANDBOX, host.scratch)
    program = tmp_path / "opt" / "check"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho found\ncat "${0%/*}/more"\n')
    program.chmod(0o755)
    (program.parent / "more").write_text("more\n")
    with opened(host, SANDBOX) as scratch:
        done = scratch.run([str(program)], timeout=SOON)
        assert (done.code, done.stdout) == (1, b"found\n"), done
    with open_scratch(
        host.scratch, kind=SANDBOX, limits=LIMITS, clock=CLOCK, readable=[program.parent]
    ) as scratch:
        assert scratch.run([str(program)], timeout=SOON).stdout == b"found\nmore\n"


def test_accounts_inside_are_its_own(sandbox):
    """Programs that ask who they are get an answer, and learn nothing of this machine's users."""
    done = python(sandbox, "import pwd; print([each.pw_name for each in pwd.getpwall()])")
    if done.ok:
        assert done.stdout == b"['root', 'scratch']\n", done


# ------------------------------------------------------------------------------ afterwards


def test_an_error_in_the_drill_leaves_nothing(host, kind):
    """Whatever ends the drill, the place is gone, and the error is the drill's own."""
    word = secrets.token_hex(8)

    def drill() -> None:
        argv = [sys.executable, "-I", "-S", "-c", scratching.DAEMON + scratching.HOLD, word]
        with opened(host, kind) as scratch, scratch.start(argv):
            restored(scratch)
            time.sleep(0.6)
            assert processes_with_word(word)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        drill()
    assert not processes_with_word(word)


def test_living_places_are_not_swept(host, kind):
    """Whoever sweeps leaves alone what is in use, and what is not its own kind of thing."""
    with opened(host, kind) as scratch:
        (host.scratch / "other").mkdir()
        assert sweep(host.scratch) == []
        assert scratch.root.exists()
        assert python(scratch, "print(1)").ok
    (host.scratch / "other").rmdir()


def test_nothing_to_sweep(tmp_path):
    """Where no drill ever was, there is nothing to do."""
    assert sweep(tmp_path / "nowhere") == []
