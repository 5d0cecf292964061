"""Who is told what: decided from alarms and from what was told."""

import dataclasses
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings, strategies as st
from msgspec.structs import replace

from drkeeper.model.alarm import LEVELS, Alarm, AlarmKind, Condition, Level, Subject
from drkeeper.model.channel import Channel, EmailChannel, HeartbeatChannel, WebhookChannel
from drkeeper.model.notification import Notification
from drkeeper.model.status import Overview, Points, PolicyState, PolicyStatus, RepositoryStatus
from drkeeper.notify.base import Occasion
from drkeeper.operations.notifying import (
    CLAIM,
    CLEARED,
    DIGEST,
    FIRST_PAUSE,
    GATHERED,
    LONGEST_PAUSE,
    RAISED,
    REMINDER,
    SENDING,
    Audience,
    Audiences,
    Situation,
    due,
)

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
SHOP = Subject("policy", "shop")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
OPS = Channel("ops", WebhookChannel("https://example.org/"))


def alarm(
    number=1, kind=AlarmKind.OVERDUE, subject=SHOP, *, raised_at=NOW, cleared_at=None, **words
):
    said = f"{subject.kind} {subject.name}: a run was due at 12:00"
    words = {"message": said, "hint": "Run drkeeper backup shop."} | words
    condition = Condition(kind, subject, words["message"], words["hint"], raised_at - HOUR)
    return Alarm(number, condition, raised_at, cleared_at, number)


def said(what, *, sent_at=NOW, delivered=True, detail="", event=9):
    return Notification(
        channel="ops",
        what=what,
        delivered=delivered,
        sent_at=sent_at,
        alarm=1,
        detail=detail,
        event=event,
    )


def audiences(*names, **policies):
    everything = Audience(frozenset(names or ["ops"]), BERLIN, "Europe/Berlin")
    policies = policies or {"shop": everything.channels}
    return Audiences(
        everything,
        {
            name: dataclasses.replace(everything, channels=frozenset(told))
            for name, told in policies.items()
        },
        {"primary": everything},
    )


def owed(channels, alarms, told=None, *, now=NOW, who=None, **rest):
    empty = Overview(host="web1", at=now, daemon_alive=True)
    situation = Situation(
        overview=rest.get("overview") or empty,
        alarms=alarms,
        told=told or {},
        audiences=who or audiences(),
        since=rest.get("since", NOW - 9 * DAY),
    )
    return due(channels, situation)


def words(deliveries):
    return [(each.channel, item.what) for each in deliveries for item in each.items]


def one(*arguments, **options):
    (delivery,) = owed(*arguments, **options)
    return delivery


def test_an_alarm_is_told_when_it_is_raised():
    """Once, with what the ledger must find unchanged for it to be told."""
    delivery = one([OPS], [alarm()])
    assert delivery.message.occasion is Occasion.ENTERED
    assert delivery.items[0].after == 0
    assert not owed([OPS], [alarm()], {("ops", 1): said(RAISED)}, now=NOW + 23 * HOUR)


def test_and_again_every_day_while_it_holds():
    """As often as the channel wants, counted from what was last delivered."""
    told = {("ops", 1): said(RAISED)}
    delivery = one([OPS], [alarm()], told, now=NOW + DAY)
    assert delivery.message.occasion is Occasion.REMINDER
    assert delivery.message.thread == one([OPS], [alarm()]).message.id
    assert delivery.items[0].after == 9
    told = {("ops", 1): said(REMINDER, sent_at=NOW + DAY)}
    assert not owed([OPS], [alarm()], told, now=NOW + 2 * DAY - HOUR)
    weekly = replace(OPS, remind_every=7 * DAY)
    assert not owed([weekly], [alarm()], told, now=NOW + 7 * DAY)
    never = replace(OPS, remind_every=None)
    assert not owed([never], [alarm()], told, now=NOW + 700 * DAY)


