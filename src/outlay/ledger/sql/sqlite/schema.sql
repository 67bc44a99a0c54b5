-- The ledger in one SQLite file. Every table is STRICT, so an amount can never become a float.
-- Money is the pair (micro, pico): millionths, and the remainder in millionths of a millionth, 0 … 999,999.
-- A quantity is the pair (whole, nano). Instants are microseconds since 1970 UTC, days are days since 1970-01-01.
-- Migrations replayed on an empty file give exactly this schema; a test holds that.

CREATE TABLE meta (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    currency TEXT NOT NULL,
    zone TEXT NOT NULL,
    epoch INTEGER NOT NULL,          -- grows with every change of prices, names or settings
    watermark INTEGER NOT NULL,      -- entries up to this seq are folded into the rollups
    horizon INTEGER NOT NULL         -- days before this one were dropped by retention
) STRICT;

-- Names are kept here only, so that one can be forgotten. Id 0 stands for no value.
CREATE TABLE dimension (
    id INTEGER PRIMARY KEY,
    kind INTEGER NOT NULL,
    name TEXT NOT NULL,
    UNIQUE (kind, name)
) STRICT;

-- A set of tags as msgpack; those beyond the day's limit have no digest and belong to one entry.
CREATE TABLE tag_set (
    id INTEGER PRIMARY KEY,
    digest BLOB UNIQUE,
    body BLOB NOT NULL
) STRICT;

CREATE TABLE tag_day (
    day INTEGER PRIMARY KEY,
    interned INTEGER NOT NULL
) STRICT;

-- Every rate that ever priced a line, immutable, so that a line can explain itself for ever.
CREATE TABLE rate (
    id INTEGER PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE,
    body BLOB NOT NULL
) STRICT;

CREATE TABLE entry (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    occurred_from INTEGER NOT NULL,
    occurred_to INTEGER,             -- NULL when it equals occurred_from
    recorded_at INTEGER NOT NULL,
    counted_at INTEGER,              -- NULL when it equals occurred_from
    kind INTEGER NOT NULL,
    sign INTEGER NOT NULL,
    corrects INTEGER,
    provider INTEGER NOT NULL,
    service INTEGER NOT NULL,
    operation INTEGER NOT NULL,
    feature INTEGER NOT NULL,
    environment INTEGER NOT NULL,
    user INTEGER NOT NULL,
    customer INTEGER NOT NULL,
    team INTEGER NOT NULL,
    project INTEGER NOT NULL,
    job INTEGER,
    step INTEGER NOT NULL,
    request TEXT,
    trace TEXT,
    tags INTEGER NOT NULL,
    status INTEGER NOT NULL,
    basis INTEGER NOT NULL,
    pricing INTEGER NOT NULL,
    calls INTEGER NOT NULL,
    micro INTEGER NOT NULL,
    pico INTEGER NOT NULL,
    lines BLOB NOT NULL,             -- msgpack: priced lines and what could not be priced
    body BLOB NOT NULL               -- msgpack: usage, conditions and what is rarely asked for
) STRICT;

CREATE INDEX entry_corrects ON entry (corrects) WHERE corrects IS NOT NULL;
CREATE INDEX entry_job ON entry (job) WHERE job IS NOT NULL;
-- Day first: requests have random names, and a day's pages stay in memory while it is written.
CREATE INDEX entry_request ON entry (occurred_from / 86400000000, request) WHERE request IS NOT NULL;

