"""How long a restore would take today, from how long earlier ones took.

Each phase is taken to be a fixed cost plus a rate times the size of what is restored; phases before the
first byte have no rate. From each earlier drill follows what it would have taken at today's size. The
logarithms of these times spread about evenly, so the interval is theirs: Student's t for one more
value of a normal distribution whose mean and spread are only known from a few. Times are never
negative, and few drills give a wide interval, not a confident one.

Source:
    Prediction interval of a normal distribution with unknown mean and variance: Geisser, "Predictive
    Inference" (1993), section 2.2; quantiles of t: any table.
"""

import math
from collections.abc import Sequence
from datetime import timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Final

import msgspec

from drkeeper.model.drill import Phase

LEAST_HISTORY: Final = 3
"""Fewest drills to predict from. Source: ours; of two, the interval would span a factor of
hundreds."""
MOST_HISTORY: Final = 24
"""How many of the newest drills count. Source: ours; half a year of weekly ones, for machines and
networks change."""
LEAST_SPREAD: Final = 0.02
"""Smallest standard deviation of a logarithm that is believed. Source: ours; equal times of a few
drills do not show that the next one will be equal to 2 %."""

_LONGEST: Final = timedelta(days=3650)
"""Longest time foretold. Source: ours; no restore is waited for that long."""
_MICROSECOND: Final = timedelta(microseconds=1)
_LONGEST_LOG: Final = math.log(_LONGEST / _MICROSECOND)

BY_SIZE: Final = frozenset({Phase.RESTORED, Phase.PROBES_PASSED})
"""Phases that take longer when there is more. Starting an engine does not; replaying a log goes by the
log's length, which the drills' own spread stands for."""

_T_95: Final = (
    *(6.314, 2.920, 2.353, 2.132, 2.015, 1.943, 1.895, 1.860, 1.833, 1.812),
    *(1.796, 1.782, 1.771, 1.761, 1.753, 1.746, 1.740, 1.734, 1.729, 1.725),
    *(1.721, 1.717, 1.714, 1.711, 1.708, 1.706, 1.703, 1.701, 1.699, 1.697),
)
"""95 % quantile of Student's t for 1, 2, 3, ... degrees of freedom: between it and its negative lie
90 %. Source: NIST/SEMATECH e-Handbook of Statistical Methods, section 1.3.6.7.2."""


class Measured(msgspec.Struct, frozen=True):
    """What an earlier drill took.

    Attributes:
        took: Time of each phase up to the last probe.
        plain_bytes: Size of what was restored.
    """

    took: dict[Phase, timedelta]
    plain_bytes: int


class Prediction(msgspec.Struct, frozen=True):
    """How long a restore of a given size takes.

    Attributes:
        plain_bytes: That size.
        low: Nine times of ten it takes from this long
        expected: (as often longer as shorter)
        high: up to this long.
        drills: How many earlier drills it rests on.
    """

    plain_bytes: int
    low: timedelta
    expected: timedelta
    high: timedelta
    drills: int


Cost = tuple[int, int, int]
"""What an earlier drill took, as far as a prediction asks: microseconds whatever its size, microseconds of
the phases in :data:`BY_SIZE`, bytes restored. Plain, for a status looks at 24000 of them."""


def cost_of(measured: Measured) -> Cost:
    """Add up the phases of a drill; tearing down is none of them."""
    fixed = by_size = timedelta()
    for phase, took in measured.took.items():
        if phase in BY_SIZE:
            by_size += took
        elif phase is not Phase.TORN_DOWN:
            fixed += took
    return fixed // _MICROSECOND, by_size // _MICROSECOND, measured.plain_bytes


def cost_at(cost: Cost, plain_bytes: int) -> float:
    """Return the microseconds that a drill would have taken, had there been ``plain_bytes``."""
    fixed_us, by_size_us, had_bytes = cost
    return fixed_us + by_size_us * (plain_bytes / had_bytes if had_bytes > 0 else 1.0)


def at_size(measured: Measured, plain_bytes: int) -> timedelta:
    """Return what a drill would have taken, had there been ``plain_bytes`` to restore."""
    return timedelta(microseconds=cost_at(cost_of(measured), plain_bytes))


