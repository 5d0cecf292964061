"""Components of gitignore patterns as regular expressions over bytes.

Source:
    gitignore(5), "PATTERN FORMAT"; fnmatch(7) for classes. ``?`` stands for one character of
    UTF-8, and for one byte of anything else.
"""

import re

STAR = rb"[^/]*"
_ANY = rb"(?>[\xc2-\xf4][\x80-\xbf]{1,3}|[^/])"

_CLASSES = {
    b"alnum": rb"a-zA-Z0-9",
    b"alpha": rb"a-zA-Z",
    b"blank": rb" \t",
    b"cntrl": rb"\x00-\x1f\x7f",
    b"digit": rb"0-9",
    b"graph": rb"\x21-\x7e",
    b"lower": rb"a-z",
    b"print": rb"\x20-\x7e",
    b"punct": rb"!-/:-@\[-`{-~",
    b"space": rb" \t\n\r\f\v",
    b"upper": rb"A-Z",
    b"xdigit": rb"0-9A-Fa-f",
}

_LAST_ASCII = 0x7F
_NAMED = re.compile(rb"\[:([^\]]*):\]", re.DOTALL)


class MalformedGlobError(Exception):
    """A pattern that cannot match anything; the text says why."""


def translate_component(glob: bytes) -> bytes:
    """Return an expression for one component of a path, without slashes.

    Raises:
        MalformedGlobError: A class has no end, an unknown name or foreign characters, or there
            is nothing after the last backslash.
    """
    pieces: list[bytes] = [b""]
    position = 0
    while position < len(glob):
        byte = glob[position : position + 1]
        position += 1
        if byte == b"*":
            if len(pieces) == 1 or pieces[-1]:
                pieces.append(b"")
        elif byte == b"?":
            pieces[-1] += _ANY
        elif byte == b"[":
            expression, position = _class(glob, position)
            pieces[-1] += expression
        else:
            if byte == b"\\":
                byte = glob[position : position + 1]
                position += 1
                if not byte:
                    raise MalformedGlobError("nothing follows the last backslash")
            pieces[-1] += re.escape(byte)
    return _joined(pieces)


def _joined(pieces: list[bytes]) -> bytes:
    """Put stars between pieces; all but the last find the leftmost match, once and for all."""
    if len(pieces) == 1:
        return pieces[0]
    if not any(pieces):
        return rb"[^/]+"  # stars only; no name is empty
    first, *inner, last = pieces
    atomic = b"".join(b"(?>[^/]*?" + piece + b")" for piece in inner)
    return first + atomic + STAR + last


def _class(glob: bytes, position: int) -> tuple[bytes, int]:
    """Return an expression for the class that begins at ``position``, and where it ends.

    Raises:
        MalformedGlobError: It has no end, an unknown name or foreign characters.
    """
    negated = glob[position : position + 1] in {b"!", b"^"}
    position += negated
    members: list[bytes] = []
    first = True
    while first or glob[position : position + 1] != b"]":
        first = False
        named = _NAMED.match(glob, position)
        if named is not None:
            if named[1] not in _CLASSES:
                raise MalformedGlobError("a character class has an unknown name")
            members.append(_CLASSES[named[1]])
            position = named.end()
            continue
        low, position = _member(glob, position)
        high = low
        if glob[position : position + 1] == b"-" and glob[position + 1 : position + 2] != b"]":
            high, position = _member(glob, position + 1)
        if low <= high:
            members.append(b"\\x%02x-\\x%02x" % (low, high))
    body = b"".join(members)
    if negated:
        return b"[^/" + body + b"]", position + 1
    return (b"(?!/)[" + body + b"]" if body else b"(?!)"), position + 1


def _member(glob: bytes, position: int) -> tuple[int, int]:
    """Return one character of a class and where the next one begins.

    Raises:
        MalformedGlobError: There is none, or it is not ASCII.
    """
    if glob[position : position + 1] == b"\\":
        position += 1
    if position >= len(glob):
        raise MalformedGlobError("a character class has no end")
    if glob[position] > _LAST_ASCII:
        raise MalformedGlobError("a character class holds a character that is not ASCII")
    return glob[position], position + 1


def translate_path(components: list[bytes]) -> bytes:
    """Return an expression for a path of several components, ``**`` among them.

    Raises:
        MalformedGlobError: A component is malformed.
    """
    groups: list[list[bytes]] = [[]]
    for component in components:
        if component.strip(b"*") or len(component) == 1:  # more stars than two mean two
            groups[-1].append(translate_component(component))
        elif len(groups) == 1 or groups[-1]:
            groups.append([])
    first, *rest = groups
    expression = b"/".join(first)
    if not rest:
        return expression
    expression += b"/" if first else b""
    *inner, last = rest
    for group in inner:
        expression += rb"(?>(?:[^/]+/)*?" + b"/".join(group) + b"/)"
    if not last:
        return expression + b".+"
    return expression + rb"(?:[^/]+/)*" + b"/".join(last)
