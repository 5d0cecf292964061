"""What a policy promises to keep; applying the promise is the business of ``expire``."""

from dataclasses import dataclass
from datetime import timedelta

from drkeeper.model.quantities import format_duration

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Retention:
    """How many snapshots to keep, by calendar; a snapshot kept by any rule is kept.

    Attributes:
        last: The newest so many.
        within: All younger than this.
        hourly: The newest of each of the last so many hours that have one.
        daily: The same, by day.
        weekly: The same, by ISO week.
        monthly: The same, by month.
        yearly: The same, by year.
        minimum: The newest so many, whatever the rules say.
    """

    last: int = 0
    within: timedelta = timedelta()
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    minimum: int = 1

    @property
    def keeps_all(self) -> bool:
        """Whether there is no rule, so that nothing is ever expired."""
        counts = (self.last, self.hourly, self.daily, self.weekly, self.monthly, self.yearly)
        return not any(counts) and not self.within

    def in_words(self) -> list[str]:
        """Name each rule in a few words; empty means that everything is kept."""
        words = [f"the newest {self.last}"] if self.last else []
        if self.within:
            words.append(f"everything of the last {_span(self.within)}")
        for count, unit in (
            (self.hourly, "hour"),
            (self.daily, "day"),
            (self.weekly, "week"),
            (self.monthly, "month"),
            (self.yearly, "year"),
        ):
            if count:
                plural = "s" if count > 1 else ""
                words.append(f"one an {unit}" if unit == "hour" else f"one a {unit}")
                words[-1] += f" for {count} {unit}{plural}"
        return words


def _span(within: timedelta) -> str:
    if within % _DAY:
        return format_duration(within)
    return f"{within.days} day{'s' if within.days > 1 else ''}"
