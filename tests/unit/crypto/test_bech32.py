"""Bech32: the answers of BIP 173, without its limit on length."""

import pytest

from drkeeper.crypto import bech32
from drkeeper.errors import ConfigurationError

VALID = [
    "A12UEL5L",
    "a12uel5l",
    "an83characterlonghumanreadablepartthatcontainsthenumber1andtheexcludedcharactersbio1tt5tgs",
    "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw",
    "split1checkupstagehandshakeupstreamerranterredcaperred2y9e3w",
    "?1ezyfcl",
]
INVALID = [
    "\x201nwldj5",
    "\x7f1axkwrx",
    "\x801eym55h",
    "pzry9x0s0muk",
    "1pzry9x0s0muk",
    "x1b4n0q5v",
    "li1dgmt3",
    "de1lg7wt\xff",
    "A1G7SGD8",
    "10a06t8",
    "1qzzfhee",
    "A12uEL5L",
    "",
]


@pytest.mark.parametrize("text", VALID)
def test_published_strings_are_read_and_written(text):
    """Valid strings of BIP 173 decode, and encode to themselves in lower case."""
    prefix, payload = bech32.decode(text)

    assert bech32.encode(prefix, payload) == text.lower()


@pytest.mark.parametrize("text", INVALID)
def test_published_mistakes_are_refused(text):
    """Invalid strings of BIP 173 are configuration errors that do not quote the text."""
    with pytest.raises(ConfigurationError) as caught:
        bech32.decode(text)

    assert not text or text not in f"{caught.value} {caught.value.hint}"


def test_one_payload_has_one_spelling():
    """Left-over bits must be zero: BIP 173's longest string has a symbol too many for bytes."""
    left_over = "11" + "q" * 82 + "c8247j"

    prefix, payload = bech32.decode(left_over)

    assert (prefix, payload) == ("1", bytes(51))
    with pytest.raises(ConfigurationError, match="canonical"):
        bech32.decode(_with_checksum("a", [31]))
    with pytest.raises(ConfigurationError, match="canonical"):
        bech32.decode(_with_checksum("a", [0, 1]))
    with pytest.raises(ConfigurationError, match="canonical"):
        bech32.decode(_with_checksum("a", [0]))


def _with_checksum(prefix, symbols):
    bits = bech32._remainder([*bech32._expanded(prefix), *symbols, 0, 0, 0, 0, 0, 0]) ^ 1
    checksum = [bits >> 5 * (5 - i) & 31 for i in range(6)]
    return prefix + "1" + "".join(bech32._ALPHABET[s] for s in [*symbols, *checksum])


def test_every_single_typing_error_is_found():
    """One wrong character in a key, anywhere, is noticed."""
    text = bech32.encode("drksign", bytes(range(32)))

    for position in range(len(text)):
        for char in "qpzry9x8gf2tvdw0s3jn54khce6mua7l":
            if char != text[position]:
                with pytest.raises(ConfigurationError):
                    bech32.decode(text[:position] + char + text[position + 1 :])


@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 5, 31, 32, 1216])
def test_payloads_of_any_length_come_back(length):
    """Recipients are far longer than BIP 173 allows; all lengths modulo five work."""
    payload = bytes(i * 7 % 256 for i in range(length))

    assert bech32.decode(bech32.encode("age1pq", payload)) == ("age1pq", payload)


def test_a_hostile_string_costs_nothing():
    """Text that is longer than any key is refused before it is looked at."""
    with pytest.raises(ConfigurationError):
        bech32.decode("a1" + "q" * 10_000_000)
