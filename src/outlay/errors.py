"""Every error Outlay raises, in one tree. Each has a stable snake_case `code`.

    OutlayError
    ├── InvalidInput            the caller gave something that cannot be right (also a ValueError)
    ├── Refused                 a rule said no; nothing was written
    │   ├── EventConflict       the id is known with another body
    │   ├── BudgetExceeded      a budget refused the call
    │   └── AccessDenied        a server's key or token does not allow this
    ├── NotFound                no such event, job, rate (also a LookupError)
    │   └── AmbiguousId         more than one event bears the id
    ├── PriceBookError          a price, card or catalogue that cannot be used
    ├── LedgerError             the store cannot do its work
    │   ├── LedgerBusy          others held the file for too long
    │   │   └── Overloaded      a server has more to do than it takes on
    │   ├── LedgerFull          the disk is full
    │   ├── LedgerReadOnly      the file or its folder cannot be written
    │   ├── LedgerCorrupt       the file is not a sound ledger
    │   ├── SchemaTooNew        a newer Outlay wrote this ledger
    │   ├── UnsafeFilesystem    a network filesystem that loses SQLite's locks
    │   ├── OpenedBeforeFork    a connection crossed a fork that Outlay could not see
    │   └── LedgerClosed        the ledger was closed
    └── MissingExtra            an optional part is not installed

A message says what happened and what to do. Prompts, outputs and secrets never appear in one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal


class OutlayError(Exception):
    """Something went wrong in Outlay."""

    code = "outlay_error"

    def __init__(self, message: str | None = None, *, code: str | None = None) -> None:
        """`message` defaults to the first line of the class's docstring, `code` to the class's own."""
        super().__init__(message or (self.__class__.__doc__ or "").split("\n", 1)[0])
        if code is not None:
            self.code = code

    @property
    def message(self) -> str:
        """The sentence that says what happened and what to do."""
        return str(self.args[0])

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by state, so that an error crosses a process boundary whole."""
        return (_rebuild, (self.__class__, self.args, self.__dict__))


def _rebuild(kind: type[OutlayError], args: tuple[object, ...], state: dict[str, object]) -> OutlayError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error


class InvalidInput(OutlayError, ValueError):
    """The input cannot be right; correct it and send it again."""

    code = "invalid_input"

    def __init__(self, message: str | None = None, *, code: str | None = None, field: str | None = None) -> None:
        """`field` names the argument at fault."""
        super().__init__(message, code=code)
        self.field = field


class Refused(OutlayError):
    """A rule refused this; nothing was written."""

    code = "refused"


class EventConflict(Refused):
    """This id is already recorded with another body; use a new id, or `correct` the event."""

    code = "exists_with_different_body"

    def __init__(self, message: str | None = None, *, code: str | None = None, id: str = "", field: str = "") -> None:
        """`field` is the first field, in the fixed order of the canonical form, whose value differs."""
        super().__init__(message, code=code)
        self.id = id
        self.field = field


class BudgetExceeded(Refused):
    """A budget refused this call; nothing was spent.

    `code` is `budget_spent` (never fits in this window), `budget_reserved` (would fit if reservations settle lower),
    `budget_warming` (what was spent before it was made is still counted), `unbounded_usage` or `unpriced_usage`.
    The amounts are Decimals of `unit`: a currency, `calls`, or a meter.
    `opens_at` is an aware datetime, None where waiting for the next window does not help. `others` are the further
    refusals of the same call.
    """

    code = "budget_spent"
    budget: str
    subject: str
    window: str
    unit: str
    spent: Decimal
    reserved: Decimal
    limit: Decimal
    asked: Decimal
    opens_at: datetime | None
    others: tuple[BudgetExceeded, ...]

    def __init__(self, message: str | None = None, *, code: str | None = None, **facts: object) -> None:
        """`facts` are the attributes named above; `outlay.budgets.decide.exceeded` gives them all."""
        super().__init__(message, code=code)
        self.__dict__.update(facts)


class AccessDenied(Refused):
    """The key or token does not allow this; use another one.

    `code` is `key_required`, `unknown_key`, `key_expired`, `key_revoked`, `bad_token`, `wrong_role`, `outside_scope`,
    `foreign_host` or `foreign_origin`.
    """

    code = "access_denied"


class NotFound(OutlayError, LookupError):
    """Nothing by that name is in the ledger."""

    code = "not_found"


class AmbiguousId(NotFound):
    """More than one event bears this id; give its day as well."""

    code = "ambiguous_id"


class PriceBookError(OutlayError, ValueError):
    """A price, card or catalogue cannot be used as it stands."""

    code = "price_book_error"


class LedgerError(OutlayError):
    """The ledger's store cannot do its work."""

    code = "ledger_error"


class LedgerBusy(LedgerError):
    """Others held the ledger for too long; try again."""

    code = "ledger_busy"


class Overloaded(LedgerBusy):
    """The server has more to do than it takes on; try again after a moment. `code` may be `rate_limited`."""

    code = "overloaded"

    def __init__(self, message: str | None = None, *, code: str | None = None, retry_after_s: int = 1) -> None:
        """`retry_after_s` is how many seconds to wait before trying again."""
        super().__init__(message, code=code)
        self.retry_after_s = retry_after_s


class LedgerFull(LedgerError):
    """The disk is full; free space and try again: nothing acknowledged was lost."""

    code = "disk_full"


class LedgerReadOnly(LedgerError):
    """The ledger cannot be written; check the file's and its folder's permissions."""

    code = "read_only"


class LedgerCorrupt(LedgerError):
    """The file is not a sound ledger; restore a backup or run `outlay doctor`."""

    code = "corrupt"


class SchemaTooNew(LedgerError):
    """A newer Outlay wrote this ledger; upgrade this program."""

    code = "schema_too_new"


class UnsafeFilesystem(LedgerError):
    """The ledger lies on a network filesystem, whose locks SQLite cannot trust; use a local disk or PostgreSQL."""

    code = "unsafe_filesystem"


class OpenedBeforeFork(LedgerError):
    """The ledger was open when this process was forked by C code; open it again after the fork."""

    code = "opened_before_fork"


class LedgerClosed(LedgerError):
    """The ledger was closed; open it again."""

    code = "ledger_closed"


class DeliveryFailed(OutlayError):
    """A message could not be delivered; it is tried again."""

    code = "delivery_failed"


class MissingExtra(OutlayError, ImportError):
    """An optional part of Outlay is not installed."""

    code = "missing_extra"
