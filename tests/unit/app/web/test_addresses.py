"""Where the page may be served."""

import pytest

from drkeeper.app.web.addresses import TcpAddress, UnixAddress, parse_address
from drkeeper.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8970", TcpAddress("127.0.0.1", 8970)),
        ("localhost:8970", TcpAddress("127.0.0.1", 8970)),
        ("[::1]:0", TcpAddress("::1", 0)),
        ("127.8.8.8:1", TcpAddress("127.8.8.8", 1)),
        ("/run/drkeeper/web.sock", UnixAddress("/run/drkeeper/web.sock")),
    ],
)
def test_loopback_and_sockets_need_no_token(text, address):
    """Only this machine reaches them."""
    assert parse_address(text) == address
    assert parse_address(str(address)) == address


@pytest.mark.parametrize("text", ["0.0.0.0:8970", "[::]:8970", "192.0.2.7:80", "[2001:db8::1]:80"])
def test_other_addresses_need_a_token(text):
    """What the page shows is not for a whole network."""
    with pytest.raises(ConfigurationError, match="no token") as caught:
        parse_address(text)
    assert "DRKEEPER_WEB_TOKEN" in caught.value.hint
    assert parse_address(text, token="secret") == parse_address(text, token="secret")


@pytest.mark.parametrize(
    "text",
    ["", "8970", ":8970", "127.0.0.1", "127.0.0.1:65536", "example.org:80", "::1:80", "a b:1",
     "127.0.0.1:8970/x", "http://127.0.0.1:8970", "/" + "x" * 107, "/a\0b", "127.0.0.1:٣"],
)  # fmt: skip
def test_anything_else_is_refused(text):
    """A name means whatever a name server says, and a mistake must not listen elsewhere."""
    with pytest.raises(ConfigurationError) as caught:
        parse_address(text)
    assert "web.listen" in caught.value.hint
