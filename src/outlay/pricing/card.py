"""Price files in TOML: Outlay's own cards, and the user's with negotiated prices, discounts and currencies.

    [[service]]
    provider = "aws"
    service = "lambda"
    source = "https://aws.amazon.com/lambda/pricing/"
    date = "2026-11-22"
    rates = [
      { meter = "requests", price = "0.20", per = 1_000_000 },
      { meter = "gb_seconds", price = "0.0000166667", conditions = { region = ["us-east-1", "eu-west-1"] } },
    ]

    [[discount]]
    provider = "openai"
    percent = "20"

    [[exchange]]
    currency = "EUR"
    date = "2026-11-02"
    price = "1.0842"

A list as a condition's value stands for one rate a value. What a rate does not say it takes from its
service. Times are dates (their UTC midnight) or times with a zone. One rate a line, so that a message can
name its line.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from itertools import product
from typing import Any, Final

import msgspec

from outlay.clock import Instant, to_instant
from outlay.errors import InvalidInput, PriceBookError
from outlay.meters import METERS, unknown_meter
from outlay.model import ExchangeRate, Rate
from outlay.money import EXACT, parse_decimal

_HEADER: Final = re.compile(r"^\s*\[\[(\w+)\]\]")
_ROW: Final = re.compile(r"^\s*(?:rates\s*=\s*\[\s*)?\{")
_ISO_CURRENCY: Final = re.compile(r"^[A-Z]{3}$")
_PLACES: Final = 18
_SERVICE_KEYS: Final = frozenset({"provider", "service", "source", "date", "note", "currency", "rates"})
_RATE_KEYS: Final = frozenset(
    {
        "provider",
        "service",
        "meter",
        "price",
        "price_high",
        "per",
        "currency",
        "conditions",
        "context_over",
        "valid_from",
        "valid_to",
        "hours_from",
        "hours_to",
        "minimum",
        "increment",
        "implied",
        "attempts",
        "unless",
        "source",
        "date",
        "note",
    }
)
_DISCOUNT_KEYS: Final = frozenset(
    {"provider", "service", "meter", "percent", "conditions", "valid_from", "valid_to", "source", "note"}
)
_EXCHANGE_KEYS: Final = frozenset({"currency", "date", "price", "source"})
_TABLES: Final = frozenset({"service", "rate", "discount", "exchange"})


class PriceFile(msgspec.Struct, frozen=True):
    """What a price file says: rates (discounts are rates with a `discount` and no list price), exchange rates."""

    rates: tuple[Rate, ...]
    exchange: tuple[ExchangeRate, ...]


def read_price_file(text: str, name: str, recorded_at: Instant = 0) -> PriceFile:
    """The user's file; its rates come before the catalogue's.

    Raises PriceBookError `bad_price_file`, its message naming the file and the line.
    """
    return _Reader(text, name, "user", recorded_at).read()


def read_card(text: str, name: str) -> tuple[Rate, ...]:
    """A card of published prices, for a catalogue: every row has a source and a date.

    Raises PriceBookError `bad_price_file`.
    """
    reader = _Reader(text, name, "catalogue", 0)
    found = reader.read()
    for rate, line in zip(found.rates, reader.rate_lines, strict=True):
        if rate.discount is not None:
            raise reader.error(line, "a card holds prices, not discounts")
        if not rate.source or not rate.source_date:
            raise reader.error(line, "a published price needs its source and the date of it")
    return found.rates


class _Reader:
    """One file on its way into rates; knows the line of what it reads."""

    def __init__(self, text: str, name: str, origin: str, recorded_at: Instant) -> None:
        self._text = text
        self._name = name
        self._origin = origin
        self._recorded_at = recorded_at
        self._headers: dict[str, list[int]] = {}
        self._rows: dict[int, list[int]] = {}
        self.rate_lines: list[int] = []

    def error(self, line: int, message: str) -> PriceBookError:
        """The error for a line of this file."""
        return PriceBookError(f"{self._name}, line {line}: {message}", code="bad_price_file")

    def read(self) -> PriceFile:
        """Everything in the file, in its order by kind: services, single rates, discounts, exchange rates."""
        try:
            tables = tomllib.loads(self._text, parse_float=Decimal)
        except tomllib.TOMLDecodeError as error:
            raise PriceBookError(f"{self._name} is not TOML: {error}", code="bad_price_file") from error
        self._find_lines()
        unknown = sorted(set(tables) - _TABLES - {"card"})
        if unknown:
            raise self.error(1, f"{unknown[0]!r} is none of service, rate, discount, exchange")
        rates = list(self._service_rates(tables))
        for line, table in self._tables(tables, "rate"):
            rates.extend(self._rates(table, {}, line))
        rates.extend(self._discount(table, line) for line, table in self._tables(tables, "discount"))
        exchange = tuple(self._exchange(table, line) for line, table in self._tables(tables, "exchange"))
        return PriceFile(tuple(rates), exchange)

    def _find_lines(self) -> None:
        header = 0
        for number, line in enumerate(self._text.splitlines(), 1):
            found = _HEADER.match(line)
            if found:
                header = number
                self._headers.setdefault(found.group(1), []).append(number)
            elif _ROW.match(line):
                self._rows.setdefault(header, []).append(number)

    def _tables(self, tables: Mapping[str, Any], kind: str) -> Iterator[tuple[int, dict[str, Any]]]:
        found = tables.get(kind, [])
        if not isinstance(found, list) or not all(isinstance(table, dict) for table in found):
            raise self.error(1, f"write [[{kind}]] with two brackets, once for each")
        lines = self._headers.get(kind, [])
        for index, table in enumerate(found):
            yield lines[index] if index < len(lines) else 1, table

    def _service_rates(self, tables: Mapping[str, Any]) -> Iterator[Rate]:
        for line, table in self._tables(tables, "service"):
            self._only(table, _SERVICE_KEYS, line)
            rows = table.get("rates")
            if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
                raise self.error(line, "a service has rates = [ { meter = …, price = … }, … ]")
            inherited = {key: value for key, value in table.items() if key != "rates"}
            row_lines = self._rows.get(line, [])
            for index, row in enumerate(rows):
                row_line = row_lines[index] if len(row_lines) == len(rows) else line
                yield from self._rates(row, inherited, row_line)

    def _only(self, table: Mapping[str, Any], known: frozenset[str], line: int) -> None:
        unknown = sorted(set(table) - known)
        if unknown:
            raise self.error(line, f"{unknown[0]!r} is not known here; known are {', '.join(sorted(known))}")

    def _rates(self, row: Mapping[str, Any], inherited: Mapping[str, Any], line: int) -> Iterator[Rate]:
        self._only(row, _RATE_KEYS, line)
        table = {**inherited, **row}
        rate = self._rate(table, line)
        for conditions in self._conditions(table, line):
            self.rate_lines.append(line)
            yield msgspec.structs.replace(rate, conditions=conditions)

    def _rate(self, table: Mapping[str, Any], line: int) -> Rate:
        meter = self._text_of(table, "meter", line)
        if meter not in METERS:
            raise self.error(line, unknown_meter(meter).message)
        hours_from, hours_to = self._second(table, "hours_from", line), self._second(table, "hours_to", line)
        if (hours_from is None) != (hours_to is None):
            raise self.error(line, "hours_from and hours_to come together")
        unless = table.get("unless", [])
        if not isinstance(unless, list) or not all(each in METERS for each in unless):
            raise self.error(line, "unless is a list of meters")
        price = self._number(table, "price", line)
        high = self._number(table, "price_high", line, None)
        if high is not None and high <= price:
            raise self.error(line, f"price_high {high} must be above price {price}")
        valid_from, valid_to = self._span(table, line)
        return Rate(
            provider=self._text_of(table, "provider", line).strip().lower(),
            service=self._text_of(table, "service", line).strip(),
            meter=meter,
            price=price,
            per=self._whole(table, "per", line, 1),
            currency=self._currency(table, line),
            context_over=self._whole(table, "context_over", line, 0),
            valid_from=valid_from,
            valid_to=valid_to,
            hours_from=hours_from,
            hours_to=hours_to,
            minimum=self._number(table, "minimum", line, None, above_zero=True),
            increment=self._number(table, "increment", line, None, above_zero=True),
            price_high=high,
            implied=self._flag(table, "implied", line),
            attempts=self._flag(table, "attempts", line),
            unless=tuple(unless),
            origin=self._origin,
            source=self._text_of(table, "source", line, "") or self._default_source(),
            source_date=self._date(table, "date", line),
            note=self._text_of(table, "note", line, ""),
            recorded_at=self._recorded_at,
        )

    def _discount(self, table: Mapping[str, Any], line: int) -> Rate:
        self._only(table, _DISCOUNT_KEYS, line)
        percent = self._number(table, "percent", line)
        if not 0 < percent <= 100:
            raise self.error(line, f"percent is {percent}; a discount is above 0 and at most 100")
        meter = self._text_of(table, "meter", line, "*")
        if meter != "*" and meter not in METERS:
            raise self.error(line, unknown_meter(meter).message)
        conditions = list(self._conditions(table, line))
        if len(conditions) != 1:
            raise self.error(line, "a condition of a discount has one value; write one discount for each")
        valid_from, valid_to = self._span(table, line)
        self.rate_lines.append(line)
        return Rate(
            provider=self._text_of(table, "provider", line).strip().lower(),
            service=self._text_of(table, "service", line, "*").strip(),
            meter=meter,
            price=Decimal(0),
            per=1,
            conditions=conditions[0],
            valid_from=valid_from,
            valid_to=valid_to,
            discount=EXACT.divide(EXACT.subtract(Decimal(100), percent), Decimal(100)),
            origin=self._origin,
            source=self._text_of(table, "source", line, "") or self._default_source(),
            note=self._text_of(table, "note", line, ""),
            recorded_at=self._recorded_at,
        )

    def _exchange(self, table: Mapping[str, Any], line: int) -> ExchangeRate:
        self._only(table, _EXCHANGE_KEYS, line)
        price = self._number(table, "price", line, above_zero=True)
        on = self._date(table, "date", line)
        if "currency" not in table or not on:
            raise self.error(line, "an exchange rate needs its currency and its date")
        source = self._text_of(table, "source", line, "") or self._default_source()
        return ExchangeRate(currency=self._currency(table, line), price=price, date=on, source=source)

    def _default_source(self) -> str:
        return self._name if self._origin == "user" else ""

    def _text_of(self, table: Mapping[str, Any], key: str, line: int, default: str | None = None) -> str:
        value = table.get(key, default)
        if not isinstance(value, str) or (default is None and not value.strip()):
            raise self.error(line, f"{key} is missing or not text")
        return value

    def _number(
        self, table: Mapping[str, Any], key: str, line: int, *default: Decimal | None, above_zero: bool = False
    ) -> Any:
        value = table.get(key)
        if value is None and default:
            return default[0]
        if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
            raise self.error(line, f'{key} is missing or no number; write it like "0.25"')
        try:
            number = parse_decimal(str(value), key)
        except InvalidInput as error:
            raise self.error(line, error.message) from error
        if number < 0 or (above_zero and number == 0):
            raise self.error(line, f"{key} is {number}; it must {'be above 0' if above_zero else 'not be negative'}")
        exponent = number.normalize(EXACT).as_tuple().exponent
        if isinstance(exponent, int) and -exponent > _PLACES:
            raise self.error(line, f"{key} has more than {_PLACES} decimals")
        return number

    def _whole(self, table: Mapping[str, Any], key: str, line: int, default: int) -> int:
        value = table.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < default:
            raise self.error(line, f"{key} must be a whole number of at least {default}")
        return value

    def _flag(self, table: Mapping[str, Any], key: str, line: int) -> bool:
        value = table.get(key, False)
        if not isinstance(value, bool):
            raise self.error(line, f"{key} is true or false")
        return value

    def _currency(self, table: Mapping[str, Any], line: int) -> str:
        value = self._text_of(table, "currency", line, "USD")
        if not _ISO_CURRENCY.match(value):
            raise self.error(line, f"currency {value!r} is not a code such as EUR")
        return value

    def _conditions(self, table: Mapping[str, Any], line: int) -> Iterator[dict[str, str]]:
        given = table.get("conditions", {})
        if not isinstance(given, dict):
            raise self.error(line, 'conditions are { key = "value" }')
        choices = [(key, value if isinstance(value, list) else [value]) for key, value in given.items()]
        if not all(isinstance(each, str) and each for _, values in choices for each in values):
            raise self.error(line, 'conditions are { key = "value" } or { key = ["one", "other"] }')
        for values in product(*(values for _, values in choices)):
            yield dict(zip((key for key, _ in choices), values, strict=True))

    def _span(self, table: Mapping[str, Any], line: int) -> tuple[Instant | None, Instant | None]:
        start, end = self._moment(table, "valid_from", line), self._moment(table, "valid_to", line)
        if start is not None and end is not None and end <= start:
            raise self.error(
                line, "valid_to must be after valid_from; it is the first moment that is no longer covered"
            )
        return start, end

    def _moment(self, table: Mapping[str, Any], key: str, line: int) -> Instant | None:
        value = table.get(key)
        if value is None:
            return None
        if isinstance(value, str):
            try:
                value = date.fromisoformat(value) if len(value) == 10 else datetime.fromisoformat(value)
            except ValueError as error:
                raise self.error(line, f"{key} {value!r} is neither a date nor a time") from error
        if isinstance(value, datetime):
            if value.tzinfo is None:
                raise self.error(line, f"{key} has no zone; write 2026-11-22T10:00:00Z or only the date")
            return to_instant(value)
        if isinstance(value, date):
            return to_instant(datetime.combine(value, time(), tzinfo=UTC))
        raise self.error(line, f"{key} is neither a date nor a time")

    def _second(self, table: Mapping[str, Any], key: str, line: int) -> int | None:
        value = table.get(key)
        if value is None:
            return None
        if isinstance(value, str):
            try:
                value = time.fromisoformat(value)
            except ValueError as error:
                raise self.error(line, f"{key} {value!r} is no time of day such as 16:30") from error
        if not isinstance(value, time) or value.tzinfo is not None:
            raise self.error(line, f"{key} is a UTC time of day such as 16:30")
        return (value.hour * 60 + value.minute) * 60 + value.second

    def _date(self, table: Mapping[str, Any], key: str, line: int) -> str:
        value = table.get(key, "")
        try:
            return value.isoformat() if isinstance(value, date) else str(value and date.fromisoformat(value))
        except (TypeError, ValueError) as error:
            raise self.error(line, f"{key} {value!r} is no date such as 2026-11-22") from error


def check_price_jump(new: Rate, old: Rate | None, *, force: bool = False) -> None:
    """Catch a price typed in the wrong unit: more than ten times away from the one in force.

    `old` is the rate in force for the same meter and conditions (see `check.rate_in_force`). Without one, or
    with a free one, a token dearer than a cent is caught. Raises PriceBookError `suspicious_price` unless forced.
    """
    if force or new.discount is not None or not new.price:
        return
    unit = METERS[new.meter].unit
    price = _each(new)
    shown = f"{new.meter} of {new.service} at {new.price:f} {new.currency} per {new.per:,}"
    if old is not None and old.price and old.currency == new.currency:
        ratio = EXACT.divide(price, _each(old))
        if Decimal("0.1") <= ratio <= 10:
            return
        times = f"{_whole(ratio)} times" if ratio > 1 else f"1/{_whole(EXACT.divide(1, ratio))} of"
        hint = f"; was it meant per {1_000_000:,}?" if unit == "token" and new.per == 1 and ratio > 1 else ""
        raise PriceBookError(
            f"{shown} is {times} the price in force, {old.price:f} per {old.per:,}{hint}; add force to keep it",
            code="suspicious_price",
        )
    if unit == "token" and price > Decimal("0.01"):
        raise PriceBookError(
            f"{shown} makes one token cost {price:f}; was it meant per 1,000,000? Add force to keep it",
            code="suspicious_price",
        )


def _whole(number: Decimal) -> Decimal:
    return number.quantize(Decimal(1), context=EXACT)


def _each(rate: Rate) -> Decimal:
    return EXACT.divide(rate.price, Decimal(rate.per))
