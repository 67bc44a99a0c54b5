"""What budgets are made of: the budget as told, a call's worst case, and what was found about both.

The values that a store takes (AccountKey, Limit, Account, Refusal, Mark) are in `outlay.model`. Amounts are ints of
10⁻¹² of the unit that a limit counts: of the currency, of one call, of one unit of a meter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from enum import StrEnum

import msgspec

from outlay.clock import Instant, Window, WindowName
from outlay.model import AccountKey, BoundKind, BudgetAction, Mark, Quantity, Refusal


class UnboundedPolicy(StrEnum):
    """What a budget does about a call with a part that has no bound; `context_window` takes the model's window."""

    REFUSE = "refuse"
    CONTEXT_WINDOW = "context_window"
    ALLOW = "allow"


class UnpricedPolicy(StrEnum):
    """What a budget in money does about a call without a price; `assume` takes the budget's `assumed` amount."""

    REFUSE = "refuse"
    ASSUME = "assume"
    ALLOW = "allow"


class WindowLimit(msgspec.Struct, frozen=True):
    """At most `amount` in each such calendar window."""

    window: WindowName
    amount: int


class Tier(msgspec.Struct, frozen=True):
    """The limits of the subjects of one tier; a budget without tiers has one, named ""."""

    name: str
    limits: tuple[WindowLimit, ...]


class Choice(msgspec.Struct, frozen=True):
    """One service of a list from dear to cheap: to be taken with at least `room` (or, `above`, with more than that)
    left in money, and only for a call whose traits include `when`.
    """

    service: str
    room: int = 0
    above: bool = False
    when: dict[str, str] = {}


class Raise(msgspec.Struct, frozen=True, kw_only=True):
    """`amount` more in the windows of this name in [since, until), for one subject or (None) for all."""

    window: WindowName
    amount: int
    since: Instant
    until: Instant
    reason: str
    subject: str | None = None


class BudgetChange(msgspec.Struct, frozen=True):
    """One entry of a budget's history: when, by whom, what was changed and why."""

    at: Instant
    who: str
    what: str
    why: str


class Budget(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which calls may spend how much, as told. Read by `outlay.budgets.definition`.

    `where` maps a dimension or `tag.<name>` to the values it may take (None: events without one); `each` gives every
    value of a dimension an account of its own. `meter` is None for money, `calls`, or a meter. A call that does not
    fit may still use `grace_percent` of the limit. `downgrade_to` lists what to take instead, the preferred first.
    `assumed` is what a call without a price is taken to cost.
    """

    name: str
    tiers: tuple[Tier, ...]
    where: dict[str, tuple[str | None, ...]] = {}
    each: str | None = None
    zone: str = "UTC"
    meter: str | None = None
    marks: tuple[Mark, ...] = (Mark(50), Mark(80), Mark(100))
    action: BudgetAction = BudgetAction.NOTIFY
    unbounded: UnboundedPolicy = UnboundedPolicy.CONTEXT_WINDOW
    unpriced: UnpricedPolicy = UnpricedPolicy.ALLOW
    assumed: int = 0
    fail_open: bool = False
    wait_s: Decimal = Decimal(0)
    grace_percent: Quantity = 0
    downgrade_to: tuple[Choice, ...] = ()
    raises: tuple[Raise, ...] = ()
    history: tuple[BudgetChange, ...] = ()


class Asking(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The most that a call may take: what limits are asked for. `calls` is how many it is.

    `amount` is money (None: no price is known), `usage` quantities by meter, all calls together. Where a part is
    `unbounded` these leave it out, and the two `window_` values put the model's context window in its place.
    """

    amount: int | None
    usage: Mapping[str, Quantity] = {}
    unbounded: bool = False
    window_amount: int | None = None
    window_usage: Mapping[str, Quantity] = {}
    calls: int = 1


Quote = Callable[[Mapping[str, Quantity], Mapping[str, str]], int | None]
"""What a usage would cost under these conditions, in picounits; None where no price is known."""


class BoundPart(msgspec.Struct, frozen=True, kw_only=True):
    """One part of a request, as sent: at most `quantity` of `meter`, how sure that is, and what it may cost.

    An unbounded part's quantity is what it is taken for under the policy `context_window`.
    """

    name: str
    kind: BoundKind
    meter: str
    quantity: Quantity
    note: str = ""
    amount: int | None = None


class Variant(msgspec.Struct, frozen=True):
    """One way in which a request may come to be billed: which meters take over a whole, and under what conditions.

    `inside` maps a meter to the one that contains it: {"cache_write_1h_tokens": "input_tokens"} bills all of the
    input as written to the cache.
    """

    inside: dict[str, str] = {}
    conditions: dict[str, str] = {}


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """The worst case of a request as sent. `usage` sums its bounded parts, `window_usage` all of them.

    `output_field` is the dotted place in the request where a maximum of output belongs (None where the API has
    none), `output_given` whether the request says one, `output_tokens_max` what one output may have at most by it or
    by the model, `output_tokens_least` what a maximum must exceed, `outputs` how many outputs are asked for.
    `output_covers_reasoning` is whether a maximum written there bounds the reasoning too.
    """

    provider: str
    service: str
    api: str
    kind: BoundKind
    parts: tuple[BoundPart, ...]
    usage: dict[str, Quantity]
    window_usage: dict[str, Quantity]
    variants: tuple[Variant, ...] = (Variant(),)
    output_field: str | None = None
    output_given: bool = False
    output_tokens_max: int | None = None
    output_tokens_least: int = 0
    output_covers_reasoning: bool = True
    outputs: int = 1
    context_window: int = 0
    source: str = ""


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of a call: all its limits are taken, or none and `refusals` says why, the deciding one first.

    `waits` is whether settling reservations may let it through; `delay_us` is how long a throttled call should wait.
    """

    granted: bool
    refusals: tuple[Refusal, ...] = ()
    action: BudgetAction = BudgetAction.NOTIFY
    waits: bool = False
    wait_s: Decimal = Decimal(0)
    delay_us: int = 0


class BudgetStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How one account of a budget stands at one instant. Amounts are 10⁻¹² of the unit that it counts.

    `percent` is spent of the limit; `pace` the share spent over the share of the window that has passed (1 ends
    exactly at the limit); `projected` what the window ends with at this pace, `spent_at` when the limit is reached by
    it. `warning` is empty until a mark is crossed.
    """

    key: AccountKey
    window_name: WindowName
    window: Window
    meter: str | None
    tier: str
    action: BudgetAction
    limit: int
    ceiling: int
    spent: int
    reserved: int
    remaining: int
    refusals: int
    percent: Decimal | None
    pace: Decimal | None
    projected: int
    spent_at: Instant | None
    marks: tuple[Mark, ...]
    warning: str = ""
    warming: bool = False
