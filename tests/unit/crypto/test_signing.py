"""Ed25519: known answers, domains, and nothing forged or shown."""

import pytest

from drkeeper.crypto import bech32
from drkeeper.crypto.signing import JOURNAL_DOMAIN, SIGNATURE_BYTES, SigningKey, VerifyKey
from drkeeper.errors import ConfigurationError, IntegrityError

KEY = SigningKey(bytes(range(32)))
PAYLOAD = b'{"n":1}'

# RFC 8032 section 7.1: secret key, public key, message, signature.
RFC8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
]


@pytest.mark.parametrize(("seed", "public", "message", "signature"), RFC8032)
def test_published_keys_and_signatures(seed, public, message, signature):
    """Seeds give the public keys and signatures of RFC 8032."""
    key = SigningKey(bytes.fromhex(seed))

    assert key.verify_key.hex == public
    assert key._key.sign(bytes.fromhex(message)).hex() == signature


def test_frozen_signature_and_texts(vectors):
    """Signatures and key texts of format 1 stay as they are."""
    frozen = vectors("keys.json")["signing"]
    key = SigningKey.parse(frozen["secret_text"])
    domain, payload = bytes.fromhex(frozen["domain"]), bytes.fromhex(frozen["payload"])

    assert key.seed.hex() == frozen["seed"]
    assert str(key.verify_key) == frozen["public_text"]
    assert key.sign(domain, payload).hex() == frozen["signature"]
    VerifyKey.parse(frozen["public"]).verify(domain, payload, bytes.fromhex(frozen["signature"]))


def test_every_changed_bit_is_found():
    """A signature, payload or domain that differs in one bit does not verify."""
    signature = bytearray(KEY.sign(JOURNAL_DOMAIN, PAYLOAD))
    payload = bytearray(PAYLOAD)
    assert len(signature) == SIGNATURE_BYTES
    KEY.verify_key.verify(JOURNAL_DOMAIN, memoryview(payload), memoryview(signature))

    for changed in (signature, payload):
        for position in range(len(changed) * 8):
            changed[position // 8] ^= 1 << position % 8
            with pytest.raises(IntegrityError):
                KEY.verify_key.verify(JOURNAL_DOMAIN, bytes(payload), bytes(signature))
            changed[position // 8] ^= 1 << position % 8
    with pytest.raises(IntegrityError):
        KEY.verify_key.verify(b"drkeeper/v1/ledger\0", PAYLOAD, bytes(signature))


@pytest.mark.parametrize("signature", [b"", bytes(63), bytes(64), bytes(65), b"\xff" * 64])
def test_what_is_no_signature_is_refused(signature):
    """Signatures of any length and content from a hostile store end the same way."""
    with pytest.raises(IntegrityError, match="not by this key"):
        KEY.verify_key.verify(JOURNAL_DOMAIN, PAYLOAD, signature)


def test_the_order_of_the_group_cannot_be_added():
    """A signature has one spelling: s + L is refused (RFC 8032 section 5.1.7)."""
    signature = KEY.sign(JOURNAL_DOMAIN, PAYLOAD)
    order = (1 << 252) + 27742317777372353535851937790883648493
    s = int.from_bytes(signature[32:], "little") + order

    with pytest.raises(IntegrityError):
        KEY.verify_key.verify(JOURNAL_DOMAIN, PAYLOAD, signature[:32] + s.to_bytes(32, "little"))


def test_another_key_does_not_verify():
    """Only the signer's own key accepts the signature."""
    with pytest.raises(IntegrityError):
        SigningKey.generate().verify_key.verify(
            JOURNAL_DOMAIN, PAYLOAD, KEY.sign(JOURNAL_DOMAIN, PAYLOAD)
        )


@pytest.mark.parametrize("domain", [b"", b"\0", b"no end", b"two\0ends\0", b"\0start"])
def test_domains_cannot_run_into_payloads(domain):
    """A domain that does not end with its only NUL is a defect, on both sides."""
    with pytest.raises(ValueError, match="domain"):
        KEY.sign(domain, PAYLOAD)
    with pytest.raises(ValueError, match="domain"):
        KEY.verify_key.verify(domain, PAYLOAD, bytes(SIGNATURE_BYTES))


def test_public_keys_are_read_in_both_forms():
    """Hex as in the journal, Bech32 for people; nothing else."""
    key = KEY.verify_key

    assert VerifyKey.parse(key.hex) == VerifyKey.parse(str(key)) == key
    assert str(key).startswith("drksign1")
    wrong = [key.hex.upper(), key.hex[:-2], key.hex + "00", "", bech32.encode("age", bytes(32))]
    for text in [*wrong, bech32.encode("drksign", bytes(31)), KEY.secret_text()]:
        with pytest.raises(ConfigurationError):
            VerifyKey.parse(text)


def test_secret_keys_are_read_as_written():
    """The text form comes back; public keys and cut keys are refused."""
    key = SigningKey.generate()

    assert key.secret_text().startswith("DRK-SIGNING-KEY-1")
    assert SigningKey.parse(key.secret_text()).verify_key == key.verify_key
    for text in (
        str(key.verify_key),
        key.secret_text()[:-1],
        "",
        bech32.encode("drk-signing-key-", b"x"),
    ):
        with pytest.raises(ConfigurationError):
            SigningKey.parse(text)


def test_signing_keys_show_nothing():
    """No repr, str or error holds the seed."""
    with pytest.raises(ConfigurationError) as caught:
        SigningKey.parse(KEY.secret_text()[:-1] + "Q")

    shown = f"{KEY!r} {KEY} {caught.value!r} {caught.value.hint}"

    assert KEY.seed.hex() not in shown
    assert repr(KEY.seed) not in shown
    assert KEY.secret_text()[17:30] not in shown.upper()
