"""Series of stored parts in memory, as a repository keeps them for one host."""

from dataclasses import dataclass, field

from drkeeper.errors import ObjectExistsError, ObjectNotFoundError


@dataclass
class KeptSeries:
    """Keeps entries, and does what a test tells it to between two calls.

    Attributes:
        host: Stands in the names.
        entries: By number.
        before_put: Called once before something is kept.
    """

    host: str = "aa" * 16
    entries: dict[int, bytes] = field(default_factory=dict)
    before_put: object = None

    def name(self, number):
        return f"ledger/{self.host}/{number:012d}"

    def put(self, number, content):
        hook, self.before_put = self.before_put, None
        if hook is not None:
            hook()
        if number in self.entries:
            raise ObjectExistsError(self.name(number))
        self.entries[number] = content

    def get(self, number):
        if number not in self.entries:
            raise ObjectNotFoundError(self.name(number))
        return self.entries[number]

    def numbers(self, *, after=0):
        return sorted(number for number in self.entries if number > after)
