"""``drkeeper notify``: which channels there are, and whether they work."""

from collections.abc import Callable, Sequence

import click

from drkeeper.app.cli.commands import group
from drkeeper.app.cli.invocation import Invocation, this_invocation
from drkeeper.app.cli.output import safe_lines
from drkeeper.app.cli.text import table
from drkeeper.app.config.configuration import Configuration
from drkeeper.errors import ConfigurationError, DrkeeperError
from drkeeper.model.alarm import Alarm, Subject
from drkeeper.model.channel import Channel, EmailChannel, HeartbeatChannel, WebhookChannel
from drkeeper.model.quantities import format_duration

ADDRESSES_SHOWN = 3


@group()
def command() -> None:
    """List the channels that tell people, and test them."""


@command.command("list")
def list_channels() -> None:
    """List channels: how each is reached, and who is told what.

    Addresses that are secrets are not shown.
    """
    called = this_invocation()
    configuration = called.configuration
    rows = []
    for name in configuration.channels:
        policies = configuration.policies.values()
        users = sorted(policy.name for policy in policies if name in policy.notify)
        others = sorted(policy.name for policy in policies if not policy.notify)
        try:
            channel = configuration.channels[name]
        except ConfigurationError as error:
            called.output.item({"channel": name, "problem": str(error), "hint": error.hint})
            rows.append((name, "-", "-", f"does not work: {error}"))
            continue
        kind, where = _reached(channel)
        if isinstance(channel.kind, HeartbeatChannel) and not channel.kind.is_for_each_policy:
            others = []
        called.output.item(
            {
                "channel": name,
                "kind": kind,
                "to": where,
                "level": channel.level.value,
                "remind_every": channel.remind_every,
                "digest_at": channel.digest_at,
                "details": channel.details,
                "daemon": channel.daemon,
                "policies": sorted(users + others),
            }
        )
        rows.append((name, f"{kind}, {where}", channel.level.value, _told(channel, users, others)))
    called.output.summary({"channels": len(rows)})
    if not rows:
        called.output.say("no channel: nobody is told when something is wrong")
        called.output.say("hint: Add one below notify in drkeeper.yaml, see docs/notifications.md.")
        return
    for line in table([("channel", "to", "level", "told"), *rows]):
        called.output.result(safe_lines(line))


def _reached(channel: Channel) -> tuple[str, str]:
    match channel.kind:
        case HeartbeatChannel():
            return "heartbeat", "a secret address"
        case WebhookChannel(secret=secret):
            return "webhook", "unsigned" if secret is None else "signed"
        case EmailChannel(server=server, port=port, to=to):
            more = f" and {len(to) - ADDRESSES_SHOWN} more" if len(to) > ADDRESSES_SHOWN else ""
            return "email", f"{', '.join(to[:ADDRESSES_SHOWN])}{more} by {server}:{port}"
        case _:
            return "apprise", f"{len(channel.kind.urls)} secret addresses"


def _told(channel: Channel, users: list[str], others: list[str]) -> str:
    about = list(users)
    if others or not users:
        about.append("policies that name no channel")
    if isinstance(channel.kind, HeartbeatChannel):
        if users or channel.kind.is_for_each_policy:
            return f"of the runs of {', '.join(about)}"
        return "that the daemon lives"
    parts = [f"of {', '.join(about)}"]
    if channel.remind_every is not None:
        parts.append(f"again every {format_duration(channel.remind_every)}")
    if channel.digest_at is not None:
        parts.append(f"a digest at {channel.digest_at}")
    return ", ".join(parts)


@command.command("test")
@click.argument("names", metavar="[CHANNEL]...", nargs=-1)
def try_channels(names: tuple[str, ...]) -> int:
    """Send a test message to channels, all of them unless some are named.

    Each is tried once. A heartbeat gets an entry in its log, which changes nothing in its state.
    Ends with 24 when a server did not take the message, and with 13 when a secret is missing.
    """
    called = this_invocation()
    configuration = called.configuration
    chosen = _chosen(names, configuration)
    codes = [_try(called, name) for name in chosen]
    failed = [code for code in codes if code]
    called.output.summary({"channels": len(codes), "failed": len(failed)})
    return failed[0] if failed else 0


