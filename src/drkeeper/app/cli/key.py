"""``drkeeper key``: list keys, print the recovery kit's page."""

import sys
from pathlib import Path

import click

from drkeeper.app.cli.commands import group
from drkeeper.app.cli.invocation import this_invocation
from drkeeper.app.cli.output import Output
from drkeeper.app.cli.reaching import Reach, access, reach_options
from drkeeper.app.cli.text import table
from drkeeper.app.config.files import write_new
from drkeeper.app.wiring.kit import Kit, kit_text
from drkeeper.app.wiring.repositories import known_roles, open_for_reading
from drkeeper.repository.keyfile import KeyFile
from drkeeper.repository.keyring import Role

_FILES = ("host.key", "verifier.key", "janitor.key", "recovery.key")
_SHOWN = 24
_PRIVATE = 0o600


@group()
def command() -> None:
    """List keys and print the recovery kit's page."""


@command.command("list")
@reach_options
def list_keys(reach: Reach) -> None:
    """List the keys of a repository: who may sign, who may read, and which are on this machine."""
    called = this_invocation()
    chosen = access(called, reach)
    repository = open_for_reading(chosen, called.state, called.clock, called.passphrase, blind=True)
    keyring = repository.keyring
    rows = [("admin", admin, "", "signs keyrings") for admin in keyring.admins]
    rows += [
        ("signer", signer.key, signer.host or "", ", ".join(sorted(signer.roles)))
        for signer in keyring.signers
    ]
    rows += [
        ("reader", reader.recipient, reader.host or "", str(reader.role))
        for reader in keyring.readers
    ]
    here = known_roles(chosen.settings, _FILES)
    output = called.output
    for kind, key, host, role in rows:
        output.item({"kind": kind, "key": key, "host": host or None, "role": role})
    output.summary(
        {
            "repository": repository.id,
            "keyring": keyring.version,
            "admins": list(keyring.admins),
            "files": here,
        }
    )
    output.say(f"repository {repository.id.hex()}, keyring {keyring.version}")
    shown = [(kind, f"{key[:_SHOWN]}…", role, host) for kind, key, host, role in rows]
    for line in table([("kind", "key", "role", "host"), *shown]):
        output.result(line)
    output.say(f"admin fingerprint: {keyring.admins[0]}")
    output.say(f"in {chosen.settings.keys}: {', '.join(here) or 'no key'}")


@command.command("kit")
@reach_options
@click.option("--output", "target", metavar="FILE", help="Write the page here (0600).")
@click.option("--policy", default="POLICY", help="The policy that the example commands name.")
@click.option("--html", is_flag=True, help="As a page to print, with QR codes.")
def print_kit(reach: Reach, target: str | None, policy: str, *, html: bool) -> None:
    """Print the recovery kit's page again: where the repository is, whom to trust, what to do.

    The recovery key is not on this machine: give it with --identity, from the first kit or from
    where it was made. Without it, the page says all but the key.
    """
    called = this_invocation()
    chosen = access(called, reach)
    repository = open_for_reading(
        chosen, called.state, called.clock, called.passphrase, blind=not chosen.kits
    )
    keys = tuple(key for kit in chosen.kits for key in kit.keys if _belongs_in_kit(key))
    page = kit_text(
        Kit(keys, tuple(repository.keyring.admins), repository.id.hex(), chosen.settings),
        policy_hint=policy,
    )
    if html:
        from drkeeper.app.wiring.kit_page import kit_html  # noqa: PLC0415 - only for paper

        page = kit_html(page, secret=bool(keys))
    written = _deliver(called.output, page, target, secret=bool(keys))
    called.output.summary(
        {
            "repository": repository.id,
            "keys": len(keys),
            "file": written,
            "page": None if keys else page,
        }
    )
    if not keys:
        called.output.note("the recovery key is not on this page: give it with --identity FILE")


def _belongs_in_kit(key: KeyFile) -> bool:
    return key.role in {Role.RECOVERY, Role.ADMIN, Role.JANITOR}


def _deliver(output: Output, page: str, target: str | None, *, secret: bool) -> str | None:
    """Write or show the page; return where it was written to.

    Raises:
        click.UsageError: It holds secrets, and would go where nobody meant it to.
    """
    if target not in {None, "-"}:
        path = Path(str(target)).absolute()
        write_new(path, page.encode(), _PRIVATE)
        output.say(f"wrote {path}")
        return str(path)
    if secret and output.json:
        raise click.UsageError("--json never carries secrets; add --output FILE")
    if secret and target is None and not sys.stdout.isatty():
        raise click.UsageError(
            "the kit would go to a file or pipe; add --output FILE, or - to print it"
        )
    output.result(page.rstrip("\n"))
    return None