def predict(history: Sequence[Measured], plain_bytes: int) -> Prediction | None:
    """Predict the RTO for ``plain_bytes``; ``None`` when there are too few drills to tell.

    Never falls when ``plain_bytes`` grows by itself: see :func:`at_size`.

    Args:
        history: Earlier drills that came to their last probe, newest first.
        plain_bytes: Size of what would be restored today.
    """
    return _predict([cost_of(each) for each in history[:MOST_HISTORY] if each.took], plain_bytes)


def costs_from(spelt: str) -> list[Cost]:
    """Read what drills took, as the ledger spells it: their number, then the figures; newest first."""
    figures = list(map(int, spelt.split()))
    return list(zip(figures[1::4], figures[2::4], figures[3::4], strict=True))


@lru_cache(maxsize=2048)
def predict_spelt(spelt: str, plain_bytes: int) -> Prediction | None:
    """Predict as :func:`predict`, from what the ledger says that drills took.

    A daemon asks again and again, and most policies have no news.
    """
    return _predict(costs_from(spelt), plain_bytes)


def _predict(costs: Sequence[Cost], plain_bytes: int) -> Prediction | None:
    count = len(costs)
    if count < LEAST_HISTORY:
        return None
    middle = math.fsum(_logs(costs, plain_bytes)) / count
    # The spread is that of the drills' own size, so that it is one and the same for every size asked.
    margin = _t(count - 1) * max(_spread(costs), LEAST_SPREAD) * math.sqrt(1 + 1 / count)
    low, expected, high = map(_span, (middle - margin, middle, middle + margin))
    return Prediction(plain_bytes, low, expected, high, count)


def _logs(costs: Sequence[Cost], plain_bytes: int) -> list[float]:
    """Return the logarithms of what each would have taken, in microseconds.

    One at least: what is not measurable has no logarithm. Spelt out, for it is asked 48000 times at once.
    """
    log = math.log
    return [
        log(us) if (us := fixed + by_size * (plain_bytes / had if had else 1.0)) > 1.0 else 0.0
        for fixed, by_size, had in costs
    ]


def _spread(costs: Sequence[Cost]) -> float:
    """Return the standard deviation of the logarithms, each drill taken at the size in their midst."""
    logs = _logs(costs, sorted([had for _, _, had in costs])[len(costs) // 2])
    middle = math.fsum(logs) / len(logs)
    return math.sqrt(math.fsum([(each - middle) ** 2 for each in logs]) / (len(logs) - 1))


def _span(log_us: float) -> timedelta:
    return timedelta(microseconds=math.exp(log_us)) if log_us < _LONGEST_LOG else _LONGEST


def _t(freedom: int) -> float:
    return _T_95[min(freedom, len(_T_95)) - 1]


class Hit(StrEnum):
    """How a prediction did."""

    INSIDE = "inside"
    FASTER = "faster"
    SLOWER = "slower"


class Score(msgspec.Struct, frozen=True):
    """How a drill compares with what was predicted for it.

    Attributes:
        hit: Whether it was within the interval.
        factor: What it took, as a multiple of what was expected.
    """

    hit: Hit
    factor: float


def score(prediction: Prediction, achieved: timedelta) -> Score:
    """Compare a drill with the prediction that was written down before it."""
    if achieved < prediction.low:
        hit = Hit.FASTER
    elif achieved > prediction.high:
        hit = Hit.SLOWER
    else:
        hit = Hit.INSIDE
    expected_s = max(prediction.expected.total_seconds(), 1e-6)
    return Score(hit, achieved.total_seconds() / expected_s)


class Outlook(StrEnum):
    """Whether an RTO can be met today."""

    UNKNOWN = "unknown"
    """Too few drills to tell."""
    WILL_BE_MET = "will-be-met"
    AT_RISK = "at-risk"
    """The target lies within the interval."""
    CANNOT_BE_MET = "cannot-be-met"
    """More often than not it takes longer."""


def outlook(prediction: Prediction | None, target: timedelta) -> Outlook:
    """Say whether a target can be met, before it has to be."""
    if prediction is None:
        return Outlook.UNKNOWN
    if prediction.expected > target:
        return Outlook.CANNOT_BE_MET
    return Outlook.AT_RISK if prediction.high > target else Outlook.WILL_BE_MET
