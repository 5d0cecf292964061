"""Servers that take what drkeeper tells, and servers that make it hard: all on loopback."""

import base64
import contextlib
import io
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as default_policy
from typing import Self


class Server:
    """A TCP server with a thread for each connection; ``serve`` is what it does with one.

    Args:
        serve: Talks on one connection until it returns.
        tls: Wraps each connection first.
    """

    def __init__(
        self, serve: Callable[[socket.socket], None], *, tls: ssl.SSLContext | None = None
    ) -> None:
        self._serve = serve
        self._tls = tls
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._connections: list[socket.socket] = []
        self.ended = threading.Event()
        self.port: int = self._socket.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._connections.append(connection)
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError):
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
                self._connections.append(connection)
            self._serve(connection)
        with contextlib.suppress(OSError):
            connection.close()


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class HttpReceiver:
    """Takes requests and answers what ``answers`` says, then 200.

    Attributes:
        requests: What came.
        answers: Whole answers, the next one first; each is sent as it is.
    """

    tls: ssl.SSLContext | None = None
    answers: list[bytes] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._server = Server(self._serve, tls=self.tls).__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.__exit__()

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self._server.port}"

    @property
    def port(self) -> int:
        return self._server.port

    def _serve(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as reader:
            self._answer(connection, reader)

    def _answer(self, connection: socket.socket, reader: io.BufferedReader) -> None:
        method, target, _ = reader.readline().decode().split(" ", 2)
        headers = {}
        while line := reader.readline().strip():
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        body = reader.read(int(headers.get("content-length", "0")))
        self.requests.append(Request(method, target, headers, body))
        ok = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nOK"
        connection.sendall(self.answers.pop(0) if self.answers else ok)


def answer(status: int, body: bytes = b"", **headers: str) -> bytes:
    """Write an HTTP answer; underscores in names of headers are dashes."""
    lines = [f"HTTP/1.1 {status} Whatever the server calls it", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail with its envelope."""

    sender: str
    recipients: tuple[str, ...]
    raw: bytes
    secure: bool
    user: str | None

    @property
    def message(self) -> EmailMessage:
        return message_from_bytes(self.raw, policy=default_policy)


@dataclass
class SmtpReceiver:
    """A mail server.

    Attributes:
        starttls: What STARTTLS needs; ``None`` for a server that does not offer it.
        tls: TLS from the first byte.
        users: Passwords by user; who is not in it is refused.
        mechanisms: Kinds of login that it offers.
        refused: Addresses that are refused, with the answer.
        replies: What is answered to a verb instead of the right thing.
        injected: Sent in one piece with the answer to STARTTLS.
    """

    starttls: ssl.SSLContext | None = None
    tls: ssl.SSLContext | None = None
    users: dict[str, str] = field(default_factory=dict)
    mechanisms: str = "PLAIN LOGIN"
    refused: dict[str, str] = field(default_factory=dict)
    replies: dict[str, str] = field(default_factory=dict)
    injected: bytes = b""
    mails: list[Mail] = field(default_factory=list)
    verbs: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._server = Server(self._serve, tls=self.tls).__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.__exit__()

    @property
    def port(self) -> int:
        return self._server.port

    def _serve(self, connection: socket.socket) -> None:
        talk = _Talk(self, connection)
        try:
            talk.say(self.replies.get("greeting", "220 receiver ready"))
            while talk.step():
                pass
        finally:
            talk.hang_up()


class _Talk:
    """One conversation."""

    def __init__(self, receiver: SmtpReceiver, connection: socket.socket) -> None:
        self._receiver = receiver
        self._take(connection, secure=receiver.tls is not None)
        self._user: str | None = None
        self._sender = ""
        self._recipients: list[str] = []

    def _take(self, connection: socket.socket, *, secure: bool) -> None:
        self._connection, self._secure = connection, secure
        self._reader = connection.makefile("rb")

    def say(self, text: str) -> None:
        self._connection.sendall(text.encode() + b"\r\n")

    def hang_up(self) -> None:
        self._reader.close()
        self._connection.close()

    def _line(self) -> str:
        return self._reader.readline().decode().rstrip("\r\n")

    def step(self) -> bool:
        line = self._line()
        if not line:
            return False
        verb, _, rest = line.partition(" ")
        verb = verb.upper()
        self._receiver.verbs.append(verb)
        if verb in self._receiver.replies:
            self.say(self._receiver.replies[verb])
            return True
        match verb:
            case "EHLO":
                self._ehlo()
            case "STARTTLS":
                self._starttls()
            case "AUTH":
                self._auth(rest)
            case "MAIL":
                self._sender = rest[rest.index("<") + 1 : rest.index(">")]
                self.say("250 ok")
            case "RCPT":
                self._rcpt(rest[rest.index("<") + 1 : rest.index(">")])
            case "DATA":
                self._data()
            case "QUIT":
                self.say("221 bye")
                return False
            case _:
                self.say("250 ok")
        return True

    def _ehlo(self) -> None:
        features = ["receiver", "8BITMIME"]
        if self._receiver.starttls is not None and not self._secure:
            features.append("STARTTLS")
        if self._receiver.users:
            features.append(f"AUTH {self._receiver.mechanisms}")
        for feature in features[:-1]:
            self.say(f"250-{feature}")
        self.say(f"250 {features[-1]}")

    def _starttls(self) -> None:
        assert self._receiver.starttls is not None
        self._connection.sendall(b"220 go ahead\r\n" + self._receiver.injected)
        self._take(
            self._receiver.starttls.wrap_socket(self._connection, server_side=True), secure=True
        )

    def _auth(self, rest: str) -> None:
        mechanism, _, initial = rest.partition(" ")
        if mechanism == "PLAIN":
            _, user, password = base64.b64decode(initial).decode().split("\0")
        else:
            asked = []
            for prompt in (["Username:"] if not initial else []) + ["Password:"]:
                self.say(f"334 {base64.b64encode(prompt.encode()).decode()}")
                asked.append(base64.b64decode(self._line()).decode())
            user = base64.b64decode(initial).decode() if initial else asked[0]
            password = asked[-1]
        if self._receiver.users.get(user) == password:
            self._user = user
            self.say("235 welcome")
        else:
            self.say(f"535 {password} is wrong")

    def _rcpt(self, address: str) -> None:
        if address in self._receiver.refused:
            self.say(self._receiver.refused[address])
            return
        self._recipients.append(address)
        self.say("250 ok")

    def _data(self) -> None:
        self.say("354 go on")
        lines = []
        while (line := self._reader.readline()) not in {b".\r\n", b""}:
            lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
        self._receiver.mails.append(
            Mail(self._sender, tuple(self._recipients), b"".join(lines), self._secure, self._user)
        )
        self.say("250 taken")


def hang(connection: socket.socket) -> None:
    """Take everything and never say a word."""
    while connection.recv(65536):
        pass


def drip(beginning: bytes) -> Callable[[socket.socket], None]:
    """Say ``beginning``, then a letter ten times a second, for ever."""

    def serve(connection: socket.socket) -> None:
        connection.sendall(beginning)
        waiting = threading.Event()
        while not waiting.wait(0.1):
            connection.sendall(b"a")

    return serve


def flood(beginning: bytes, line: bytes) -> Callable[[socket.socket], None]:
    """Say ``beginning``, then ``line`` as fast as it goes, for ever."""

    def serve(connection: socket.socket) -> None:
        connection.settimeout(30)
        connection.sendall(beginning)
        while True:
            connection.sendall(line * 1000)

    return serve


def reset(connection: socket.socket) -> None:
    """Break off in the roughest way there is."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def babble(connection: socket.socket) -> None:
    """Speak no protocol at all."""
    connection.sendall(b"\x00\xff\x16 no such protocol\r\n" * 20)


@contextlib.contextmanager
def closed_port() -> Iterator[int]:
    """Yield a port where nobody listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield unused.getsockname()[1]


def json_of(request: Request) -> dict:
    """Return the JSON object that a request carries."""
    return json.loads(request.body)
