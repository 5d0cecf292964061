"""S3 over TLS: whose certificate is trusted, and what is said when none is."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import boto3
import pytest

from doubles.certificates import Authority
from doubles.s3chaos import S3Chaos
from drkeeper.errors import StorageError
from drkeeper.storage.s3 import S3Store
from drkeeper.storage.s3client import S3Options, open_s3


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def chaos(authority: Authority) -> Iterator[S3Chaos]:
    with S3Chaos(tls=authority.server_context()) as server:
        yield server


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> boto3.session.Session:
    """Credentials of the server, and nothing else of the environment."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    return boto3.session.Session("CHAOSKEY", "chaos-secret")


def works(store: S3Store) -> None:
    store.create("a", b"content")
    assert store.get("a") == b"content"
    store.delete("a")


def refused(store: S3Store) -> StorageError:
    """Return the error of every operation, which no retry would cure."""
    for act in (
        lambda: store.put("a", b"x"),
        lambda: store.create("a", b"x"),
        lambda: store.get("a"),
        lambda: store.info("a"),
        lambda: list(store.entries()),
        lambda: store.delete("a"),
    ):
        with pytest.raises(StorageError) as caught:
            act()
        assert not caught.value.transient, caught.value
        assert caught.value.hint
    store._client.close()
    return caught.value


def test_a_named_bundle_is_trusted(
    chaos: S3Chaos, authority: Authority, session: boto3.session.Session
) -> None:
    """A certificate of one's own authority is accepted when the options name the authority."""
    works(chaos.store(session=session, ca_bundle=str(authority.bundle)))
    assert all(
        record.headers["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"
        for record in chaos.history
        if record.verb == "PUT"
    )


def test_the_bundle_of_the_environment_is_trusted(
    chaos: S3Chaos,
    authority: Authority,
    session: boto3.session.Session,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``AWS_CA_BUNDLE`` works as it does for other AWS tools."""
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.bundle))
    works(chaos.store(session=session))


@pytest.mark.usefixtures("session")
def test_the_bundle_of_the_aws_configuration_is_trusted(
    chaos: S3Chaos, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``ca_bundle`` of a profile works, and so do the profile's credentials."""
    config = tmp_path / "config"
    config.write_text(
        "[profile own]\naws_access_key_id = CHAOSKEY\naws_secret_access_key = chaos-secret\n"
        f"ca_bundle = {authority.bundle}\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    store = open_s3(S3Options("bucket", endpoint=chaos.endpoint, profile="own"))
    works(store)
    store._client.close()


def test_the_options_outrank_the_environment(
    chaos: S3Chaos,
    authority: Authority,
    session: boto3.session.Session,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the configuration of drkeeper says is used, whatever else is set."""
    monkeypatch.setenv("AWS_CA_BUNDLE", "/nowhere.pem")
    works(chaos.store(session=session, ca_bundle=str(authority.bundle)))


def test_an_unknown_authority_is_refused(
    chaos: S3Chaos, session: boto3.session.Session, tmp_path: Path
) -> None:
    """Without the bundle, or with another's, nothing is sent and the hint names the bundle."""
    before = len(chaos.history)
    for bundle in (None, str(Authority(tmp_path, "other").bundle)):
        error = refused(chaos.store(session=session, ca_bundle=bundle))
        assert "not trusted" in str(error)
        assert "bundle" in str(error.hint)
    assert len(chaos.history) == before


@pytest.mark.parametrize(
    ("address", "lasts"),
    [("127.0.0.2", timedelta(hours=1)), ("127.0.0.1", timedelta(hours=-1))],
    ids=["another-server", "run-out"],
)
def test_a_certificate_that_does_not_hold_is_refused(
    authority: Authority, session: boto3.session.Session, address: str, lasts: timedelta
) -> None:
    """A certificate for another server, or of yesterday, is not trusted either."""
    with S3Chaos(tls=authority.server_context(address, lasts=lasts)) as chaos:
        error = refused(chaos.store(session=session, ca_bundle=str(authority.bundle)))
    assert "not trusted" in str(error)


@pytest.mark.parametrize("kind", ["absent", "folder", "text", "forbidden"])
def test_a_bundle_that_is_none_is_named(
    chaos: S3Chaos, session: boto3.session.Session, tmp_path: Path, kind: str
) -> None:
    """A mistyped path, or a file without certificates, is not mistaken for a silent store."""
    bundle = tmp_path / "bundle"
    match kind:
        case "folder":
            bundle.mkdir()
        case "text":
            bundle.write_text("no certificate")
        case "forbidden":
            bundle = Path("/proc/self/mem")  # readable to nobody, root included
    error = refused(chaos.store(session=session, ca_bundle=str(bundle)))
    assert "bundle" in str(error)
    assert "PEM" in str(error.hint)


@contextmanager
def talking(answer: bytes) -> Iterator[str]:
    """Serve ``answer`` to whoever connects, without TLS; yield the https URL."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    peer, _ = server.accept()
                except OSError:
                    return
                with peer:
                    peer.recv(4096)
                    peer.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"https://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_server_without_tls_is_told(session: boto3.session.Session) -> None:
    """https to a port that speaks plain http will not work later either."""
    with talking(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n") as endpoint:
        error = refused(open_s3(S3Options("bucket", endpoint=endpoint), session=session))
    assert "TLS" in str(error)


def test_a_handshake_that_breaks_off_may_work_later(session: boto3.session.Session) -> None:
    """A server that hangs up while it greets is unavailable, as without TLS."""
    with talking(b"") as endpoint:
        store = open_s3(S3Options("bucket", endpoint=endpoint), session=session)
        with pytest.raises(StorageError) as caught:
            store.get("a")
        store._client.close()
    assert caught.value.transient
