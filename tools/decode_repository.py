#!/usr/bin/env python3
"""List and restore a drkeeper repository, written from docs/format.md alone.

    decode_repository.py STORE --identity FILE [--admin HEX] list
    decode_repository.py STORE --identity FILE [--admin HEX] entries N
    decode_repository.py STORE --identity FILE [--admin HEX] restore N TARGET

STORE is a folder (copy a bucket into one first), FILE holds lines ``AGE-SECRET-KEY-PQ-1...``, N is the
number of a commit as ``list`` prints it. Needs cryptography, blake3, msgspec and zstd. Section
numbers refer to docs/format.md. No hardened restore: names are checked, races are not.
"""

import argparse
import base64
import hashlib
import hmac
import json
import os
import stat
import struct
import sys
from pathlib import Path

import msgspec
from blake3 import blake3
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PrivateKey, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PACK, META, REFS = 1, 2, 3
KINDS = {PACK: ("packs", "data", 20), META: ("meta", "meta", 16), REFS: ("refs", "refs", 14)}
MAY = {  # 3.1; the admin may sign what a janitor may
    op: set(roles.split())
    for roles, ops in (
        ("admin", "create keyring"),
        ("host", "open commit mark"),
        ("janitor admin", "expire release condemn swept"),
        ("host janitor admin", "abort hold checkpoint"),
    )
    for op in ops.split()
}
MAX_PART = 64 << 20
MAX_CHUNK = 4 << 20
NEW = os.O_CREAT | os.O_EXCL | os.O_WRONLY


class Wrong(Exception):  # noqa: N818 - reads as a sentence: raise Wrong(...)
    """The repository is not as docs/format.md says."""


def need(condition, message):
    if not condition:
        raise Wrong(message)


def bech32_decode(text):
    """Return (prefix, bytes) of a Bech32 string without length limit (BIP 173)."""
    need(text == text.upper() or text == text.lower(), "mixed case in a Bech32 string")
    text = text.lower()
    prefix, _, data = text.rpartition("1")
    alphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
    need(prefix and all(c in alphabet for c in data), "not a Bech32 string")
    values = [alphabet.index(c) for c in data]
    check = 1
    expanded = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix] + values
    for value in expanded:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for i, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= generator if (top >> i) & 1 else 0
    need(check == 1, "wrong Bech32 checksum")
    bits = number = 0
    out = bytearray()
    for value in values[:-6]:
        number, bits = (number << 5 | value) & 0xFFF, bits + 5
        if bits >= 8:
            bits -= 8
            out.append(number >> bits & 255)
    need(bits < 5 and number & ((1 << bits) - 1) == 0, "wrong Bech32 padding")
    return prefix, bytes(out)


def identity_from_text(text):
    """Return the private key of one ``AGE-SECRET-KEY-PQ-1...`` line."""
    prefix, seed = bech32_decode(text)
    need(prefix == "age-secret-key-pq-" and len(seed) == 32, "not a post-quantum age identity")
    expanded = hashlib.shake_256(seed).digest(96)
    return MLKEM768X25519PrivateKey(
        MLKEM768PrivateKey.from_seed_bytes(expanded[:64]),
        X25519PrivateKey.from_private_bytes(expanded[64:]),
    )


def unbase64(text):
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


def hkdf256(key, salt, info):
    return HKDF(hashes.SHA256(), 32, salt or None, info).derive(key)