def test_and_once_when_it_is_over():
    """In the thread of the first message, and never again."""
    over = alarm(cleared_at=NOW + HOUR)
    delivery = one([OPS], [over], {("ops", 1): said(RAISED)}, now=NOW + HOUR)
    assert delivery.message.occasion is Occasion.LEFT
    assert delivery.message.level is Level.INFO
    assert delivery.message.thread == one([OPS], [alarm()]).message.id
    assert not owed([OPS], [over], {("ops", 1): said(CLEARED)}, now=NOW + 9 * DAY)


def test_what_was_over_before_anybody_knew_is_not_told():
    """A new channel is not told of the past."""
    assert not owed([OPS], [alarm(cleared_at=NOW)])


def test_what_could_not_be_told_is_told_late_even_if_it_is_over():
    """An alarm that came and went while the channel was down is news all the same."""
    told = {("ops", 1): said(RAISED, delivered=False, detail="no answer")}
    delivery = one([OPS], [alarm(cleared_at=NOW)], told)
    assert words([delivery]) == [("ops", CLEARED)]
    assert "Since:" in delivery.message.text


@pytest.mark.parametrize("what", [RAISED, REMINDER, CLEARED])
def test_what_failed_is_due_again_after_a_growing_pause(what):
    """Ten minutes at first, then half as long as it has been due, six hours at most."""
    cleared_at = NOW if what == CLEARED else None
    for tried_after, pause in [
        (timedelta(), FIRST_PAUSE),
        (HOUR, HOUR / 2),
        (4 * HOUR, 2 * HOUR),
        (99 * HOUR, LONGEST_PAUSE),
    ]:
        tried = NOW + tried_after
        told = {("ops", 1): said(what, sent_at=tried, delivered=False, detail="no answer")}
        ours = [alarm(cleared_at=cleared_at)]
        assert not owed([OPS], ours, told, now=tried + pause - timedelta(seconds=1))
        assert words(owed([OPS], ours, told, now=tried + pause)) == [("ops", what)]


@pytest.mark.parametrize("what", [RAISED, REMINDER, CLEARED])
def test_what_somebody_is_telling_is_left_to_him_for_a_while(what):
    """A claim counts for minutes: then he has died, and nobody knows whether he told it."""
    told = {("ops", 1): said(what, delivered=False, detail=SENDING)}
    ours = [alarm(cleared_at=NOW if what == CLEARED else None)]
    assert not owed([OPS], ours, told, now=NOW + CLAIM - timedelta(seconds=1))
    assert words(owed([OPS], ours, told, now=NOW + CLAIM)) == [("ops", what)]


def test_an_alarm_that_ends_while_it_is_being_told_waits_for_that():
    """The all-clear does not overtake the alarm."""
    told = {("ops", 1): said(RAISED, delivered=False, detail=SENDING)}
    assert not owed([OPS], [alarm(cleared_at=NOW)], told)


def test_a_clock_that_was_set_back_silences_nobody():
    """What was told "in ten years" is due again, not in ten years and a day."""
    told = {("ops", 1): said(RAISED, sent_at=NOW + 3650 * DAY)}
    assert words(owed([OPS], [alarm()], told)) == [("ops", REMINDER)]
    told = {("ops", 1): said(RAISED, sent_at=NOW + 3650 * DAY, delivered=False, detail="x")}
    assert words(owed([OPS], [alarm()], told)) == [("ops", RAISED)]


@pytest.mark.parametrize("kind", list(AlarmKind))
@pytest.mark.parametrize("level", list(Level))
def test_a_channel_hears_nothing_below_its_level(kind, level):
    """Each kind is as urgent as the table says."""
    found = owed([replace(OPS, level=level)], [alarm(kind=kind)])
    assert bool(found) is (LEVELS[kind].rank >= level.rank)


def test_only_those_a_policy_names_are_told_of_it():
    """And both hear of the repository and the daemon."""
    night = replace(OPS, name="night")
    who = audiences("ops", "night", shop=["night"], home=["ops"])
    told = words(owed([OPS, night], [alarm()], who=who))
    assert told == [("night", RAISED)]
    for subject in (Subject("repository", "primary"), Subject("daemon", "web1")):
        told = words(owed([OPS, night], [alarm(subject=subject)], who=who))
        assert told == [("ops", RAISED), ("night", RAISED)]


