"""The listener as its clients meet it: real sockets, friendly and hostile."""

import base64
import http.client
import json
import os
import socket
import threading
import time
from contextlib import ExitStack, closing, contextmanager

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from doubles.pages import NOW, kept_machine, troubled_machine
from drkeeper.app.web.connections import Bounds
from drkeeper.app.web.guard import HEADERS
from drkeeper.app.web.server import Listener
from drkeeper.clock import SystemClock
from drkeeper.errors import ConfigurationError, LedgerBusyError

MACHINE = troubled_machine()


@contextmanager
def listening(address="127.0.0.1:0", machine=MACHINE, **options):
    """Serve a machine for a while."""
    overview = options.pop("overview", lambda: machine.overview)
    listener = Listener(
        address, overview=overview, reader=machine.reader, clock=SystemClock(), **options
    )
    listener.start()
    try:
        yield listener
    finally:
        assert listener.stop()


@pytest.fixture(scope="module")
def listener():
    with listening() as served:
        yield served


def port_of(served):
    return int(served.address.rpartition(":")[2])


def ask(served, path="/", method="GET", **headers):
    """Return status, headers and body of one answer."""
    with closing(http.client.HTTPConnection("127.0.0.1", port_of(served), timeout=10)) as client:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        client.request(method, path, headers=names)
        answer = client.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()


def say(served, raw, *, wait=5.0):
    """Send bytes as they are, and return everything that comes back."""
    with closing(socket.create_connection(("127.0.0.1", port_of(served)), timeout=wait)) as client:
        client.sendall(raw)
        got = b""
        try:
            while chunk := client.recv(65536):
                got += chunk
        except (TimeoutError, ConnectionResetError):
            pass
        return got


RUN = MACHINE.reader.runs(limit=1)[0].id


@pytest.mark.parametrize(
    "path",
    ["/", "/?refresh=off", "/policy/mail", "/runs", "/runs?page=2", "/runs?policy=mail&state=failed",
     f"/run/{RUN}", "/alarms"],
)  # fmt: skip
def test_every_page_is_served_as_html_with_its_guards(listener, path):
    """Strict headers on each; no script can run; nothing is kept by the browser."""
    status, headers, body = ask(listener, path)
    assert status == 200
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert headers["cache-control"] == "no-store"
    assert HEADERS.items() <= headers.items()
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "server" not in headers
    assert body.endswith(b"</html>\n")


@pytest.mark.parametrize("path", ["/report", "/report/2026Q4"])
def test_a_report_is_served_with_rules_of_its_own(listener, path):
    """It carries its style, so that alone is allowed beside nothing; all other headers are there."""
    status, headers, _ = ask(listener, path)
    rules = headers["content-security-policy"]
    assert status == 200
    assert rules.startswith("default-src 'none'; style-src 'unsafe-inline'; ")
    assert "script" not in rules
    assert HEADERS.keys() <= headers.keys()
    assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("path", "status"),
    [("/report/2026Q9", 404), ("/nothing", 404), ("/policy/none", 404), ("/run/0000", 404), ("/static/../server.py", 404),
     ("/static/nothing.css", 404), ("/run/%2e%2e%2fledger", 404), ("/policy/%ff%00", 404)],
)  # fmt: skip
def test_what_is_not_there_is_said_in_the_same_style(listener, path, status):
    """An error is a page, with headers and a way back, and nothing of what was asked runs."""
    got, headers, body = ask(listener, path)
    assert got == status
    assert HEADERS.items() <= headers.items()
    assert b"Back to the overview" in body