def _try(called: Invocation, name: str) -> int:
    """Tell one channel, and say what happened."""
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - only here

    from drkeeper.app.wiring.channels import open_notifier  # noqa: PLC0415 - see the package
    from drkeeper.operations.phrases import Voice  # noqa: PLC0415 - see the package
    from drkeeper.operations.wording import about_test  # noqa: PLC0415 - see the package

    output, configuration = called.output, called.configuration
    zone_name = configuration.zone_name
    voice = Voice(configuration.host, ZoneInfo(zone_name), zone_name)
    began = called.clock.monotonic()
    error: DrkeeperError | None = None
    try:
        notifier = open_notifier(configuration.channels[name], called.clock)
        notifier.send(about_test(name, voice, called.clock.now()))
    except DrkeeperError as failure:
        error = failure
    seconds = called.clock.monotonic() - began
    output.item(
        {
            "channel": name,
            "delivered": error is None,
            "seconds": round(seconds, 3),
            "message": None if error is None else str(error),
            "hint": None if error is None else error.hint,
        }
    )
    if error is None:
        output.result(safe_lines(f"ok    {name}: the test message was taken in {seconds:.1f} s"))
        return 0
    output.result(safe_lines(f"fail  {name}: {error}"))
    if error.hint:
        output.result(safe_lines(f"      hint: {error.hint}"))
    return error.exit_code


@command.command("clear")
@click.argument("subjects", metavar="SUBJECT...", nargs=-1, required=True)
def clear_alarms(subjects: tuple[str, ...]) -> None:
    """Clear the alarms about what no machine looks after any more: policy/shop, daemon/web2.

    An alarm is over when the machine says so that looks after its subject. On a ledger that several
    machines share, nobody can say so when that machine is gone, or its policy was removed while no daemon
    ran: say it yourself. What is configured here is left alone: its alarms end by themselves.
    """
    from drkeeper.app.wiring.ownership import looks_after  # noqa: PLC0415 - see the package
    from drkeeper.app.wiring.runs import ledger_place, open_run_ledger  # noqa: PLC0415 - as above

    called = this_invocation()
    configuration = called.in_force
    ours, place = looks_after(configuration), ledger_place(configuration)
    with open_run_ledger(place, host=configuration.host, clock=called.clock) as ledger:
        meant = _orphans(ledger.open_alarms(), subjects, ours)
        cleared = [ledger.clear_alarm(alarm.id) for alarm in meant]
    for alarm in cleared:
        condition = alarm.condition
        fields = {"alarm": alarm.id, "kind": condition.kind, "subject": str(condition.subject)}
        called.output.item(fields)
        called.output.result(safe_lines(f"cleared {condition.kind} of {condition.subject}"))
    called.output.summary({"cleared": len(cleared)})


def _orphans(
    alarms: Sequence[Alarm], names: Sequence[str], ours: Callable[[Subject], bool]
) -> list[Alarm]:
    """Return the alarms about some subjects.

    Raises:
        ConfigurationError: There is none about one of them, or this machine looks after it.
    """
    known = {str(alarm.condition.subject): alarm.condition.subject for alarm in alarms}
    for name in names:
        if name not in known:
            raise ConfigurationError(
                f"there is no open alarm about {name!r}", hint="Run drkeeper status --json."
            )
        if ours(known[name]):
            raise ConfigurationError(
                f"this machine looks after {name}, and clears its alarms when they are over",
                hint="Run drkeeper status to see what is wrong with it.",
            )
    return [alarm for alarm in alarms if str(alarm.condition.subject) in names]


def _chosen(names: tuple[str, ...], configuration: Configuration) -> tuple[str, ...]:
    """Return the channels that are meant.

    Raises:
        ConfigurationError: One of them is not configured, or none is.
    """
    from drkeeper.app.config.problems import did_you_mean  # noqa: PLC0415 - rare

    known = tuple(configuration.channels)  # asking for a channel itself asks for its secrets
    for name in names:
        if name not in known:
            guess = did_you_mean(name, list(known))
            raise ConfigurationError(
                f"no channel {name!r} in {configuration.locations.settings}{guess}",
                hint="Run drkeeper notify list.",
            )
    if not known:
        raise ConfigurationError(
            f"there is no channel in {configuration.locations.settings}",
            hint="Add one below notify, see docs/notifications.md.",
        )
    return names or known
