-- Budgets, the accounts that they keep, what is reserved, and what is to be told.

CREATE TABLE budget (
    name TEXT PRIMARY KEY,
    body BLOB NOT NULL,              -- JSON of the budget, of which the store knows nothing
    active INTEGER NOT NULL,
    changed INTEGER NOT NULL         -- the epoch that its last change made
) STRICT;

CREATE INDEX budget_changed ON budget (changed);

-- What accounts count, by digest and kind of window. Cold until the entries up to until_seq are folded into them.
CREATE TABLE account_scope (
    budget TEXT NOT NULL,
    scope TEXT NOT NULL,
    window_name TEXT NOT NULL,
    active INTEGER NOT NULL,
    warm INTEGER NOT NULL,
    until_seq INTEGER NOT NULL,
    from_at INTEGER NOT NULL,        -- windows that began before this are not folded
    PRIMARY KEY (budget, scope, window_name)
) STRICT, WITHOUT ROWID;

-- committed is spent and reserved. Amounts are of the currency, of one call, or of one unit of a meter.
CREATE TABLE account (
    budget TEXT NOT NULL,
    scope TEXT NOT NULL,
    subject TEXT NOT NULL,
    window TEXT NOT NULL,
    window_name TEXT NOT NULL,
    from_at INTEGER NOT NULL,
    to_at INTEGER NOT NULL,
    committed_micro INTEGER NOT NULL,
    committed_pico INTEGER NOT NULL,
    spent_micro INTEGER NOT NULL,
    spent_pico INTEGER NOT NULL,
    refusals INTEGER NOT NULL,
    PRIMARY KEY (budget, scope, subject, window)
) STRICT, WITHOUT ROWID;

CREATE TABLE subject (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    tier TEXT NOT NULL,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE reservation (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    fingerprint BLOB NOT NULL,
    state INTEGER NOT NULL,          -- open, settled, released, expired
    started_at INTEGER NOT NULL,
    deadline INTEGER NOT NULL,
    shares BLOB NOT NULL,            -- JSON: what is held in which accounts
    estimate BLOB,                   -- JSON of the entry that expiry writes; NULL once it is over
    entry INTEGER                    -- the first entry of its event
) STRICT;

CREATE INDEX reservation_deadline ON reservation (deadline) WHERE state = 0;

-- Who waits for others to settle, in the order of arrival. A waiter that dies loses its place soon.
CREATE TABLE waiter (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    accounts BLOB NOT NULL,          -- JSON: the keys it waits for
    until_at INTEGER NOT NULL
) STRICT;

CREATE TABLE outbox (
    number INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    at INTEGER NOT NULL,
    budget TEXT NOT NULL,
    scope TEXT NOT NULL,
    subject TEXT NOT NULL,
    window TEXT NOT NULL,
    what TEXT NOT NULL,
    amount_micro INTEGER NOT NULL,
    amount_pico INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX outbox_mark ON outbox (budget, scope, subject, window, what) WHERE kind = 'mark';

-- A ring: place is the refusal's number modulo the number of those kept.
CREATE TABLE refusal (
    budget TEXT NOT NULL,
    place INTEGER NOT NULL,
    number INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (budget, place)
) STRICT, WITHOUT ROWID;

CREATE TABLE refusal_count (
    budget TEXT PRIMARY KEY,
    refused INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
