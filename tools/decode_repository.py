#!/usr/bin/env python3
"""List and restore a drkeeper repository, written from docs/format.md alone.

    decode_repository.py STORE --identity FILE [--admin HEX] list | entries N | restore N TARGET

STORE is a folder (copy a bucket into one first), FILE holds lines ``AGE-SECRET-KEY-PQ-1...``, N is a
commit as ``list`` prints it. Numbers refer to docs/format.md. Names are checked, races are not.
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
TIMES = "consistent_at finished_at next_due"
NAMED = "consistency root refs inventory counts"
OPS = {  # 3.1 and 3.3: who may sign it, and the members of its body
    "create": ("admin", "keyring"),
    "keyring": ("admin", "keyring"),
    "open": ("host", "session lineage host keyring keyslots resumes"),
    "commit": ("host", f"session lineage host seq previous complete {TIMES} {NAMED}"),
    "abort": ("host janitor admin", "session reason"),
    "expire": ("janitor admin", "commits reason"),
    "hold": ("host janitor admin", "commit until"),
    "release": ("janitor admin", "commit"),
    "condemn": ("janitor admin", "objects"),
    "swept": ("janitor admin", "condemn"),
    "mark": ("host", "lineage epoch seq digest"),
    "checkpoint": ("host janitor admin", "state"),
}
MAX_ENTRY = 16 << 20
MAX_PART = 64 << 20
MAX_CHUNK = 4 << 20
NEW = os.O_CREAT | os.O_EXCL | os.O_WRONLY


class Wrong(Exception):  # noqa: N818 - reads as a sentence: raise Wrong(...)
    """The repository is not as docs/format.md says."""


def need(condition, message):
    if not condition:
        raise Wrong(message)


def identity_from_text(text):
    """Return the private key of one ``AGE-SECRET-KEY-PQ-1...`` line: Bech32 (BIP 173), any length."""
    prefix, _, data = text.lower().rpartition("1")
    need(prefix == "age-secret-key-pq-", "not a post-quantum age identity")
    values = ["qpzry9x8gf2tvdw0s3jn54khce6mua7l".index(c) for c in data]
    check = 1
    for value in [*(ord(c) >> 5 for c in prefix), 0, *(ord(c) & 31 for c in prefix), *values]:
        check, top = (check & 0x1FFFFFF) << 5 ^ value, check >> 25
        for i, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= generator if (top >> i) & 1 else 0
    need(check == 1 and len(values) == 58, "wrong Bech32 checksum or length")
    number = int("".join(f"{value:05b}" for value in values[:-6]), 2)  # 256 bits and 4 of padding
    expanded = hashlib.shake_256((number >> 4).to_bytes(32, "big")).digest(96)
    return MLKEM768X25519PrivateKey(
        MLKEM768PrivateKey.from_seed_bytes(expanded[:64]),
        X25519PrivateKey.from_private_bytes(expanded[64:]),
    )


def unbase64(text):
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


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
            mac_key = HKDF(hashes.SHA256(), 32, None, b"header").derive(key)
            good = hmac.compare_digest(mac, hmac.digest(mac_key, header, "sha256"))
            need(good, "age header was altered")
            salt, data = data[at : at + 16], data[at + 16 :]
            cipher = ChaCha20Poly1305(HKDF(hashes.SHA256(), 32, salt, b"payload").derive(key))
            need(len(data) <= 65536 + 16, "a key slot is one block")
            return cipher.decrypt(bytes(11) + b"\1", data, None)
    return None


def parse_json(data):
    """3: JSON that every parser reads alike."""

    def pairs(found):
        need(len({name for name, _ in found}) == len(found), "a JSON name occurs twice")
        return dict(found)

    def refuse(text):
        raise Wrong(f"{text} is no integer")

    return json.loads(data, object_pairs_hook=pairs, parse_float=refuse, parse_constant=refuse)


def verifies(key, raw):
    try:
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key))
        public.verify(raw[:64], b"drkeeper/v1/journal\0" + raw[64:])
    except InvalidSignature:
        return False
    return True


class Journal:
    """Every valid entry, replayed in order; ``state`` has the form of a checkpoint (3.4)."""

    def __init__(self, store, repository, admin):
        self.repository, self.admins = repository, {admin} - {None}
        self.opened, self.bodies, self.void, self.prev = {}, {}, [], "0" * 64
        self.state = {"keyring": None, "keyrings": [], "commits": [], "condemned": []}
        self.state |= {k: {} for k in ("sessions", "lineages", "keyslots", "holds", "marks")}
        names = [p.name for p in (store / "journal").iterdir()]
        numbers = sorted(int(name) for name in names if len(name) == 16 and name.isdecimal())
        need(numbers == list(range(1, len(numbers) + 1)), "the journal has a hole")
        for n in numbers:
            raw = (store / "journal" / f"{n:016d}").read_bytes()
            try:
                self.step(n, raw)
            except (Wrong, KeyError, ValueError, TypeError) as error:
                self.void.append((n, str(error)))
                need(n > 1, f"journal entry 1 is not valid: {error}")
            else:
                self.prev = blake3(raw).hexdigest()

    def commits(self):
        return {n: self.bodies[n] for n, _, _ in self.state["commits"]}

    def roles(self, key, keyring):
        found = {s["key"]: (set(s["roles"]), s["host"]) for s in keyring["signers"]}
        return ({"admin"}, None) if key in keyring["admins"] else found.get(key, (set(), None))

    def step(self, n, raw):
        """Check one entry as section 3 says and take it in, or raise and change nothing."""
        need(64 < len(raw) <= 64 + MAX_ENTRY, "no entry has this length")
        keyring = self.state["keyring"]
        if keyring:
            keys = {*keyring["admins"], *(s["key"] for s in keyring["signers"])}
        elif self.admins:
            keys = self.admins
        else:  # no admin key was given: believe the first entry, and say so
            keys = {json.loads(raw[64:])["signer"]}
            print(f"admin key (compare with the recovery kit): {', '.join(keys)}", file=sys.stderr)
        signer = next((k for k in keys if verifies(k, raw)), None)
        need(signer is not None, "signature does not verify")
        entry = parse_json(raw[64:])
        op, body, at = (entry.pop(k) for k in ("op", "body", "at"))
        said = {"signer": signer, "format": 1, "repository": self.repository, "n": n}
        need(entry == {**said, "prev": self.prev}, "does not belong here")
        may, members = OPS[op]
        need((n == 1) == (op == "create"), "only entry 1 creates")
        need(body.keys() == set(members.split()), "its body has other members")
        roles, host = self.roles(signer, keyring or body["keyring"])
        need(roles & set(may.split()), f"role may not {op}")
        self.apply(op, body, n, blake3(raw).hexdigest(), at, host)

    def apply(self, op, body, n, digest, at, host):
        """3.2: change the state, or raise and change nothing."""
        state, lineages, holds = self.state, self.state["lineages"], self.state["holds"]
        live, open_now = {c for c, _, _ in state["commits"]}, state["sessions"]
        match op:
            case "create" | "keyring":
                old, new = (
                    state["keyring"] or {"version": 0, "format": 1, "suite": 1},
                    body["keyring"],
                )
                need(new["version"] == old["version"] + 1, "keyring version")
                need((new["format"], new["suite"]) == (1, 1), "needs a newer reader")
                state["keyring"] = new
                state["keyrings"].append([n, digest])
            case "open":
                fresh = {"host": host, "seq": 0, "last": 0, "next_due": None}
                lineage = lineages.get(body["lineage"], fresh)
                need(lineage["host"] == body["host"] == host, "lineage of another host")
                need(body["session"] not in {*open_now, *state["keyslots"]}, "session not new")
                need(body["keyring"] == state["keyring"]["version"], "keyring version")
                facts = {k: v for k, v in body.items() if k != "session"}
                lineages[body["lineage"]] = lineage
                open_now[body["session"]] = self.opened[body["session"]] = {**facts, "n": n}
            case "commit":
                session, last = open_now[body["session"]], lineages[body["lineage"]]
                need(session["host"] == body["host"] == host, "session of another host")
                need(session["lineage"] == body["lineage"], "session of another lineage")
                need([body["seq"] - 1, body["previous"]] == [last["seq"], last["last"]], "sequence")
                condemned = {name for _, names in state["condemned"] for name in names}
                needs = {f"meta/{body['root']['id']}", f"refs/{body['refs']['id']}"}
                need(not needs & condemned, "needs a condemned object")
                last.update(seq=body["seq"], last=n, next_due=body["next_due"])
                state["commits"].append([n, digest, body["session"]])
                self.bodies[n], slots = body, session["keyslots"]
                state["keyslots"][body["session"]] = {"keyring": session["keyring"], "slots": slots}
                if body["complete"]:
                    del open_now[body["session"]]
            case "abort":
                del open_now[body["session"]]
            case "expire":
                gone = set(body["commits"])
                ends = [holds.get(str(c), "") for c in gone]
                need(gone <= live, "names no live commit")
                need(None not in ends and all(end <= at for end in ends), "expires what is held")
                state["commits"] = [c for c in state["commits"] if c[0] not in gone]
                state["holds"] = {c: end for c, end in holds.items() if int(c) not in gone}
                named = {session for _, _, session in state["commits"]}
                state["keyslots"] = {s: v for s, v in state["keyslots"].items() if s in named}
            case "hold" | "release":
                need(body["commit"] in live, "names no live commit")
                before = holds.pop(str(body["commit"]), "")
                if op == "hold":
                    ends = [before, body["until"]]
                    holds[str(body["commit"])] = None if None in ends else max(ends)
            case "condemn":
                state["condemned"].append([n, body["objects"]])
            case "swept":
                left = [c for c in state["condemned"] if c[0] != body["condemn"]]
                need(left != state["condemned"], "sweeps what is not condemned")
                need(all(s["n"] > body["condemn"] for s in open_now.values()), "session still open")
                state["condemned"] = left
            case "mark":
                need(lineages[body["lineage"]]["host"] == host, "lineage of another host")
                state["marks"][body["lineage"]] = {k: v for k, v in body.items() if k != "lineage"}
            case "checkpoint":
                need(body["state"] == state, "another state")


class Reader:
    """Opens the parts and chunks of one repository with the identities given."""

    def __init__(self, store, journal, identities):
        self.store, self.journal, self.identities = store, journal, identities
        self.keys, self.objects = {}, {}

    def key(self, session, cls):
        """2.2: the session's key for one class."""
        if (session, cls) not in self.keys:
            opened = self.journal.opened[session]
            name = f"keyslots/{session}/{opened['keyring']}.{cls}.age"
            data = (self.store / name).read_bytes()
            need(blake3(data).hexdigest() == opened["keyslots"][cls], f"{name} was exchanged")
            key = age_open(data, self.identities)
            need(key and len(key) == 32, f"no identity opens {name}, or it holds no key")
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
                    number = (nonce ^ i).to_bytes(12, "big")
                    out.append(cipher.decrypt(number, raw[at : at + size], None))
            except InvalidTag:
                raise Wrong(f"{name} was altered") from None
            if len(self.objects) >= 8:
                self.objects.pop(next(iter(self.objects)))
            self.objects[kind, name] = b"".join(out)
        return self.objects[kind, name]

    def part(self, kind, place, digest):
        """3.3: the part of an object that a place names; ``digest`` is the function to check by."""
        session, name, offset, stored, plain, codec, expected = place
        session, name = session.hex(), name.hex()
        need(plain <= MAX_PART, "part is too large")
        data = decode(self.object(kind, session, name)[offset : offset + stored], plain, codec)
        need(digest(data) == expected, f"a part of {name} has another digest")
        return data

    def root(self, commit):
        """6.2: the snapshot root, which brings the key its own digest is made with."""
        said = commit["root"]
        place = [said[k] for k in ("session", "id", "offset", "stored", "plain", "codec", "digest")]
        place = [bytes.fromhex(x) if isinstance(x, str) else x for x in place]
        data = self.part(META, place, lambda _: place[6])
        root = msgspec.msgpack.decode(data)
        piece_key, self.chunk_key = (
            blake3(root["domain"], derive_key_context=f"drkeeper v1 2026-11 {use}").digest()
            for use in ("piece digest", "chunk id")
        )
        self.piece_digest = lambda part: blake3(part, key=piece_key).digest()
        need(self.piece_digest(data) == place[6], "the snapshot root has another digest")
        return root

    def entries(self, commit):
        """6: every entry of a snapshot with the tables of its piece, in order, checked."""
        last = b""
        for first, count, place in self.root(commit)["pieces"]:
            plain = self.part(META, place, self.piece_digest)
            users, groups, packs, chunks, entries = msgspec.msgpack.decode(plain, strict=False)
            need(len(entries) == count and entries[0][0] == first, "piece is not as its index says")
            for entry in entries:
                path = entry[0]
                bad = b"\0" in path or {b"", b".", b".."} & set(path.split(b"/"))
                need(not bad, f"bad path {path!r}")
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
            need(blake3(chunk, key=self.chunk_key).digest() == identity, f"{name}: wrong chunk")
            need(offset + length <= plain, "extent ends outside its chunk")
            yield chunk[offset : offset + length]