def test_a_channel_never_hears_of_its_own_failure():
    """The others do."""
    night = replace(OPS, name="night")
    broken = alarm(kind=AlarmKind.NOTIFIER_FAILING, subject=Subject("channel", "ops"))
    assert words(owed([OPS, night], [broken], who=audiences("ops", "night"))) == [("night", RAISED)]
    assert not owed([OPS], [broken])


def test_policies_of_other_machines_are_theirs_to_tell():
    """On a shared ledger, each tells what it knows; what it told it also ends."""
    other = alarm(subject=Subject("policy", "elsewhere"))
    assert not owed([OPS], [other])
    over = replace(other, cleared_at=NOW)
    assert words(owed([OPS], [over], {("ops", 1): said(RAISED)})) == [("ops", CLEARED)]


def test_heartbeats_hear_of_runs_alone():
    """They know no alarms."""
    beat = replace(OPS, kind=HeartbeatChannel("https://example.org/"), digest_at="08:00")
    assert not owed([beat], [alarm()])


def test_many_at_once_become_one_message():
    """A store that is down must not send a hundred mails; each alarm is remembered all the same."""
    few = [alarm(n) for n in range(1, GATHERED + 1)]
    assert len(owed([OPS], few)) == GATHERED
    many = [alarm(n, subject=Subject("policy", f"p{n}")) for n in range(1, 1001)]
    who = audiences(**{f"p{n}": ["ops"] for n in range(1, 1001)})
    delivery = one([OPS], many, who=who)
    assert [item.alarm for item in delivery.items] == list(range(1, 1001))
    assert "1000 alarms" in delivery.message.title
    assert "policy p1: overdue" in delivery.message.text
    assert "more" in delivery.message.text
    assert len(delivery.message.text) < 20_000


def test_many_that_are_over_are_no_alarm():
    """The one message says so in its title, and asks for nothing; a mixed one counts them."""
    ended = [alarm(n, cleared_at=NOW) for n in range(1, GATHERED + 2)]
    told = {("ops", each.id): said(RAISED) for each in ended}
    message = one([OPS], ended, told).message
    assert message.title == "[drkeeper web1] 6 alarms are over"
    assert message.text.endswith("\nNothing needs to be done.\n")
    assert not message.hint
    mixed = one([OPS], [*ended, alarm(9)], told).message
    assert mixed.title == "[drkeeper web1] 7 alarms, 6 of them over"
    assert "What to do: Run drkeeper status on web1." in mixed.text


@pytest.mark.parametrize(
    ("kind", "subject", "told"),
    [
        (AlarmKind.FAILING, "repository", "Repository x: its newest check found damage."),
        (AlarmKind.FAILING, "policy", "Policy x: the newest run failed."),
        (AlarmKind.CONFIGURATION_INVALID, "setting", "Setting x: what it names cannot be used."),
    ],
)
def test_plain_words_are_true_of_their_subject(kind, subject, told):
    """Damage in a repository is not called a run that failed."""
    who = audiences(x=["ops"])
    who = dataclasses.replace(who, repositories={"x": who.everything})
    message = one([OPS], [alarm(kind=kind, subject=Subject(subject, "x"))], who=who).message
    assert message.text.startswith(f"{told}\n")


def test_every_message_names_policy_times_and_what_to_do():
    """In the policy's zone and in UTC, with a command."""
    texts = [
        one([OPS], [alarm()]).message.text,
        one([OPS], [alarm()], {("ops", 1): said(RAISED)}, now=NOW + DAY).message.text,
    ]
    for text in texts:
        assert text.startswith("Policy shop: a run was due at 12:00.\n")
        assert "2026-11-20 12:00:00 CET (2026-11-20T11:00:00Z)" in text
        assert "What to do: Run drkeeper backup shop." in text
        assert "web1" in text
    over = one([OPS], [alarm(cleared_at=NOW)], {("ops", 1): said(RAISED)}).message
    assert "Over:    2026-11-20 13:00:00 CET (2026-11-20T12:00:00Z)" in over.text
    assert over.title == "[drkeeper web1] over: policy shop: overdue"


