"""JSON as the journal allows it: one reading only.

Two parsers must never see different things in the same signed bytes, so everything on which
parsers differ is refused: duplicate names, numbers with a fraction or an exponent, integers that
a double cannot hold, lone surrogates, invalid UTF-8, deep nesting.

Source:
    docs/format.md 3.
"""

import json
from typing import Any, Final, NoReturn

MAX_INTEGER: Final = 2**53
_MAX_DIGITS: Final = 17


class MalformedError(Exception):
    """The bytes are not JSON of this kind; never leaves the repository package."""


def parse_object(data: bytes) -> dict[str, Any]:
    """Parse a JSON object; the text of a refusal never quotes the data.

    Raises:
        MalformedError: It is not an object that every parser reads alike.
    """
    try:
        text = data.decode()
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_float=_refuse_number,
            parse_int=_integer,
            parse_constant=_refuse_number,
        )
        if "\\u" in text:
            # Only an escape can bring in half a surrogate pair, which has no UTF-8 form.
            json.dumps(value, ensure_ascii=False).encode()
    except (UnicodeError, json.JSONDecodeError, RecursionError) as error:
        raise MalformedError("it is not JSON") from error
    if not isinstance(value, dict):
        raise MalformedError("it is not a JSON object")
    return value


def encode(value: object) -> bytes:
    """Write JSON the one way drkeeper writes it: compact, UTF-8, members in the order given."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise MalformedError("a name occurs twice")
    return value


def _integer(text: str) -> int:
    if len(text) > _MAX_DIGITS or not -MAX_INTEGER <= (value := int(text)) <= MAX_INTEGER:
        raise MalformedError("an integer is beyond 2^53")
    if text == "-0":
        raise MalformedError("a number is minus zero")
    return value


def _refuse_number(_text: str) -> NoReturn:
    raise MalformedError("a number is not an integer")
