"""The program that compares a restored tree with what should be there."""

import json
import os
import subprocess
import sys

from blake3 import blake3

from drkeeper.operations.drills import witness


def asked(folder, path, *, lossy):
    """Have the real program compare one file that should have an attribute."""
    found = os.lstat(folder / path)
    line = {
        "path": path,
        "type": witness.FILE,
        "present": True,
        "mode": found.st_mode & 0o7777,
        "owner": None,
        "mtime_ns": found.st_mtime_ns,
        "size": found.st_size,
        "digest": blake3((folder / path).read_bytes()).hexdigest(),
        "segments": None,
        "target": "",
        "group": None,
        "attributes": [["user.owner", b"finance".hex()]],
        "lossy": lossy,
    }
    done = subprocess.run(
        [sys.executable, "-I", witness.__file__, "part", str(folder)],
        input=f"{json.dumps(line)}\nnull\n".encode(),
        stdout=subprocess.PIPE,
        check=True,
    )
    return json.loads(done.stdout)


def test_an_attribute_that_a_restore_could_not_set_is_told_once(tmp_path):
    """What the restore has told already is not told again as a fault; another value always is."""
    file = tmp_path / "file"
    file.write_bytes(b"some")
    lost = asked(tmp_path, "file", lossy=False)
    assert lost["first"] == [["file", "has no attribute user.owner: No data available"]]
    assert asked(tmp_path, "file", lossy=True)["wrong"] == 0
    os.setxattr(file, "user.owner", b"anybody")
    for lossy in (False, True):
        other = asked(tmp_path, "file", lossy=lossy)
        assert other["first"] == [["file", "has another attribute user.owner"]]
    os.setxattr(file, "user.owner", b"finance")
    assert asked(tmp_path, "file", lossy=False)["wrong"] == 0