def age_open(data, identities):
    """Decrypt a (small) age v1 file."""
    lines, at = [], 0
    while not lines or not lines[-1].startswith(b"---"):
        end = data.index(b"\n", at)
        lines.append(data[at:end])
        at = end + 1
    need(lines[0] == b"age-encryption.org/v1", "not an age v1 file")
    header, mac = data[: at - len(lines[-1]) - 1] + b"---", unbase64(lines[-1][4:].decode())
    stanzas = []
    for line in lines[1:-1]:
        if line.startswith(b"-> "):
            stanzas.append((line[3:].decode().split(" "), []))
        else:
            stanzas[-1][1].append(line.decode())
    suite = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
    for arguments, body in stanzas:
        if arguments[0] != "mlkem768x25519":
            continue
        sealed = unbase64(arguments[1]) + unbase64("".join(body))
        for identity in identities:
            try:
                key = suite.decrypt(sealed, identity, b"age-encryption.org/mlkem768x25519")
            except (InvalidTag, ValueError):
                continue
            expected = hmac.digest(hkdf256(key, b"", b"header"), header, "sha256")
            need(hmac.compare_digest(mac, expected), "age header was altered")
            return age_payload(key, data[at:])
    return None


def age_payload(file_key, data):
    cipher = ChaCha20Poly1305(hkdf256(file_key, data[:16], b"payload"))
    size, out = 65536 + 16, []
    blocks = [data[i : i + size] for i in range(16, len(data), size)]
    for i, block in enumerate(blocks):
        nonce = i.to_bytes(11, "big") + bytes([i == len(blocks) - 1])
        out.append(cipher.decrypt(nonce, block, None))
    return b"".join(out)


def no_duplicates(pairs):
    need(len({k for k, _ in pairs}) == len(pairs), "a JSON name occurs twice")
    return dict(pairs)


def verifies(key, raw):
    try:
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key))
        public.verify(raw[:64], b"drkeeper/v1/journal\0" + raw[64:])
    except InvalidSignature:
        return False
    return True


class Journal:
    """Every valid entry, replayed in order; what the rest of the reader needs of it."""

    def __init__(self, store, repository, admin):
        self.store, self.repository = store, repository
        self.admins, self.keyring, self.sessions, self.commits = {admin} - {None}, None, {}, {}
        self.lineages, self.condemned, self.void = {}, set(), []
        numbers = sorted(int(p.name) for p in (store / "journal").iterdir())
        need(numbers == list(range(1, len(numbers) + 1)), "the journal has a hole")
        self.prev = "0" * 64
        for n in numbers:
            raw = (store / "journal" / f"{n:016d}").read_bytes()
            try:
                self.step(n, raw)
            except (Wrong, KeyError, ValueError, TypeError) as error:
                self.void.append((n, str(error)))
                need(n > 1, f"journal entry 1 is not valid: {error}")
            else:
                self.prev = blake3(raw).hexdigest()

    def roles(self, key):
        if key in self.keyring["admins"]:
            return {"admin"}, None
        for signer in self.keyring["signers"]:
            if signer["key"] == key:
                return set(signer["roles"]), signer["host"]
        return set(), None

    def step(self, n, raw):
        """Check one entry as section 3 says and take it in, or raise."""
        keys = self.admins if n == 1 and self.admins else None
        if n > 1:
            keys = {*self.keyring["admins"], *(s["key"] for s in self.keyring["signers"])}
        if keys is None:  # no admin key was given: believe the first entry, and say so
            keys = {json.loads(raw[64:])["signer"]}
            print(f"admin key (compare with the recovery kit): {', '.join(keys)}", file=sys.stderr)
        signer = next((k for k in keys if verifies(k, raw)), None)
        need(signer is not None, "signature does not verify")
        entry = json.loads(raw[64:], object_pairs_hook=no_duplicates)
        said = [entry[k] for k in ("signer", "format", "repository", "n", "prev")]
        need(said == [signer, 1, self.repository, n, self.prev], "does not belong here")
        if n == 1:
            need(entry["op"] == "create", "the first entry is no create")
            need(signer in entry["body"]["keyring"]["admins"], "created by no admin")
            self.keyring = entry["body"]["keyring"]
            return
        roles, host = self.roles(signer)
        need(roles & MAY[entry["op"]], f"role may not {entry['op']}")
        handler = getattr(self, "on_" + entry["op"], None)
        if handler:
            handler(n, entry["body"], host)

    def on_keyring(self, _n, body, _host):
        new = body["keyring"]
        need(new["version"] == self.keyring["version"] + 1, "keyring version")
        need(all(new[k] >= self.keyring[k] for k in ("format", "suite")), "keyring goes back")
        self.keyring = new

    def on_open(self, _n, body, host):
        need(body["host"] == host and body["session"] not in self.sessions, "session")
        need(body["keyring"] == self.keyring["version"], "keyring version")
        lineage = self.lineages.setdefault(body["lineage"], {"host": host, "seq": 0, "last": 0})
        need(lineage["host"] == host, "lineage of another host")
        self.sessions[body["session"]] = {**body, "open": True}

    def on_commit(self, n, body, host):
        session = self.sessions.get(body["session"])
        need(session and session["open"], "session is not open")
        need(session["host"] == body["host"] == host, "session of another host")
        need(session["lineage"] == body["lineage"], "session of another lineage")
        lineage = self.lineages[body["lineage"]]
        need(body["seq"] == lineage["seq"] + 1 and body["previous"] == lineage["last"], "sequence")
        for place, kind in ((body["root"], "meta"), (body["refs"], "refs")):
            need(f"{kind}/{place['id']}" not in self.condemned, "needs a condemned object")
        lineage.update(seq=body["seq"], last=n)
        session["open"] = not body["complete"]
        self.commits[n] = body

    def on_abort(self, _n, body, _host):
        need(self.sessions[body["session"]]["open"], "session is not open")
        self.sessions[body["session"]]["open"] = False

    def on_expire(self, _n, body, _host):
        need(all(c in self.commits for c in body["commits"]), "expires what is not live")
        for commit in body["commits"]:
            del self.commits[commit]

    def on_condemn(self, _n, body, _host):
        self.condemned.update(body["objects"])


