"""An S3 server on loopback for as long as one round lasts: the Ceph RGW of the tests."""

import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from benchmarks import data

TESTS = str(Path(__file__).resolve().parent.parent / "tests")


@dataclass(frozen=True, slots=True)
class Bucket:
    """An empty bucket on a loopback S3 server."""

    endpoint: str
    name: str
    access_key: str
    secret_key: str

    @property
    def env(self) -> Mapping[str, str]:
        """The credentials, as every S3 client reads them."""
        return {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}


def available() -> bool:
    """Whether the server is installed."""
    found = _from_tests("services").program
    return all(found(program) for program in _from_tests("services.rgw").PROGRAMS)


@contextmanager
def fresh_bucket(work: Path) -> Iterator[Bucket]:
    """Run a new server below ``work``; what it stored goes with it.

    New each time, because what is deleted from this server takes its place for hours.
    """
    data.remove(work)
    with _from_tests("services.rgw").shared(work) as server:
        server.client().create_bucket(Bucket="bench")
        yield Bucket(server.endpoint, "bench", server.access_key, server.secret_key)


def _from_tests(module: str) -> ModuleType:
    """Import what lives with the tests; only the S3 cases need it."""
    if TESTS not in sys.path:
        sys.path.append(TESTS)
    return importlib.import_module(module)