@pytest.mark.parametrize(
    "query", ["page=-1", "page=x", "page=99999999", "state=none", "policy=%00", "a&b"]
)
def test_strange_questions_get_an_answer(listener, query):
    """What cannot be understood counts as not said."""
    assert ask(listener, f"/runs?{query}")[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_nothing_can_be_changed(listener, method):
    """Every method but GET and HEAD is refused before anything looks at the address."""
    for path in ("/", "/metrics", "/nothing"):
        status, headers, _ = ask(listener, path, method)
        assert status == 405
        assert headers["allow"] == "GET, HEAD"


def test_head_says_what_get_would(listener):
    """Monitors may ask without a body."""
    status, headers, body = ask(listener, "/health/live", "HEAD")
    assert (status, body) == (200, b"")
    assert headers["content-length"] == "5"


def test_assets_are_kept_by_the_browser_and_bound_to_their_content(listener):
    """The page names the sheet by its content, so that it may be kept for a year."""
    body = ask(listener)[2].decode()
    path = body.partition('rel="stylesheet" href="')[2].partition('"')[0]
    status, headers, sheet = ask(listener, path)
    assert (status, headers["content-type"]) == (200, "text/css; charset=utf-8")
    assert "immutable" in headers["cache-control"]
    assert b"prefers-color-scheme" in sheet


@pytest.mark.parametrize(
    ("host", "status"),
    [("127.0.0.1:8970", 200), ("localhost", 200), ("[::1]:1", 200), ("LOCALHOST:80", 200),
     ("keeper.example", 200), ("192.0.2.7", 200),
     ("evil.example", 421), ("localhost.evil.example", 421), ("127.0.0.1.evil.example", 421),
     ("127.0.0.1@evil.example", 421), ("", 421), ("a b", 421)],
)  # fmt: skip
def test_names_that_are_not_ours_are_refused(host, status):
    """A page elsewhere cannot point its own name at us (DNS rebinding) and read the answer."""
    with listening(hosts=("keeper.example",)) as served:
        raw = f"GET /health/live HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
        assert say(served, raw).split(b" ")[1] == str(status).encode()


def test_no_host_and_two_hosts_are_refused(listener):
    """What cannot be judged is refused."""
    for hosts in (b"", b"Host: localhost\r\nHost: evil.example\r\n"):
        raw = b"GET / HTTP/1.1\r\n" + hosts + b"Connection: close\r\n\r\n"
        assert say(listener, raw).split(b" ")[1] in {b"400", b"421"}
    assert b" 421 " in say(listener, b"GET / HTTP/1.0\r\n\r\n")


def test_a_token_is_asked_for_where_there_is_one():
    """Bearer for programs, a password for browsers; only a status code without either."""
    with listening(token="s3cret ünd") as served:
        for path in ("/", "/metrics", "/health", "/static/style.css", "/nothing"):
            status, headers, body = ask(served, path)
            assert status == 401
            assert headers["www-authenticate"].startswith("Basic")
            assert b"keeper" not in body.replace(b"drkeeper", b"")
        for path in ("/health/live", "/health/ready"):
            assert ask(served, path)[0] in {200, 503}
        token = "s3cret ünd".encode()
        password = base64.b64encode(b"anybody:" + token)
        for right in (b"Bearer " + token, b"bearer " + token, b"Basic " + password):
            assert ask(served, "/metrics", authorization=right)[0] == 200
        for wrong in (b"Bearer s3cret", b"Basic x", b"Basic !", b"Digest " + token, b"", token,
                      b"Basic " + base64.b64encode(token)):  # fmt: skip
            assert ask(served, "/metrics", authorization=wrong)[0] == 401


def test_metrics_and_health_are_served(listener):
    """Prometheus and load balancers get what they expect."""
    status, headers, body = ask(listener, "/metrics")
    assert (status, headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert b"drkeeper_runs_total" in body
    status, headers, body = ask(listener, "/health")
    assert (status, headers["content-type"]) == (503, "application/json")
    assert json.loads(body)["components"]["storage/primary"]["status"] == "failing"
    assert ask(listener, "/health/live")[0::2] == (200, b"live\n")
    assert ask(listener, "/health/ready")[0::2] == (503, b"not ready\n")


def test_a_machine_that_is_well_is_healthy():
    """All is 200."""
    with listening(machine=kept_machine()) as served:
        assert [ask(served, path)[0] for path in ("/health", "/health/ready")] == [200, 200]


def test_a_tick_that_stopped_is_not_live():
    """Liveness asks the daemon's tick and nothing that may hang."""
    with listening(alive=lambda: False) as served:
        assert ask(served, "/health/live")[0] == 503


def test_a_ledger_in_trouble_is_said_everywhere():
    """The page, health and metrics answer 503, with the words and the hint; live stays live."""

    def broken():
        raise LedgerBusyError("the ledger is locked", hint="Wait a minute.")

    with listening(overview=broken) as served:
        status, _, body = ask(served, "/")
        assert status == 503
        assert b"The ledger is locked" in body
        assert b"Wait a minute." in body
        assert ask(served, "/metrics")[0] == 503
        assert ask(served, "/health/ready")[0] == 503
        health = json.loads(ask(served, "/health")[2])
        assert health["components"]["ledger"]["detail"] == "the ledger is locked"
        assert ask(served, "/health/live")[0] == 200


def test_a_defect_is_a_page_without_its_text():
    """What went wrong inside is for the log."""

    def defect():
        raise RuntimeError("canary-of-a-secret")

    with capture_logs() as logged, listening(overview=defect) as served:
        status, headers, body = ask(served, "/")
        assert status == 500
        assert HEADERS.items() <= headers.items()
        assert b"canary" not in body
    assert "page.failed" in [entry["event"] for entry in logged]


def test_a_taken_port_is_a_clear_error(listener):
    """It names the port and what to do, and leaves nothing behind."""
    second = Listener(
        listener.address, overview=lambda: MACHINE.overview, reader=MACHINE.reader,
        clock=SystemClock(),
    )  # fmt: skip
    with pytest.raises(ConfigurationError, match="in use") as caught:
        second.start()
    assert "ss -ltnp" in caught.value.hint
    assert not second.serving
    assert second.stop()


def test_it_stops_at_once_and_can_be_started_again():
    """Open connections do not hold it up; the port is free again."""
    with listening() as served:
        address = served.address
        with closing(socket.create_connection(("127.0.0.1", port_of(served)))):
            before = time.monotonic()
            assert served.stop()
            assert time.monotonic() - before < 5
    with listening(address) as again:
        assert ask(again, "/health/live")[0] == 200


def test_an_answer_that_hangs_does_not_hold_up_the_end():
    """A ledger that never answers keeps neither live nor stop waiting."""
    go = threading.Event()

    def hanging():
        go.wait(20)
        return MACHINE.overview

    with listening(overview=hanging) as served:
        asking = threading.Thread(
            target=say, args=(served, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        )
        asking.start()
        time.sleep(0.1)
        assert ask(served, "/health/live")[0] == 200
        before = time.monotonic()
        assert served.stop()
        assert time.monotonic() - before < 5
        go.set()
        asking.join()


def test_a_socket_in_the_file_system_is_for_its_group_only(tmp_path):
    """0660, in a folder that nobody else writes to; its name goes when it ends."""
    path = str(tmp_path / "web.sock")
    with listening(path) as served:
        assert served.address == path
        assert os.stat(path).st_mode & 0o777 == 0o660
        assert os.listdir(tmp_path) == ["web.sock"]
        with closing(socket.socket(socket.AF_UNIX)) as client:
            client.connect(path)
            client.sendall(
                b"GET /health/live HTTP/1.1\r\nHost: any.example\r\nConnection: close\r\n\r\n"
            )
            assert client.recv(100).startswith(b"HTTP/1.1 200")
    assert os.listdir(tmp_path) == []


def test_a_socket_that_is_left_over_is_replaced_and_one_that_answers_is_not(tmp_path):
    """A killed daemon's socket does not stop the next; a living one does."""
    path = str(tmp_path / "web.sock")
    with closing(socket.socket(socket.AF_UNIX)) as left:
        left.bind(path)
    with (
        listening(path),
        pytest.raises(ConfigurationError, match="another process"),
        listening(path),
    ):
        pass


def test_unsafe_places_for_a_socket_are_refused(tmp_path):
    """Where others may write, they could answer in our place; a file is never removed."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    with (
        pytest.raises(ConfigurationError, match="only drkeeper writes"),
        listening(f"{shared}/web.sock"),
    ):
        pass
    with pytest.raises(ConfigurationError, match="cannot listen in"), listening(f"{tmp_path}/no/s"):
        pass
    precious = tmp_path / "precious"
    precious.write_text("data")
    with pytest.raises(ConfigurationError, match="a file is there"), listening(str(precious)):
        pass
    assert precious.read_text() == "data"


def test_headers_without_end_are_refused(listener):
    """16 KiB are enough for everybody."""
    raw = b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 70_000
    assert b" 400 " in say(listener, raw)[:20]


def test_no_number_of_silent_clients_shuts_others_out(listener):
    """Three times as many as may be open: the oldest silent ones go, and others are answered."""
    with ExitStack() as held:
        for _ in range(3 * Bounds().most):
            client = socket.create_connection(("127.0.0.1", port_of(listener)), timeout=5)
            held.callback(client.close)
            client.sendall(b"GET / HTTP/1.1\r\n")
        assert ask(listener, "/health/live")[0] == 200
        assert len(listener._server.server_state.connections) <= Bounds().most


def test_a_client_that_never_asks_is_let_go():
    """A request has ten seconds to come, one byte at a time or not at all."""
    with listening(bounds=Bounds(request_within_s=0.3)) as served:
        began = time.monotonic()
        assert say(served, b"GET / HT") == b""
        assert time.monotonic() - began < 5


def test_no_connection_lives_for_ever():
    """A client that reads nothing of its answer is let go, too."""
    with listening(bounds=Bounds(life_s=0.5)) as served:
        began = time.monotonic()
        assert say(served, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").endswith(b"</html>\n")
        assert time.monotonic() - began < 5


def test_a_hundred_clients_cost_as_much_as_one():
    """The overview is asked for at most once a second, however many look."""
    looked = []

    def overview():
        looked.append(time.monotonic())
        return replace(MACHINE.overview, at=NOW)

    with listening(overview=overview) as served:
        began = time.monotonic()
        clients = [
            threading.Thread(target=ask, args=(served, path)) for path in ("/", "/metrics") * 50
        ]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        assert len(looked) <= 1 + (time.monotonic() - began)


def test_answers_on_one_connection_do_not_wait_for_each_other(listener):
    """The second half of an answer does not wait for the first one's receipt (Nagle, 40 ms)."""
    with closing(http.client.HTTPConnection("127.0.0.1", port_of(listener), timeout=10)) as client:
        client.request("GET", "/health/live")
        client.getresponse().read()
        for served in listener._server.server_state.connections:
            option = served.transport.get_extra_info("socket")
            assert option.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_thousand_policies_are_shown_in_time():
    """The page of a large installation takes well under a second."""
    (first, *_) = MACHINE.overview.policies
    many = tuple(replace(first, policy=f"policy-{number}") for number in range(1000))
    large = replace(MACHINE.overview, policies=many)
    with listening(overview=lambda: large) as served:
        ask(served, "/health/live")
        began = time.process_time()
        status, _, body = ask(served)
        assert status == 200
        assert body.count(b"policy-999") == 2
        assert time.process_time() - began < 1.5