class Reader:
    """Opens the parts and chunks of one repository with the identities given."""

    def __init__(self, store, journal, identities):
        self.store, self.journal, self.identities = store, journal, identities
        self.keys, self.objects = {}, {}

    def key(self, session, cls):
        """2.2: the session's key for one class."""
        if (session, cls) not in self.keys:
            opened = self.journal.sessions[session]
            name = f"keyslots/{session}/{opened['keyring']}.{cls}.age"
            data = (self.store / name).read_bytes()
            need(blake3(data).hexdigest() == opened["keyslots"][cls], f"{name} was exchanged")
            key = age_open(data, self.identities)
            need(key is not None, f"no identity opens {name}")
            need(len(key) == 32, f"{name} holds no key")
            self.keys[session, cls] = key
        return self.keys[session, cls]

    def object(self, kind, session, name):
        """4: the whole plaintext of a sealed object; the last few are kept."""
        if (kind, name) not in self.objects:
            folder, cls, log2 = KINDS[kind]
            raw = (self.store / folder / name[:2] / name).read_bytes()
            ids = bytes.fromhex(self.journal.repository) + bytes.fromhex(session)
            fixed = struct.pack(">8sBBBBI", b"drkeeper", 1, kind, 1, log2, 0)
            header = fixed + ids + bytes.fromhex(name)
            need(raw[:64] == header, f"{name} has another header")
            info = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0" + raw[64:88]
            info += b"drkeeper/v1\0" + header
            derived = HKDFExpand(hashes.SHA512(), 76, info).derive(self.key(session, cls))
            need(hmac.compare_digest(derived[44:], raw[88:120]), f"{name} commits to another key")
            cipher, nonce = AESGCM(derived[:32]), int.from_bytes(derived[32:44], "big")
            size, out = (1 << log2) + 16, []
            need((len(raw) - 120) % size >= 16, f"{name} is truncated")
            try:
                for i, at in enumerate(range(120, len(raw), size)):
                    out.append(
                        cipher.decrypt((nonce ^ i).to_bytes(12, "big"), raw[at : at + size], None)
                    )
            except InvalidTag:
                raise Wrong(f"{name} was altered") from None
            if len(self.objects) >= 8:
                self.objects.pop(next(iter(self.objects)))
            self.objects[kind, name] = b"".join(out)
        return self.objects[kind, name]

    def part(self, kind, place, digest):
        """3.3: the part of an object that a place names; ``digest`` is the function to check by."""
        session, name, offset, stored, plain, codec, expected = place
        need(plain <= MAX_PART, "part is too large")
        data = decode(self.object(kind, session, name)[offset : offset + stored], plain, codec)
        need(digest(data) == expected, f"a part of {name} has another digest")
        return data

    def root(self, commit):
        """6.2: the snapshot root, which brings the key its own digest is made with."""
        place = place_from_json(commit["root"])
        data = self.part(META, place, lambda _: place[6])
        root = msgspec.msgpack.decode(data)
        self.piece_key = blake3(
            root["domain"], derive_key_context="drkeeper v1 2026-11 piece digest"
        ).digest()
        self.chunk_key = blake3(
            root["domain"], derive_key_context="drkeeper v1 2026-11 chunk id"
        ).digest()
        need(self.piece_digest(data) == place[6], "the snapshot root has another digest")
        return root

    def piece_digest(self, data):
        return blake3(data, key=self.piece_key).digest()

    def entries(self, commit):
        """6: every entry of a snapshot with the tables of its piece, in order, checked."""
        last = b""
        for first, count, place in self.root(commit)["pieces"]:
            plain = self.part(META, place_from_list(place), self.piece_digest)
            users, groups, packs, chunks, entries = msgspec.msgpack.decode(plain, strict=False)
            need(len(entries) == count and entries[0][0] == first, "piece is not as its index says")
            for entry in entries:
                path = entry[0]
                parts = path.split(b"/")
                need(
                    b"\0" not in path and not {b"", b".", b".."} & set(parts), f"bad path {path!r}"
                )
                order = path.replace(b"/", b"\0")
                need(order >= last, f"{path!r} is out of order")
                last = order
                yield entry, (users, groups, packs, chunks)

    def content(self, entry, tables):
        """5: the content of one entry, chunk by chunk, each checked against its id."""
        extents = entry[12]
        for number, offset, length in zip(extents[::3], extents[1::3], extents[2::3], strict=True):
            pack, at, stored, plain, codec, identity = tables[3][number]
            session, name = (x.hex() for x in tables[2][pack])
            need(plain <= MAX_CHUNK, "chunk is too large")
            chunk = decode(self.object(PACK, session, name)[at : at + stored], plain, codec)
            need(
                blake3(chunk, key=self.chunk_key).digest() == identity, f"chunk of {name} is wrong"
            )
            need(offset + length <= plain, "extent ends outside its chunk")
            yield chunk[offset : offset + length]


