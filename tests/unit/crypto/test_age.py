"""age files: who opens them, what is refused, what stays secret."""

import subprocess
import sys

import pytest
from cryptography.hazmat.bindings._rust import openssl
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from drkeeper.crypto import age, bech32
from drkeeper.crypto.age import armor, header
from drkeeper.crypto.age.header import MAX_HEADER_BYTES, MAX_STANZAS, Stanza
from drkeeper.crypto.age.passphrase import MAX_WORK_FACTOR
from drkeeper.errors import ConfigurationError, IntegrityError, KeyNotFoundError

CHUNK = 64 * 1024
FAST = 4


@pytest.fixture(scope="module")
def people():
    """Three identities, made once."""
    return [age.Identity.generate() for _ in range(3)]


def test_published_hpke_key_and_message(vectors):
    """The seed of the HPKE draft gives its public key and opens its message: this is X-Wing."""
    for vector in vectors("hpke-mlkem768-x25519.json")["vectors"]:
        found = age.Identity(bytes.fromhex(vector["skRm"]))
        message = vector["encryptions"][0]
        suite = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
        # The draft's messages have associated data, which the public interface leaves out.
        plain = openssl.hpke._decrypt_with_aad(
            suite,
            bytes.fromhex(vector["enc"] + message["ct"]),
            found._private,
            bytes.fromhex(vector["info"]),
            bytes.fromhex(message["aad"]),
        )
        assert found.recipient.raw.hex() == vector["pkRm"]
        assert plain.hex() == message["pt"]


def test_each_recipient_opens_the_file_alone(people):
    """Several recipients share one file; nobody needs the others, and strangers get nothing."""
    secret = b"a class key of thirty-two bytes!"
    file = age.encrypt(secret, [person.recipient for person in people[:2]])

    assert age.decrypt(file, [people[0]]) == secret
    assert age.decrypt(file, [people[2], people[1]]) == secret
    assert file.count(b"\n-> mlkem768x25519 ") == 2
    with pytest.raises(KeyNotFoundError):
        age.decrypt(file, [people[2]])
    with pytest.raises(KeyNotFoundError):
        age.decrypt(file, [])


def test_recipients_that_were_written_down_work(people):
    """Keys survive as age's strings, also typed in the other case."""
    text = str(people[0].recipient)
    secret = people[0].secret_text()

    file = age.encrypt(b"x", [age.Recipient.parse(text)])

    assert text.startswith("age1pq1")
    assert secret.startswith("AGE-SECRET-KEY-PQ-1")
    assert age.decrypt(file, [age.Identity.parse(secret)]) == b"x"
    assert age.Recipient.parse(text.upper()) == people[0].recipient
    assert age.Identity.parse(secret.lower()).recipient == people[0].recipient