def test_trouble_of_a_repository_names_the_policies_that_use_it():
    """Who reads it knows what is at stake."""
    who = audiences()
    primary = dataclasses.replace(who.everything, affects=tuple(f"p{n:02}" for n in range(25)))
    who = dataclasses.replace(who, repositories={"primary": primary})
    ours = alarm(kind=AlarmKind.STORAGE_UNREACHABLE, subject=Subject("repository", "primary"))
    told = one([OPS], [ours], who=who).message
    assert "Affects: policies p00, p01," in told.text
    assert "p19 and 5 more\n" in told.text
    assert len(told.facts["affects"]) == 25


@pytest.mark.parametrize(
    "kind", [AlarmKind.FAILING, AlarmKind.WARNINGS, AlarmKind.STORAGE_UNREACHABLE, AlarmKind.EMPTY]
)
def test_words_from_outside_are_for_those_who_asked_for_details(kind):
    """Errors may name files; only a channel with details repeats them."""
    secret = "cannot read /home/anna/divorce.odt"
    ours = alarm(kind=kind, message=secret, hint="Look at /home/anna.")
    quiet = one([OPS], [ours]).message
    assert "anna" not in f"{quiet}"
    assert "What to do: Run drkeeper status on web1" in quiet.text
    loud = one([replace(OPS, details=True)], [ours]).message
    assert secret in loud.text
    assert "Look at /home/anna." in loud.text


def test_messages_have_the_same_id_however_often_they_are_made():
    """Who tells it again after a crash tells the same message, and receivers can drop it."""
    first, second = (one([OPS], [alarm()], now=NOW + n * HOUR).message.id for n in range(2))
    assert first == second
    other = one([OPS], [alarm(2)]).message.id
    over = one([OPS], [alarm(cleared_at=NOW)], {("ops", 1): said(RAISED)}).message.id
    days = [
        one([OPS], [alarm()], {("ops", 1): said(REMINDER)}, now=NOW + n * DAY).message.id
        for n in range(1, 4)
    ]
    assert len({first, other, over, *days}) == 6


def digests(now, last=None, *, since=NOW - 9 * DAY, overview=None, **fields):
    channel = replace(OPS, **({"digest_at": "08:00"} | fields))
    told = {} if last is None else {("ops of web1", None): replace(last, alarm=None)}
    return owed([channel], [], told, now=now, since=since, overview=overview)


def berlin(day, hour, minute=0, month=11):
    return datetime(2026, month, day, hour, minute, tzinfo=BERLIN).astimezone(UTC)


def test_a_digest_comes_at_its_time_of_day():
    """In the zone of the configuration; once a day."""
    since = berlin(19, 15)
    assert not digests(berlin(20, 7, 59), since=since)
    assert words(digests(berlin(20, 8), since=since)) == [("ops", DIGEST)]
    sent = said(DIGEST, sent_at=berlin(20, 8))
    assert not digests(berlin(21, 7, 59), sent)
    assert digests(berlin(21, 8), sent)


def test_a_digest_that_was_missed_is_made_up_once():
    """After a weekend without the daemon comes one, not three."""
    sent = said(DIGEST, sent_at=berlin(17, 8))
    assert len(digests(berlin(20, 15), sent)) == 1
    assert not digests(berlin(20, 15), said(DIGEST, sent_at=berlin(20, 15)))


def test_a_digest_that_failed_is_tried_again():
    """After a pause, not at every look."""
    failed = said(DIGEST, sent_at=berlin(20, 8), delivered=False, detail="no answer")
    assert not digests(berlin(20, 8, 9), failed)
    assert digests(berlin(20, 8, 10), failed)
    claimed = replace(failed, detail=SENDING)
    assert not digests(berlin(20, 8, 4), claimed)
    assert digests(berlin(20, 8, 5), claimed)


def test_digests_come_once_a_day_when_clocks_are_changed():
    """Also at a time that comes twice, or never, on such a day."""
    for month, day in ((3, 29), (10, 25)):
        last, count = said(DIGEST, sent_at=berlin(day - 1, 2, 30, month)), 0
        now = berlin(day - 1, 3, 0, month)
        while now < berlin(day, 12, 0, month):
            if digests(now, last, digest_at="02:30"):
                last, count = said(DIGEST, sent_at=now), count + 1
            now += timedelta(minutes=5)
        assert count == 1