def decode(data, plain, codec):
    if codec == 1:
        data = zstd.ZstdDecompressor().decompress(data, max_length=plain + 1)
    need(codec in (0, 1) and len(data) == plain, "part or chunk has another length than declared")
    return data


def place_from_json(p):
    digest = bytes.fromhex(p["digest"])
    return (*(p[k] for k in ("session", "id", "offset", "stored", "plain", "codec")), digest)


def place_from_list(p):
    return (p[0].hex(), p[1].hex(), *p[2:])


def cmd_list(journal, reader):
    for n, commit in sorted(journal.commits.items()):
        root = reader.root(commit)
        state = "complete" if commit["complete"] else "partial"
        print(n, commit["consistent_at"], state, root["policy"], commit["counts"]["entries"])
    for n, why in journal.void:
        print(f"void entry {n}: {why}", file=sys.stderr)


def cmd_entries(reader, commit):
    for entry, _ in reader.entries(commit):
        if len(entry) > 13 and entry[13].get("f", 0) & 128:
            continue
        print(*entry[1:7], entry[10], entry[11].hex(), ascii(entry[0]), sep="\t")


def cmd_restore(reader, commit, target):
    """Write every entry below a new folder; metadata afterwards, deepest directories first."""
    target.mkdir()
    later, links, out = [], {}, None
    for entry, tables in reader.entries(commit):
        path, kind, mode, _uid, _gid, _m, _c, inode, device, nlink = entry[:10]
        extra = entry[13] if len(entry) > 13 else {}
        where = os.path.join(os.fsencode(target), path)
        group = (device, inode)
        if kind == 1:
            os.mkdir(where, 0o700)
        elif nlink > 1 and group in links and out is None:
            os.link(links[group], where, follow_symlinks=False)
        elif kind == 0:
            out = out or Output(where, entry, extra)
            for block in reader.content(entry, tables):
                out.write(block)
            if extra.get("f", 0) & 128:
                continue
            entry, extra, out = out.close()  # noqa: PLW2901 - the first of continued entries counts
        elif kind == 2:
            os.symlink(extra["t"], where)
        elif kind == 3:
            os.mkfifo(where)
        elif kind in (5, 6) and os.geteuid() == 0:
            node = os.makedev(extra.get("a", 0), extra.get("i", 0))
            os.mknod(where, (stat.S_IFCHR if kind == 5 else stat.S_IFBLK) | mode, node)
        else:
            continue
        if nlink > 1 and kind != 1:
            links.setdefault(group, where)
        later.append((where, entry, extra))
    for where, entry, extra in reversed(later):
        finish(where, entry, extra)


