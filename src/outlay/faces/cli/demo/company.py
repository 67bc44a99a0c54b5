"""The simulated company: its days, customers and people. A pure function of a seed, a start date and a day's index.

Lumen Works does not exist. It sells three products modelled on real ones: Clipmaker makes short videos, Retouch
edits images, Manuals answers questions about machines. Each day draws from its own random numbers, so a day
is the same whichever days are made with it.
"""

from __future__ import annotations

from datetime import date, timedelta
from random import Random
from typing import Any, Final, NamedTuple

import msgspec

from outlay.clock import Instant, date_to_day, isoformat, local_midnight
from outlay.faces.cli.demo.sellers import Seller

SEED: Final = "lumen-works-1"
"""What all random numbers grow from; a new one makes another company."""

DAYS: Final = 90
"""How long the company is watched, unless told otherwise."""

RUNAWAY_DAY: Final = 65
"""The index of the night on which a loop of image generations runs away."""

CONTRACT_DAY: Final = 50
"""The index of the day from which the voice provider's negotiated price holds."""

UNKNOWN_DAYS: Final = range(70, 75)
"""The indexes of the days on which somebody tries a model that no price book knows."""

WEEKEND: Final = 0.45
"""A weekend day's share of a working day's volume."""

GROWTH_A_DAY: Final = 0.009
"""How much busier each day is than the one before: a doubling in some 77 days."""

_HOURS: Final = (1, 1, 1, 1, 1, 2, 3, 6, 10, 13, 14, 13, 10, 12, 14, 14, 12, 9, 7, 6, 5, 4, 3, 2)
"""How likely a piece of work begins in each UTC hour."""

Fields = dict[str, Any]
"""The fields of one event, as `record` takes them."""


class Customer(NamedTuple):
    """Who pays, how large a share of the work is theirs, and who does it there."""

    name: str
    weight: int
    users: tuple[str, ...]


CUSTOMERS: Final = (
    Customer("northwind-media", 30, ("ana", "boris", "chidi")),
    Customer("harbor-schools", 18, ("dara", "emil")),
    Customer("fjord-outdoor", 14, ("freja", "goran")),
    Customer("mango-retail", 12, ("hana", "ivan", "jun")),
    Customer("atlas-tools", 9, ("kofi",)),
    Customer("quiet-press", 5, ("lena",)),
)


class Outcome(NamedTuple):
    """What a job came to, and when."""

    job: str
    units: int
    status: str
    time: str


class Day(msgspec.Struct, frozen=True):
    """One simulated day: its index from the start, its UTC date and first instant."""

    index: int
    date: date
    start: Instant

    def random(self, product: str) -> Random:
        """The day's own random numbers for one product."""
        return Random(f"{SEED}/{product}/{self.index}")

    def volume(self, base: float, random: Random) -> int:
        """How much happens, from a working day's volume at the start: growth, weekends, chance."""
        rhythm = WEEKEND if self.date.weekday() >= 5 else 1.0
        return round(base * (1 + GROWTH_A_DAY) ** self.index * rhythm * random.uniform(0.85, 1.15))

    def name(self, prefix: str, number: int) -> str:
        """An id that no other day gives: `video-012-03`."""
        return f"{prefix}-{self.index:03d}-{number:02d}"


def days_from(start: date, count: int) -> list[Day]:
    """The days of a simulation."""
    dates = [start + timedelta(days=index) for index in range(count)]
    return [Day(index, day, local_midnight(date_to_day(day), "UTC")) for index, day in enumerate(dates)]


def drawn_customer(random: Random) -> Customer:
    """A customer, the larger the likelier."""
    return random.choices(CUSTOMERS, [customer.weight for customer in CUSTOMERS])[0]


def drawn_second(random: Random) -> int:
    """A second of the day at which work begins, mostly in office hours; work that takes minutes ends that day."""
    return random.choices(range(24), _HOURS)[0] * 3600 + random.randrange(2_700)


class Work:
    """Calls made one after another for one piece of work: each begins when the one before has ended."""

    def __init__(self, day: Day, second: int, prefix: str, **attribution: Any) -> None:
        """`attribution` holds for all calls; their ids are `prefix` and a number."""
        self._at = day.start + second * 1_000_000
        self._prefix = prefix
        self._attribution = attribution
        self.events: list[Fields] = []

    def call(self, seller: Seller, operation: str, usage: dict[str, Any], seconds: float, **more: Any) -> None:
        """One call of (provider, service) that takes so many seconds."""
        conditions = {**seller.conditions, **more.pop("conditions", {})}
        self.events.append(
            {
                "id": f"{self._prefix}-{len(self.events):04d}",
                "time": isoformat(self._at),
                "provider": seller.provider,
                "service": seller.service,
                "operation": operation,
                "usage": usage,
                "conditions": conditions,
                "duration_s": f"{seconds:.3f}",
                "environment": "prod",
                **self._attribution,
                **more,
            }
        )
        self._at += int(seconds * 1_000_000)