@pytest.mark.parametrize(
    "plain_bytes", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 3]
)
def test_plaintexts_of_any_length_come_back(people, plain_bytes):
    """Payload chunks are cut and joined right at every border, binary and armored."""
    plain = bytes(range(256)) * (plain_bytes // 256) + bytes(plain_bytes % 256)

    file = age.encrypt(plain, [people[0].recipient])

    assert age.decrypt(file, people) == plain
    assert age.decrypt(age.armored(file), people) == plain
    assert age.decrypt(b"\r\n " + age.armored(file).replace(b"\n", b"\r\n"), people) == plain


def test_one_plaintext_never_gives_the_same_file(people):
    """File key, nonce and encapsulation are drawn anew for every file."""
    files = {age.encrypt(b"same", [people[0].recipient]) for _ in range(50)}

    assert len(files) == 50
    assert len({file[-20:] for file in files}) == 50


def test_every_changed_byte_of_a_file_is_found(people):
    """No change of a key slot goes unnoticed, wherever it is."""
    file = bytearray(age.encrypt(b"class key", [people[0].recipient]))

    for position in range(len(file)):
        file[position] ^= 1
        with pytest.raises((IntegrityError, KeyNotFoundError)):
            age.decrypt(bytes(file), [people[0]])
        file[position] ^= 1
    assert age.decrypt(bytes(file), [people[0]]) == b"class key"


def test_every_truncation_of_a_file_is_found(people):
    """No prefix of a key slot opens, and nothing may follow it."""
    file = age.encrypt(b"class key", [people[0].recipient])

    for length in range(len(file)):
        with pytest.raises(IntegrityError):
            age.decrypt(file[:length], [people[0]])
    with pytest.raises(IntegrityError):
        age.decrypt(file + b"\0", [people[0]])


def test_stanzas_of_other_types_are_passed_over(people):
    """A file may be for a plugin's recipient too; a stanza of our type must still be sound."""
    file_key = bytes(16)
    own = people[0].recipient.wrap(file_key)
    other = Stanza("example.com/enigma", ("a", "b"), bytes(100))

    assert people[0].unwrap([other, own]) == file_key
    assert people[0].unwrap([other]) is None
    for broken in (
        Stanza(own.kind, (), own.body),
        Stanza(own.kind, (*own.arguments, "x"), own.body),
        Stanza(own.kind, (own.arguments[0][:-4],), own.body),
        Stanza(own.kind, own.arguments, own.body + b"\0"),
    ):
        with pytest.raises(IntegrityError):
            people[1].unwrap([own, broken])


def test_hostile_headers_are_bounded():
    """Endless headers, lines and stanza lists are refused before they cost anything."""
    start = b"age-encryption.org/v1\n"
    stanza = b"-> x\n\n"
    endless = [
        start + b"-> " + b"a" * (MAX_HEADER_BYTES + 10) + b"\n",
        start + stanza * (MAX_STANZAS + 1) + b"--- " + b"A" * 43 + b"\n",
        start + b"-> x\n" + (b"A" * 64 + b"\n") * 4000,
        start + stanza * 10_000_000,
        b"age-encryption.org/v1" * 100_000,
    ]

    for file in endless:
        with pytest.raises(IntegrityError, match="age header"):
            age.decrypt(file, [])
        assert not age.is_passphrase_file(file)


def test_the_largest_allowed_header_is_written_and_read(people):
    """As many recipients as a reader accepts, and not one more, can be written."""
    everyone = [people[0].recipient] * (MAX_STANZAS - 1) + [people[1].recipient]

    file = age.encrypt(b"x", everyone)

    assert header.parse(file)[1] < MAX_HEADER_BYTES
    assert age.decrypt(file, [people[1]]) == b"x"
    for wrong in ([], [*everyone, people[2].recipient]):
        with pytest.raises(ConfigurationError):
            age.encrypt(b"x", wrong)


def test_a_passphrase_opens_its_file_and_no_other_does():
    """Any text is a passphrase, used as it is; a wrong one is a missing key, not damage."""
    file = age.encrypt_with_passphrase(b"identity", "pass phräse ", work_factor=FAST)

    assert age.decrypt_with_passphrase(file, "pass phräse ") == b"identity"
    assert age.decrypt_with_passphrase(age.armored(file), "pass phräse ") == b"identity"
    for wrong in ("pass phräse", "", "PASS"):
        with pytest.raises(KeyNotFoundError):
            age.decrypt_with_passphrase(file, wrong)
    with pytest.raises(IntegrityError):
        age.decrypt_with_passphrase(file[:-1] + b"?", "pass phräse ")


def test_the_default_work_factor_is_ages_own():
    """Without being told, a file costs a guesser what age's files cost."""
    assert b" 18\n" in age.encrypt_with_passphrase(b"x", "p")[:80]


def test_passphrase_files_are_told_apart(people):
    """A caller can ask for a passphrase only when one is needed, whatever the file is."""
    secret = age.encrypt_with_passphrase(b"x", "p", work_factor=FAST)
    shared = age.encrypt(b"x", [people[0].recipient])

    assert age.is_passphrase_file(secret)
    assert age.is_passphrase_file(age.armored(secret))
    for other in (shared, age.armored(shared), b"", b"AGE-SECRET-KEY-PQ-1", bytes(1000)):
        assert not age.is_passphrase_file(other)
    with pytest.raises(KeyNotFoundError):
        age.decrypt_with_passphrase(shared, "p")
    with pytest.raises(KeyNotFoundError):
        age.decrypt(secret, people)


def test_a_file_cannot_ask_for_unbounded_work():
    """Work factors above the limit are refused unstretched, reading and writing."""
    file = age.encrypt_with_passphrase(b"x", "p", work_factor=FAST)
    for factor in (b"21", b"30", b"63", b"9" * 1000):
        with pytest.raises(IntegrityError):
            age.decrypt_with_passphrase(file.replace(b" 4\n", b" " + factor + b"\n", 1), "p")
    for factor in (0, -1, MAX_WORK_FACTOR + 1):
        with pytest.raises(ConfigurationError):
            age.encrypt_with_passphrase(b"x", "p", work_factor=factor)
    with pytest.raises(ConfigurationError):
        age.encrypt_with_passphrase(b"x", "", work_factor=FAST)


def test_too_little_memory_is_said_in_words():
    """On a machine that cannot stretch the passphrase the answer is an error with a hint."""
    script = (
        "import resource\n"
        "from drkeeper.crypto import age\n"
        "from drkeeper.errors import ConfigurationError\n"
        "resource.setrlimit(resource.RLIMIT_AS, (600 << 20, 600 << 20))\n"
        "try: age.encrypt_with_passphrase(b'x', 'canary', work_factor=20)\n"
        "except ConfigurationError as error: print(error, error.hint)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )

    assert "too little memory" in done.stdout, done.stderr
    assert "canary" not in done.stdout + done.stderr


def test_a_passphrase_and_recipients_never_mix(people):
    """Who shares a passphrase may assume that nobody else could have written the file."""
    file_key = bytes(16)
    secret = age.encrypt_with_passphrase(b"x", "p", work_factor=FAST)
    scrypt_stanza = header.parse(secret)[0].stanzas[0]
    mixed = header.write([people[0].recipient.wrap(file_key), scrypt_stanza], file_key)

    for attempt in (
        lambda: age.decrypt(mixed + bytes(32), people),
        lambda: age.decrypt_with_passphrase(mixed + bytes(32), "p"),
    ):
        with pytest.raises(IntegrityError, match="mixes"):
            attempt()
    assert not age.is_passphrase_file(mixed + bytes(32))


def test_armor_has_one_spelling():
    """What is armored comes back, and 64 columns are kept at every length."""
    for length in range(100):
        text = age.armored(bytes(length))
        assert armor.decode(text) == bytes(length)
        assert all(len(line) <= 64 for line in text.splitlines())
    assert armor.is_armored(b" \n" + text)
    assert not armor.is_armored(b"age-encryption.org/v1")


def test_hostile_armor_is_refused_before_it_is_split():
    """Millions of short lines cost no memory beyond the file's own size."""
    first, last = age.armored(b"").splitlines()
    text = first + b"\n" + b"A\n" * 5_000_000 + last

    with pytest.raises(IntegrityError, match="lines of a wrong length"):
        armor.decode(text)


def test_a_passphrase_of_any_bytes_works():
    """A passphrase typed on a terminal with another encoding is used as the bytes it is."""
    typed = b"p\xe4ss".decode(errors="surrogateescape")
    file = age.encrypt_with_passphrase(b"x", typed, work_factor=FAST)

    assert age.decrypt_with_passphrase(file, typed) == b"x"
    with pytest.raises(KeyNotFoundError):
        age.decrypt_with_passphrase(file, "päss")


def test_keys_of_another_kind_are_refused(people):
    """A recipient is no identity, a classic key no hybrid one, and half a key none."""
    recipient, secret = str(people[0].recipient), people[0].secret_text()
    classic = bech32.encode("age", bytes(32))

    for text in (secret, classic, recipient[:-1], "", "age1pq1", bech32.encode("age1pq", b"short")):
        with pytest.raises(ConfigurationError):
            age.Recipient.parse(text)
    for text in (recipient, classic, secret[:-1], bech32.encode("age-secret-key-pq-", bytes(31))):
        with pytest.raises(ConfigurationError):
            age.Identity.parse(text)
    with pytest.raises(ConfigurationError, match="not a valid public key"):
        age.Recipient(b"\xff" * 1216)


def test_identities_and_passphrases_show_nothing(people):
    """No repr, str or error text holds a secret or part of one."""
    person = people[0]
    secret = person.secret_text()
    mistyped = secret[:-1] + ("Q" if secret[-1] != "Q" else "P")
    with pytest.raises(ConfigurationError) as typed:
        age.Identity.parse(mistyped)
    with pytest.raises(KeyNotFoundError) as wrong:
        age.decrypt_with_passphrase(
            age.encrypt_with_passphrase(b"x", "p", work_factor=FAST), "canary phrase"
        )

    shown = " ".join(
        f"{thing!r} {thing}" for thing in (person, typed.value, wrong.value, typed.value.context)
    )

    assert secret[19:30] not in shown.upper()
    assert person.seed.hex() not in shown
    assert repr(person.seed) not in shown
    assert "canary" not in shown