class Output:
    """One file being written: its data segments in order, holes left out."""

    def __init__(self, where, entry, extra):
        self.first, self.hash, self.fd = entry, blake3(), os.open(where, NEW, 0o600)
        self.segments = list(extra.get("s", [(0, entry[10])]))

    def write(self, block):
        self.hash.update(block)
        while block:
            need(self.segments, "a file has more content than its size")
            offset, length = self.segments[0]
            done = os.pwrite(self.fd, block[:length], offset)
            self.segments[:1] = [(offset + done, length - done)] if done < length else []
            block = block[done:]

    def close(self):
        os.truncate(self.fd, self.first[10])
        os.close(self.fd)
        digest = self.first[11]
        need(digest in (b"", self.hash.digest()), "a file has another digest")
        return self.first, self.first[13] if len(self.first) > 13 else {}, None


def finish(where, entry, extra):
    _path, kind, mode, uid, gid, mtime = entry[:6]
    if os.geteuid() == 0:
        os.chown(where, uid, gid, follow_symlinks=False)
    if kind != 2:
        os.chmod(where, mode)
    for name, value in extra.get("x", ()):
        try:
            os.setxattr(where, name, value, follow_symlinks=False)
        except OSError as error:
            print(f"{where!r}: {os.fsdecode(name)}: {error.strerror}", file=sys.stderr)
    os.utime(where, ns=(mtime, mtime), follow_symlinks=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("--identity", type=Path, required=True)
    parser.add_argument("--admin", help="admin key from the recovery kit, 64 hex digits")
    parser.add_argument("command", choices=["list", "entries", "restore"])
    parser.add_argument("n", nargs="?", type=int, default=0)
    parser.add_argument("target", nargs="?", type=Path)
    args = parser.parse_args()
    try:
        lines = args.identity.read_text(encoding="utf-8").split()
        keys = [identity_from_text(x) for x in lines if x.startswith("AGE-SECRET-KEY-PQ-1")]
        need(keys, f"{args.identity} holds no AGE-SECRET-KEY-PQ-1 line")
        hint = json.loads((args.store / "drkeeper.json").read_bytes())
        need(hint["format"] == 1, "another format")
        journal = Journal(args.store, hint["repository"], args.admin)
        reader = Reader(args.store, journal, keys)
        if args.command == "list":
            return cmd_list(journal, reader)
        commit = journal.commits.get(args.n)
        need(commit, f"no live commit {args.n}")
        if args.command == "entries":
            return cmd_entries(reader, commit)
        need(args.target, "restore needs a number and a new folder")
        return cmd_restore(reader, commit, args.target)
    except Wrong as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
