"""Signed notes and checkpoints, against a note that another implementation signed."""

import base64

import pytest

from drkeeper.crypto.merkle import EMPTY
from drkeeper.crypto.notes import (
    Checkpoint,
    Verifier,
    open_checkpoint,
    open_note,
    sign_checkpoint,
    sign_note,
)
from drkeeper.crypto.signing import JOURNAL_DOMAIN, SigningKey
from drkeeper.errors import ConfigurationError, IntegrityError

# Key and note as in the documentation of golang.org/x/mod/sumdb/note.
KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
NOTE = (
    TEXT + "\n— PeterNeumann "
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
PETER = Verifier.parse(KEY)
MINE = SigningKey(bytes(range(32)))
ORIGIN = "drkeeper/ledger/00112233445566778899aabbccddeeff"


def test_a_note_of_another_implementation_is_read_and_written():
    """The published note verifies under the published key, and the private key makes it again."""
    opened = open_note(NOTE, [PETER])
    assert (opened.text, opened.signers) == (TEXT, (PETER,))
    assert sign_note(TEXT, "PeterNeumann", SigningKey(SEED)) == NOTE
    assert str(PETER) == KEY


@pytest.mark.parametrize(
    "note",
    [
        NOTE.replace("problem is", "problem was"),
        NOTE.replace("wJnAM", "wJnAN"),
        NOTE.replace("PeterNeumann", "PeterNewmann"),
        NOTE.replace("— ", "- "),
        NOTE.replace("\n\n", "\n"),
        NOTE.removesuffix("\n"),
        NOTE + "\n",
        NOTE + "more\n",
        NOTE.replace("x08go", "x08gp"),
        NOTE.replace("think", "th\tink"),
        TEXT,
        "",
        "x" * (1 << 21),
    ],
)
def test_anything_else_is_refused(note):
    """A changed, truncated, unsigned or oversized note says nothing."""
    with pytest.raises(IntegrityError):
        open_note(note, [PETER])


def test_signatures_of_strangers_are_passed_over_but_never_a_wrong_one_of_a_known_key():
    """One known key is enough; a known key's wrong signature spoils the note."""
    both = NOTE + sign_note(TEXT, "me", MINE).split("\n\n")[1]
    me = Verifier("me", MINE.verify_key)
    assert open_note(both, [me]).signers == (me,)
    assert open_note(both, [PETER, me]).signers == (PETER, me)
    spoilt = both.replace("x08go/ZJk", "x08go/ZJj")
    with pytest.raises(IntegrityError):
        open_note(spoilt, [PETER, me])


@pytest.mark.parametrize("text", ["no newline", "nul \0\n", "tab\t\n", "return\r\n"])
def test_only_plain_lines_are_signed(text):
    """What no note may hold is never signed as one."""
    with pytest.raises(ValueError, match="text"):
        sign_note(text, "me", MINE)


def test_a_note_is_never_a_signature_of_the_journal():
    """Texts are signed without a domain, so they hold no NUL byte, which every domain does."""
    for payload in ("", "x"):
        with pytest.raises(ValueError, match="NUL"):
            MINE.sign_text(JOURNAL_DOMAIN.decode() + payload)
    signature = MINE.sign(JOURNAL_DOMAIN, b"x")
    with pytest.raises(IntegrityError):
        MINE.verify_key.verify_text(JOURNAL_DOMAIN.decode() + "x", signature)


def test_a_checkpoint_comes_back():
    """What was signed is read again, from its own origin and key only."""
    checkpoint = Checkpoint(ORIGIN, 7, bytes(range(32)))
    note = sign_checkpoint(checkpoint, MINE)
    assert note.startswith(
        f"{ORIGIN}\n7\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n\n— {ORIGIN} "
    )
    assert open_checkpoint(note, ORIGIN, [MINE.verify_key]) == checkpoint
    with pytest.raises(IntegrityError):
        open_checkpoint(note, ORIGIN.replace("0011", "0012"), [MINE.verify_key])
    with pytest.raises(IntegrityError):
        open_checkpoint(note, ORIGIN, [SigningKey(bytes(32)).verify_key])


@pytest.mark.parametrize(
    "text", ["o\n1\n", "o\n01\nX\n", "o\n-1\nX\n", "\n1\nX\n", "o\n1\nX\n\nmore\n"]
)
def test_signed_text_that_is_no_checkpoint_is_refused(text):
    """A key that signs other notes too does not make checkpoints of them."""
    root = base64.b64encode(EMPTY).decode()
    with pytest.raises(IntegrityError, match="not a checkpoint"):
        Checkpoint.parse(text.replace("X", root))


@pytest.mark.parametrize("text", ["", "a+b", KEY.replace("c74f", "c74e"), KEY[:-4], f"a {KEY}"])
def test_keys_that_disagree_with_themselves_are_refused(text):
    """A key of a note bears its own abbreviation."""
    with pytest.raises(ConfigurationError):
        Verifier.parse(text)