-- (day, 63 bits of the id's hash) -> first entry of that event. The fingerprint stays when retention drops the entry.
CREATE TABLE identity (
    day INTEGER NOT NULL,
    hash63 INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    fingerprint BLOB,
    PRIMARY KEY (day, hash63)
) STRICT, WITHOUT ROWID;

-- Which times a run of 1,024 entries spans, so that a scan by time reads few others.
CREATE TABLE span (
    block INTEGER PRIMARY KEY,
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL
) STRICT;

CREATE TABLE rollup_day (
    day INTEGER NOT NULL,
    provider INTEGER NOT NULL,
    service INTEGER NOT NULL,
    operation INTEGER NOT NULL,
    feature INTEGER NOT NULL,
    environment INTEGER NOT NULL,
    status INTEGER NOT NULL,
    basis INTEGER NOT NULL,
    events INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    incomplete INTEGER NOT NULL,
    micro INTEGER NOT NULL,
    pico INTEGER NOT NULL,
    PRIMARY KEY (day, provider, service, operation, feature, environment, status, basis)
) STRICT, WITHOUT ROWID;

-- The values that rollup_day tells apart on a day; what is not here once there are too many is counted as (other).
CREATE TABLE rollup_value (
    day INTEGER NOT NULL,
    dimension INTEGER NOT NULL,
    value INTEGER NOT NULL,
    PRIMARY KEY (day, dimension, value)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollup_quarter_hour (
    quarter_hour INTEGER NOT NULL,
    provider INTEGER NOT NULL,
    service INTEGER NOT NULL,
    status INTEGER NOT NULL,
    basis INTEGER NOT NULL,
    events INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    incomplete INTEGER NOT NULL,
    micro INTEGER NOT NULL,
    pico INTEGER NOT NULL,
    PRIMARY KEY (quarter_hour, provider, service, status, basis)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollup_customer (
    day INTEGER NOT NULL,
    customer INTEGER NOT NULL,
    provider INTEGER NOT NULL,
    service INTEGER NOT NULL,
    feature INTEGER NOT NULL,
    basis INTEGER NOT NULL,
    events INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    incomplete INTEGER NOT NULL,
    micro INTEGER NOT NULL,
    pico INTEGER NOT NULL,
    PRIMARY KEY (day, customer, provider, service, feature, basis)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollup_project (
    day INTEGER NOT NULL,
    project INTEGER NOT NULL,
    provider INTEGER NOT NULL,
    service INTEGER NOT NULL,
    feature INTEGER NOT NULL,
    basis INTEGER NOT NULL,
    events INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    incomplete INTEGER NOT NULL,
    micro INTEGER NOT NULL,
    pico INTEGER NOT NULL,
    PRIMARY KEY (day, project, provider, service, feature, basis)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollup_team (
    day INTEGER NOT NULL,
    team INTEGER NOT NULL,
    provider INTEGER NOT NULL,
    service INTEGER NOT NULL,
    feature INTEGER NOT NULL,
    basis INTEGER NOT NULL,
    events INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    incomplete INTEGER NOT NULL,
    micro INTEGER NOT NULL,
    pico INTEGER NOT NULL,
    PRIMARY KEY (day, team, provider, service, feature, basis)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollup_user (
    day INTEGER NOT NULL,
    user INTEGER NOT NULL,
    provider INTEGER NOT NULL,
    service INTEGER NOT NULL,
    feature INTEGER NOT NULL,
    basis INTEGER NOT NULL,
    events INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    incomplete INTEGER NOT NULL,
    micro INTEGER NOT NULL,
    pico INTEGER NOT NULL,
    PRIMARY KEY (day, user, provider, service, feature, basis)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollup_job (
    job INTEGER NOT NULL,
    provider INTEGER NOT NULL,
    service INTEGER NOT NULL,
    basis INTEGER NOT NULL,
    events INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    incomplete INTEGER NOT NULL,
    micro INTEGER NOT NULL,
    pico INTEGER NOT NULL,
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    PRIMARY KEY (job, provider, service, basis)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollup_meter (
    day INTEGER NOT NULL,
    provider INTEGER NOT NULL,
    service INTEGER NOT NULL,
    meter INTEGER NOT NULL,
    basis INTEGER NOT NULL,
    events INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    incomplete INTEGER NOT NULL,
    micro INTEGER NOT NULL,
    pico INTEGER NOT NULL,
    whole INTEGER NOT NULL,
    nano INTEGER NOT NULL,
    PRIMARY KEY (day, provider, service, meter, basis)
) STRICT, WITHOUT ROWID;

-- What retention dropped, by UTC day: enough to prove that the rollups still hold all of it.
CREATE TABLE checkpoint (
    day INTEGER PRIMARY KEY,
    entries INTEGER NOT NULL,
    events INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    incomplete INTEGER NOT NULL,
    micro INTEGER NOT NULL,
    pico INTEGER NOT NULL,
    digest BLOB NOT NULL             -- BLAKE2b chain over the dropped entries' seq, fingerprint, sign and amount
) STRICT;

CREATE TABLE user_rate (
    id INTEGER PRIMARY KEY,
    body BLOB NOT NULL
) STRICT;

CREATE TABLE catalogue (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    body BLOB NOT NULL,
    recorded_at INTEGER NOT NULL
) STRICT;

CREATE TABLE setting (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE statement (
    id TEXT PRIMARY KEY,
    provider TEXT NOT NULL,
    source TEXT NOT NULL,
    period_from INTEGER NOT NULL,
    period_to INTEGER NOT NULL,
    currency TEXT NOT NULL,
    recorded_at INTEGER NOT NULL
) STRICT;

CREATE TABLE statement_line (
    number INTEGER PRIMARY KEY,
    statement TEXT NOT NULL REFERENCES statement (id),
    line TEXT NOT NULL,
    service TEXT NOT NULL,
    resource TEXT NOT NULL,
    occurred_from INTEGER NOT NULL,
    occurred_to INTEGER NOT NULL,
    cost TEXT NOT NULL,
    quantity TEXT NOT NULL,
    unit TEXT NOT NULL,
    state TEXT NOT NULL,
    entry INTEGER,
    UNIQUE (statement, line)
) STRICT;

CREATE TABLE job_outcome (
    job INTEGER PRIMARY KEY,
    units INTEGER NOT NULL,
    status TEXT NOT NULL,
    recorded_at INTEGER NOT NULL
) STRICT;

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

-- Ids begin with the time, so the newest stand together.
CREATE TABLE reservation (
    id TEXT PRIMARY KEY,
    fingerprint BLOB NOT NULL,
    state INTEGER NOT NULL,          -- open, settled, released, expired
    started_at INTEGER NOT NULL,
    deadline INTEGER NOT NULL,
    shares BLOB NOT NULL,            -- JSON: what is held in which accounts
    estimate BLOB,                   -- msgpack of the row that expiry writes; NULL once it is over
    entry INTEGER                    -- the first entry of its event
) STRICT, WITHOUT ROWID;

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

-- What servers share: access keys, the log of changes, leases.

-- The body is JSON of which the store knows nothing; it holds the SHA-256 of the key, never the key.
CREATE TABLE access_key (
    id TEXT PRIMARY KEY,
    body BLOB NOT NULL,
    used_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE change_log (
    number INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    who TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;

CREATE TABLE lease (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    until_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The calls of the last 48 hours by their key, so that one that several captures see is booked once.

CREATE TABLE call_key (
    day INTEGER NOT NULL,            -- the UTC day of recorded_at: old ones go in one piece
    digest BLOB NOT NULL,
    recorded_at INTEGER NOT NULL,
    root INTEGER NOT NULL,           -- the first entry of the event
    seen INTEGER NOT NULL,           -- how many later captures of this call came
    PRIMARY KEY (day, digest)
) STRICT, WITHOUT ROWID;

-- What the watcher knows: alert rules, alerts and what became of them, how far it has read, which reports went out.
-- The body is JSON of which the store knows nothing; only what is live is looked at in every round.

CREATE TABLE note (
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    at INTEGER NOT NULL,
    live INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX note_at ON note (kind, at);

CREATE INDEX note_live ON note (kind, at) WHERE live = 1;

-- Rollups that sum others, for the questions of who cost most: by day, by week from Monday, by month since the year 0,
-- and of each job.
CREATE TABLE rollup_daily_customer (
    day INTEGER NOT NULL,
    customer INTEGER NOT NULL,
    basis INTEGER NOT NULL,
    events INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    incomplete INTEGER NOT NULL,
    micro INTEGER NOT NULL,
    pico INTEGER NOT NULL,
    PRIMARY KEY (day, customer, basis)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollup_daily_project (
    day INTEGER NOT NULL,
    project INTEGER NOT NULL,
    basis INTEGER NOT NULL,
    events INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    incomplete INTEGER NOT NULL,
    micro INTEGER NOT NULL,
    pico INTEGER NOT NULL,
    PRIMARY KEY (day, project, basis)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollup_daily_team (
    day INTEGER NOT NULL,
    team INTEGER NOT NULL,
    basis INTEGER NOT NULL,
    events INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    incomplete INTEGER NOT NULL,
    micro INTEGER NOT NULL,
    pico INTEGER NOT NULL,
    PRIMARY KEY (day, team, basis)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollup_daily_user (
    day INTEGER NOT NULL,
    user INTEGER NOT NULL,
    basis INTEGER NOT NULL,
    events INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    incomplete INTEGER NOT NULL,
    micro INTEGER NOT NULL,
    pico INTEGER NOT NULL,
    PRIMARY KEY (day, user, basis)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollup_weekly_customer (
    week INTEGER NOT NULL,
    customer INTEGER NOT NULL,
    basis INTEGER NOT NULL,
    events INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    incomplete INTEGER NOT NULL,
    micro INTEGER NOT NULL,
    pico INTEGER NOT NULL,
    PRIMARY KEY (week, customer, basis)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollup_weekly_project (
    week INTEGER NOT NULL,
    project INTEGER NOT NULL,
    basis INTEGER NOT NULL,
    events INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    incomplete INTEGER NOT NULL,
    micro INTEGER NOT NULL,
    pico INTEGER NOT NULL,
    PRIMARY KEY (week, project, basis)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollup_weekly_team (
    week INTEGER NOT NULL,
    team INTEGER NOT NULL,
    basis INTEGER NOT NULL,
    events INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    incomplete INTEGER NOT NULL,
    micro INTEGER NOT NULL,
    pico INTEGER NOT NULL,
    PRIMARY KEY (week, team, basis)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollup_weekly_user (
    week INTEGER NOT NULL,
    user INTEGER NOT NULL,
    basis INTEGER NOT NULL,
    events INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    incomplete INTEGER NOT NULL,
    micro INTEGER NOT NULL,
    pico INTEGER NOT NULL,
    PRIMARY KEY (week, user, basis)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollup_monthly_customer (
    month INTEGER NOT NULL,
    customer INTEGER NOT NULL,
    basis INTEGER NOT NULL,
    events INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    incomplete INTEGER NOT NULL,
    micro INTEGER NOT NULL,
    pico INTEGER NOT NULL,
    PRIMARY KEY (month, customer, basis)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollup_monthly_project (
    month INTEGER NOT NULL,
    project INTEGER NOT NULL,
    basis INTEGER NOT NULL,
    events INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    incomplete INTEGER NOT NULL,
    micro INTEGER NOT NULL,
    pico INTEGER NOT NULL,
    PRIMARY KEY (month, project, basis)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollup_monthly_team (
    month INTEGER NOT NULL,
    team INTEGER NOT NULL,
    basis INTEGER NOT NULL,
    events INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    incomplete INTEGER NOT NULL,
    micro INTEGER NOT NULL,
    pico INTEGER NOT NULL,
    PRIMARY KEY (month, team, basis)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollup_monthly_user (
    month INTEGER NOT NULL,
    user INTEGER NOT NULL,
    basis INTEGER NOT NULL,
    events INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    incomplete INTEGER NOT NULL,
    micro INTEGER NOT NULL,
    pico INTEGER NOT NULL,
    PRIMARY KEY (month, user, basis)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollup_job_total (
    job INTEGER NOT NULL,
    events INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    incomplete INTEGER NOT NULL,
    micro INTEGER NOT NULL,
    pico INTEGER NOT NULL,
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    PRIMARY KEY (job)
) STRICT, WITHOUT ROWID;