def decode(data, plain, codec):
    if codec == 1:
        data = zstd.ZstdDecompressor().decompress(data, max_length=plain + 1)
    need(codec in (0, 1) and len(data) == plain, "part or chunk has another length than declared")
    return data


def cmd_list(journal, reader):
    for n, commit in journal.commits().items():
        root = reader.root(commit)
        state = "complete" if commit["complete"] else "partial"
        print(n, commit["consistent_at"], state, root["policy"], commit["counts"]["entries"])
    for n, why in journal.void:
        print(f"void entry {n}: {why}", file=sys.stderr)


def cmd_entries(reader, commit):
    last = None
    for entry, _ in reader.entries(commit):
        if entry[0] != last:  # 6: the first of continued entries counts
            print(*entry[1:7], entry[10], entry[11].hex(), ascii(entry[0]), sep="\t")
        last = entry[0]


def cmd_restore(reader, commit, target):
    """Write every entry below a new folder; metadata afterwards, deepest directories first."""
    target.mkdir()
    later, links, out, linked = [], {}, None, None
    for entry, tables in reader.entries(commit):
        path, kind, mode, _uid, _gid, _m, _c, inode, device, nlink = entry[:10]
        extra = entry[13] if len(entry) > 13 else {}
        where = os.path.join(os.fsencode(target), path)
        group = (device, inode)
        if kind == 1:
            os.mkdir(where, 0o700)
        elif nlink > 1 and group in links and out is None:
            if where != linked:  # continued entries follow the first of a linked file, too
                os.link(links[group], where, follow_symlinks=False)
            linked = where
        elif kind == 0:
            out = out or Output(where, entry, extra)
            for block in reader.content(entry, tables):
                out.write(block)
            if extra.get("f", 0) & 128:
                continue
            (entry, extra), out = out.close(), None  # noqa: PLW2901 - the first entry counts
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
        need(self.first[11] in (b"", self.hash.digest()), "a file has another digest")
        return self.first, self.first[13] if len(self.first) > 13 else {}


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
    parser.add_argument("target", nargs="?", type=Path, default="restored")
    args = parser.parse_args()
    try:
        lines = args.identity.read_text(encoding="utf-8").split()
        keys = [identity_from_text(x) for x in lines if x.startswith("AGE-SECRET-KEY-PQ-1")]
        need(keys, f"{args.identity} holds no identity")
        hint = parse_json((args.store / "drkeeper.json").read_bytes())
        said = hint.pop("digest")
        rest = json.dumps(hint, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        need(hint["format"] == 1, "another format")
        need(blake3(rest).hexdigest() == said, "drkeeper.json is damaged")
        journal = Journal(args.store, hint["repository"], args.admin)
        reader = Reader(args.store, journal, keys)
        if args.command == "list":
            return cmd_list(journal, reader)
        commit = journal.commits().get(args.n)
        need(commit, f"no live commit {args.n}")
        if args.command == "entries":
            return cmd_entries(reader, commit)
        return cmd_restore(reader, commit, args.target)
    except (Wrong, OSError, ValueError, KeyError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