def test_a_digest_says_how_all_policies_stand():
    """The bad ones first, each with its times in its own zone."""
    good = PolicyStatus(
        policy="home", source_kind="files", repository="r", zone_name="UTC", state=PolicyState.OK,
        why="waiting", next_due=NOW,
    )  # fmt: skip
    wrong = alarm().condition
    bad = replace(
        good, policy="shop", zone_name="Asia/Tokyo", state=PolicyState.VIOLATED,
        conditions=(wrong,), rpo_target=HOUR, points=Points(durable=NOW - 3 * HOUR),
    )  # fmt: skip
    store = alarm(2, AlarmKind.STORAGE_UNREACHABLE, Subject("repository", "primary"))
    overview = Overview(
        host="web1", at=NOW, daemon_alive=True, policies=(good, bad), alarms=(alarm(), store),
        repositories=(RepositoryStatus(name="primary", store="/srv"),),
    )  # fmt: skip
    (delivery,) = digests(NOW, overview=overview)
    assert delivery.message.text == (
        "web1, 2026-11-20 13:00:00 CET (2026-11-20T12:00:00Z): 1 of 2 policies are well.\n"
        "\n"
        "Policy shop: violated, last success never, next run 2026-11-20 21:00:00 JST, "
        "newest data 3 h old, RPO 1 h\n"
        "  failure, overdue: a run was due at 12:00.\n"
        "  Run drkeeper backup shop.\n"
        "Policy home: ok, last success never, next run 2026-11-20 12:00:00 UTC, "
        "nothing to restore yet\n"
        "\n"
        "Also wrong:\n"
        "Repository primary\n"
        "  failure, storage unreachable: the store does not answer, or refuses us.\n"
        "  Run drkeeper status on web1 to see why.\n"
        "\n"
        "What to do: Run drkeeper status on web1.\n"
    )
    assert "1 of 2 policies are well" in delivery.message.title


LOOKS = st.lists(
    st.tuples(
        st.booleans(),  # the condition holds
        st.booleans(),  # the receiver works
        st.booleans(),  # the daemon dies between telling and recording
        st.integers(min_value=1, max_value=2000),  # minutes to the next look
    ),
    max_size=40,
)


@settings(max_examples=300, deadline=None)
@given(looks=LOOKS)
def test_in_any_history_each_state_is_told_once(looks):
    """Raised before cleared, neither twice but after a crash, and in the end all is told."""
    now, number, current, event = NOW, 0, None, 0
    alarms, told, heard = {}, {}, []
    crashes = set()
    looks = [*looks, *[(False, True, False, 600)] * 4]
    for holds, works, dies, minutes in looks:
        now += timedelta(minutes=minutes)
        if holds and current is None:
            number += 1
            current = number
            alarms[current] = alarm(current, raised_at=now)
        elif not holds and current is not None:
            alarms[current] = replace(alarms[current], cleared_at=now)
            current = None
        for delivery in owed([OPS], list(alarms.values()), told, now=now):
            for item in delivery.items:
                event += 1
                key = ("ops", item.alarm)
                claim = said(item.what, sent_at=now, delivered=False, detail=SENDING, event=event)
                told[key] = replace(claim, alarm=item.alarm)
                if works:
                    heard.append((item.alarm, item.what))
                if dies:
                    crashes.add(item.alarm)
                else:
                    told[key] = replace(told[key], delivered=works, detail="" if works else "no")
    for each in alarms:
        mine = [what for told_alarm, what in heard if told_alarm == each]
        assert mine[-1:] == [CLEARED], (each, mine)
        if each not in crashes:
            assert mine.count(CLEARED) == 1
            assert mine.count(RAISED) <= 1
            assert RAISED not in mine[1:]


def test_mail_channels_are_told_like_others():
    """Deciding knows no kinds but heartbeats."""
    mail = replace(OPS, kind=EmailChannel("h", 25, "none", "a@b", ("c@d",)))
    assert words(owed([mail], [alarm()])) == [("ops", RAISED)]
