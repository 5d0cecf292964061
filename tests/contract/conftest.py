"""The adapters that must pass the contract of the storage port: one line each in ``ADAPTERS``."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import boto3
import pytest

from doubles.certificates import Authority
from doubles.s3chaos import S3Chaos
from doubles.stores import MemoryStore
from drkeeper.storage.base import ObjectStore
from drkeeper.storage.folder import FolderStore
from drkeeper.storage.s3 import Checksum
from drkeeper.storage.s3client import S3Options, open_s3
from services.rgw import Rgw, rgw, rgw_bucket  # noqa: F401 - fixtures

Opened = AbstractContextManager[ObjectStore]


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    """Run moto's S3 server on loopback, once a process; it knows the API, not the strictness."""
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 - takes a second to import

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def chaos_server() -> Iterator[S3Chaos]:
    """Run one strict server a process; each test gets a bucket of its own."""
    with S3Chaos() as server:
        yield server


@pytest.fixture(scope="session")
def tls_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[S3Chaos, str]]:
    """Run the strict server behind TLS; yield it and the bundle that vouches for it."""
    authority = Authority(tmp_path_factory.mktemp("authority"))
    with S3Chaos(tls=authority.server_context()) as server:
        yield server, str(authority.bundle)


@contextmanager
def folder(request: pytest.FixtureRequest) -> Iterator[ObjectStore]:
    yield FolderStore(request.getfixturevalue("tmp_path") / "store", create=True)


@contextmanager
def memory(request: pytest.FixtureRequest) -> Iterator[ObjectStore]:
    del request
    yield MemoryStore()


@contextmanager
def chaos(request: pytest.FixtureRequest) -> Iterator[ObjectStore]:
    server: S3Chaos = request.getfixturevalue("chaos_server")
    server.add_bucket(bucket := _new_name())
    yield server.store("some/prefix", bucket=bucket)


@contextmanager
def chaos_tls(request: pytest.FixtureRequest) -> Iterator[ObjectStore]:
    """The same server behind https: bodies travel unsigned, as to every store far away."""
    server, bundle = request.getfixturevalue("tls_server")
    server.add_bucket(bucket := _new_name())
    yield server.store("p", bucket=bucket, ca_bundle=bundle)


@contextmanager
def chaos_locked(request: pytest.FixtureRequest) -> Iterator[ObjectStore]:
    """A bucket with versions and Object Lock, checksums sent; objects are hidden, not removed."""
    server: S3Chaos = request.getfixturevalue("chaos_server")
    server.add_bucket(bucket := _new_name(), object_lock=True)
    yield server.store(bucket=bucket, checksum=Checksum.MD5)


@contextmanager
def on_moto(request: pytest.FixtureRequest) -> Iterator[ObjectStore]:
    session = boto3.session.Session("any", "secret")
    options = S3Options(_new_name(), "p", request.getfixturevalue("moto"))
    yield from _opened(options, session, make=True)


@contextmanager
def ceph(request: pytest.FixtureRequest) -> Iterator[ObjectStore]:
    server: Rgw = request.getfixturevalue("rgw")
    session = boto3.session.Session(server.access_key, server.secret_key)
    options = S3Options(request.getfixturevalue("rgw_bucket"), "p/q", server.endpoint)
    yield from _opened(options, session)


def _opened(
    options: S3Options, session: boto3.session.Session, *, make: bool = False
) -> Iterator[ObjectStore]:
    store = open_s3(options, session=session)
    try:
        if make:
            store._client.create_bucket(Bucket=options.bucket)
        yield store
    finally:
        store._client.close()


def _new_name() -> str:
    return f"bucket-{os.urandom(8).hex()}"


ADAPTERS: dict[str, tuple[Callable[[pytest.FixtureRequest], Opened], list[pytest.MarkDecorator]]]
ADAPTERS = {
    "memory": (memory, []),
    "folder": (folder, []),
    "s3-chaos": (chaos, []),
    "s3-chaos-tls": (chaos_tls, []),
    "s3-chaos-locked": (chaos_locked, []),
    "s3-moto": (on_moto, []),
    "s3-ceph": (ceph, [pytest.mark.integration]),
}


@pytest.fixture(
    params=[pytest.param(opens, id=name, marks=marks) for name, (opens, marks) in ADAPTERS.items()]
)
def store(request: pytest.FixtureRequest) -> Iterator[ObjectStore]:
    """Return an empty store of each kind in turn."""
    with request.param(request) as opened:
        yield opened
