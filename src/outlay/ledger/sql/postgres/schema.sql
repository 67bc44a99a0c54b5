-- The ledger in one schema of a PostgreSQL database.
-- Money is the pair (micro, pico): millionths, and the remainder in millionths of a millionth, 0 … 999,999; sums of
-- them are numeric and never overflow. A quantity is the pair (whole, nano). Instants are microseconds since 1970 UTC,
-- days are days since 1970-01-01. Nothing here is state of a session: any pooler may stand between.

CREATE TABLE meta (
    one smallint PRIMARY KEY CHECK (one = 1),
    currency text NOT NULL,
    zone text NOT NULL,
    epoch bigint NOT NULL,           -- grows with every change of prices, names or settings
    folded_xact bigint NOT NULL,     -- entries up to (folded_xact, folded_seq) are folded into the rollups
    folded_seq bigint NOT NULL,
    horizon integer NOT NULL,        -- days before this one were dropped by retention
    xact_offset bigint NOT NULL,     -- added to the server's number of a transaction: a restored copy begins anew
    schema integer NOT NULL,         -- how far the additive migrations went
    oldest integer NOT NULL          -- programs that know no schema from this one on are refused
);

-- Which migrations were run, and when.
CREATE TABLE migration (
    name text PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- Names are kept here only, so that one can be forgotten. Id 0 stands for no value.
CREATE TABLE dimension (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind smallint NOT NULL,
    name text NOT NULL,
    UNIQUE (kind, name)
);

-- A set of tags as msgpack; those beyond the day's limit have no digest and belong to one entry.
CREATE TABLE tag_set (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    digest bytea UNIQUE,
    body bytea NOT NULL
);

CREATE TABLE tag_day (
    day integer PRIMARY KEY,
    interned integer NOT NULL
);

-- Every rate that ever priced a line, immutable, so that a line can explain itself for ever.
CREATE TABLE rate (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    digest bytea NOT NULL UNIQUE,
    body bytea NOT NULL
);

CREATE SEQUENCE entry_seq AS bigint;

-- A partition for each UTC day of occurred_from, made ahead; what no day of them holds is in entry_default.
CREATE TABLE entry (
    seq bigint NOT NULL,
    id text NOT NULL,
    fingerprint bytea NOT NULL,
    occurred_from bigint NOT NULL,
    occurred_to bigint,              -- NULL when it equals occurred_from
    recorded_at bigint NOT NULL,
    counted_at bigint,               -- NULL when it equals occurred_from
    kind smallint NOT NULL,
    sign smallint NOT NULL,
    corrects bigint,
    provider integer NOT NULL,
    service integer NOT NULL,
    operation integer NOT NULL,
    feature integer NOT NULL,
    environment integer NOT NULL,
    "user" integer NOT NULL,
    customer integer NOT NULL,
    team integer NOT NULL,
    project integer NOT NULL,
    job integer,
    step integer NOT NULL,
    request text,
    trace text,
    tags integer NOT NULL,
    status smallint NOT NULL,
    basis smallint NOT NULL,
    pricing smallint NOT NULL,
    calls bigint NOT NULL,
    micro bigint NOT NULL,
    pico integer NOT NULL,
    lines bytea NOT NULL,            -- msgpack: priced lines and what could not be priced
    body bytea NOT NULL,             -- msgpack: usage, conditions and what is rarely asked for
    xact bigint NOT NULL             -- its transaction: only what no running one can precede is folded
) PARTITION BY RANGE (occurred_from);

CREATE INDEX entry_seq_index ON entry (seq);
CREATE INDEX entry_xact ON entry (xact, seq);
CREATE INDEX entry_time ON entry USING brin (occurred_from) WITH (pages_per_range = 16, autosummarize = on);
CREATE INDEX entry_corrects ON entry (corrects) WHERE corrects IS NOT NULL;
CREATE INDEX entry_job ON entry (job) WHERE job IS NOT NULL;
CREATE INDEX entry_request ON entry (request) WHERE request IS NOT NULL;

CREATE TABLE entry_default PARTITION OF entry DEFAULT;

-- (day, 63 bits of the id's hash) -> first entry of that event. It outlives the entry for a while.
CREATE TABLE identity (
    day integer NOT NULL,
    hash63 bigint NOT NULL,
    seq bigint NOT NULL,
    fingerprint bytea NOT NULL,
    root_day integer,                -- only of another capture of a call: the day of the event that seq begins
    PRIMARY KEY (day, hash63)
) PARTITION BY RANGE (day);

CREATE TABLE identity_default PARTITION OF identity DEFAULT;

-- The calls of the last 48 hours by their key, so that one that several captures see is booked once.
CREATE TABLE call_key (
    day integer NOT NULL,            -- the UTC day of recorded_at
    digest bytea NOT NULL,
    recorded_at bigint NOT NULL,
    root bigint NOT NULL,            -- the first entry of the event, and its day
    root_day integer NOT NULL,
    seen integer NOT NULL,           -- how many later captures of this call came
    PRIMARY KEY (day, digest)
);

CREATE TABLE rollup_day (
    day integer NOT NULL,
    provider integer NOT NULL,
    service integer NOT NULL,
    operation integer NOT NULL,
    feature integer NOT NULL,
    environment integer NOT NULL,
    status smallint NOT NULL,
    basis smallint NOT NULL,
    events bigint NOT NULL,
    failed bigint NOT NULL,
    unpriced bigint NOT NULL,
    incomplete bigint NOT NULL,
    micro bigint NOT NULL,
    pico integer NOT NULL,
    PRIMARY KEY (day, provider, service, operation, feature, environment, status, basis)
);

-- The values that rollup_day tells apart on a day; what is not here once there are too many is counted as (other).
CREATE TABLE rollup_value (
    day integer NOT NULL,
    dimension smallint NOT NULL,
    value integer NOT NULL,
    PRIMARY KEY (day, dimension, value)
);

CREATE TABLE rollup_quarter_hour (
    quarter_hour integer NOT NULL,
    provider integer NOT NULL,
    service integer NOT NULL,
    status smallint NOT NULL,
    basis smallint NOT NULL,
    events bigint NOT NULL,
    failed bigint NOT NULL,
    unpriced bigint NOT NULL,
    incomplete bigint NOT NULL,
    micro bigint NOT NULL,
    pico integer NOT NULL,
    PRIMARY KEY (quarter_hour, provider, service, status, basis)
);

CREATE TABLE rollup_customer (
    day integer NOT NULL,
    customer integer NOT NULL,
    provider integer NOT NULL,
    service integer NOT NULL,
    feature integer NOT NULL,
    basis smallint NOT NULL,
    events bigint NOT NULL,
    failed bigint NOT NULL,
    unpriced bigint NOT NULL,
    incomplete bigint NOT NULL,
    micro bigint NOT NULL,
    pico integer NOT NULL,
    PRIMARY KEY (day, customer, provider, service, feature, basis)
);

CREATE TABLE rollup_project (
    day integer NOT NULL,
    project integer NOT NULL,
    provider integer NOT NULL,
    service integer NOT NULL,
    feature integer NOT NULL,
    basis smallint NOT NULL,
    events bigint NOT NULL,
    failed bigint NOT NULL,
    unpriced bigint NOT NULL,
    incomplete bigint NOT NULL,
    micro bigint NOT NULL,
    pico integer NOT NULL,
    PRIMARY KEY (day, project, provider, service, feature, basis)
);

CREATE TABLE rollup_team (
    day integer NOT NULL,
    team integer NOT NULL,
    provider integer NOT NULL,
    service integer NOT NULL,
    feature integer NOT NULL,
    basis smallint NOT NULL,
    events bigint NOT NULL,
    failed bigint NOT NULL,
    unpriced bigint NOT NULL,
    incomplete bigint NOT NULL,
    micro bigint NOT NULL,
    pico integer NOT NULL,
    PRIMARY KEY (day, team, provider, service, feature, basis)
);

CREATE TABLE rollup_user (
    day integer NOT NULL,
    "user" integer NOT NULL,
    provider integer NOT NULL,
    service integer NOT NULL,
    feature integer NOT NULL,
    basis smallint NOT NULL,
    events bigint NOT NULL,
    failed bigint NOT NULL,
    unpriced bigint NOT NULL,
    incomplete bigint NOT NULL,
    micro bigint NOT NULL,
    pico integer NOT NULL,
    PRIMARY KEY (day, "user", provider, service, feature, basis)
);

CREATE TABLE rollup_job (
    job integer NOT NULL,
    provider integer NOT NULL,
    service integer NOT NULL,
    basis smallint NOT NULL,
    events bigint NOT NULL,
    failed bigint NOT NULL,
    unpriced bigint NOT NULL,
    incomplete bigint NOT NULL,
    micro bigint NOT NULL,
    pico integer NOT NULL,
    first_at bigint NOT NULL,
    last_at bigint NOT NULL,
    PRIMARY KEY (job, provider, service, basis)
);

CREATE TABLE rollup_meter (
    day integer NOT NULL,
    provider integer NOT NULL,
    service integer NOT NULL,
    meter integer NOT NULL,
    basis smallint NOT NULL,
    events bigint NOT NULL,
    failed bigint NOT NULL,
    unpriced bigint NOT NULL,
    incomplete bigint NOT NULL,
    micro bigint NOT NULL,
    pico integer NOT NULL,
    whole bigint NOT NULL,
    nano integer NOT NULL,
    PRIMARY KEY (day, provider, service, meter, basis)
);

-- What retention dropped, by UTC day: enough to prove that the rollups still hold all of it.
CREATE TABLE checkpoint (
    day integer PRIMARY KEY,
    entries bigint NOT NULL,
    events bigint NOT NULL,
    failed bigint NOT NULL,
    unpriced bigint NOT NULL,
    incomplete bigint NOT NULL,
    micro bigint NOT NULL,
    pico integer NOT NULL,
    digest bytea NOT NULL            -- SHA-256 chain over the dropped entries' fingerprint, seq, sign and amount
);

CREATE TABLE user_rate (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    body bytea NOT NULL
);

CREATE TABLE catalogue (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text NOT NULL UNIQUE,
    body bytea NOT NULL,
    recorded_at bigint NOT NULL
);

CREATE TABLE setting (
    name text PRIMARY KEY,
    value text NOT NULL
);

CREATE TABLE statement (
    id text PRIMARY KEY,
    provider text NOT NULL,
    source text NOT NULL,
    period_from bigint NOT NULL,
    period_to bigint NOT NULL,
    currency text NOT NULL,
    recorded_at bigint NOT NULL
);

CREATE TABLE statement_line (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    statement text NOT NULL REFERENCES statement (id),
    line text NOT NULL,
    service text NOT NULL,
    resource text NOT NULL,
    occurred_from bigint NOT NULL,
    occurred_to bigint NOT NULL,
    cost text NOT NULL,
    quantity text NOT NULL,
    unit text NOT NULL,
    state text NOT NULL,
    entry bigint,
    UNIQUE (statement, line)
);

CREATE TABLE job_outcome (
    job integer PRIMARY KEY,
    units bigint NOT NULL,
    status text NOT NULL,
    recorded_at bigint NOT NULL
);

-- Budgets, the accounts that they keep, what is reserved, and what is to be told.
CREATE TABLE budget (
    name text PRIMARY KEY,
    body bytea NOT NULL,             -- JSON of the budget, of which the store knows nothing
    active boolean NOT NULL,
    changed bigint NOT NULL          -- the epoch that its last change made
);

CREATE INDEX budget_changed ON budget (changed);

-- What accounts count, by digest and kind of window. Cold until the entries up to until_seq are folded into them.
CREATE TABLE account_scope (
    budget text NOT NULL,
    scope text NOT NULL,
    window_name text NOT NULL,
    active boolean NOT NULL,
    warm boolean NOT NULL,
    until_seq bigint NOT NULL,
    from_at bigint NOT NULL,         -- windows that began before this are not folded
    PRIMARY KEY (budget, scope, window_name)
);

-- committed is spent and reserved. Amounts are of the currency, of one call, or of one unit of a meter. Half of each
-- page stays free, so that a hot account's new version is written beside the old one and no index is touched.
CREATE TABLE account (
    budget text NOT NULL,
    scope text NOT NULL,
    subject text NOT NULL,
    "window" text NOT NULL,
    window_name text NOT NULL,
    from_at bigint NOT NULL,
    to_at bigint NOT NULL,
    committed_micro bigint NOT NULL,
    committed_pico integer NOT NULL,
    spent_micro bigint NOT NULL,
    spent_pico integer NOT NULL,
    refusals bigint NOT NULL,
    PRIMARY KEY (budget, scope, subject, "window")
) WITH (fillfactor = 50);

CREATE TABLE subject (
    kind text NOT NULL,
    name text NOT NULL,
    tier text NOT NULL,
    PRIMARY KEY (kind, name)
);

CREATE TABLE reservation (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text NOT NULL UNIQUE,
    fingerprint bytea NOT NULL,
    state smallint NOT NULL,         -- open, settled, released, expired
    started_at bigint NOT NULL,
    deadline bigint NOT NULL,
    shares bytea NOT NULL,           -- JSON: what is held in which accounts
    estimate bytea,                  -- JSON of the entry that expiry writes; NULL once it is over
    entry bigint                     -- the first entry of its event
) WITH (fillfactor = 80);

CREATE INDEX reservation_deadline ON reservation (deadline) WHERE state = 0;

-- Who waits for others to settle, in the order of arrival. A waiter that dies loses its place soon.
CREATE TABLE waiter (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text NOT NULL UNIQUE,
    accounts bytea NOT NULL,         -- JSON: the keys it waits for
    until_at bigint NOT NULL
);

CREATE TABLE outbox (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL,
    at bigint NOT NULL,
    budget text NOT NULL,
    scope text NOT NULL,
    subject text NOT NULL,
    "window" text NOT NULL,
    what text NOT NULL,
    amount_micro bigint NOT NULL,
    amount_pico integer NOT NULL
);

CREATE UNIQUE INDEX outbox_mark ON outbox (budget, scope, subject, "window", what) WHERE kind = 'mark';

-- A ring: place is the refusal's number modulo the number of those kept.
CREATE TABLE refusal (
    budget text NOT NULL,
    place integer NOT NULL,
    number bigint NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (budget, place)
);

CREATE TABLE refusal_count (
    budget text PRIMARY KEY,
    refused bigint NOT NULL
);

-- What servers share: access keys, the log of changes, leases.
-- The body is JSON of which the store knows nothing; it holds the SHA-256 of the key, never the key.
CREATE TABLE access_key (
    id text PRIMARY KEY,
    body bytea NOT NULL,
    used_at bigint
);

CREATE TABLE change_log (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at bigint NOT NULL,
    who text NOT NULL,
    action text NOT NULL,
    subject text NOT NULL,
    detail text NOT NULL
);

CREATE TABLE lease (
    name text PRIMARY KEY,
    holder text NOT NULL,
    until_at bigint NOT NULL
);

-- What the watcher knows: alert rules, alerts and what became of them, how far it has read, which reports went out.
-- The body is JSON of which the store knows nothing; only what is live is looked at in every round.
CREATE TABLE note (
    kind text NOT NULL,
    id text NOT NULL,
    at bigint NOT NULL,
    live boolean NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (kind, id)
);

CREATE INDEX note_at ON note (kind, at);

CREATE INDEX note_live ON note (kind, at) WHERE live;

-- The last transaction of each client's connection. Where a COMMIT was not answered, this row tells whether it landed: a
-- server that crashed gives the numbers of transactions that it lost to others, so theirs tells nothing.
CREATE TABLE landed (
    client bigint PRIMARY KEY,       -- a random number for each connection
    xact bigint NOT NULL,
    at timestamptz NOT NULL
) WITH (fillfactor = 50);

-- Rollups that sum others, for the questions of who cost most: by day, by week from Monday, by month since the year 0,
-- and of each job.
CREATE TABLE rollup_daily_customer (
    day integer NOT NULL,
    customer integer NOT NULL,
    basis smallint NOT NULL,
    events bigint NOT NULL,
    failed bigint NOT NULL,
    unpriced bigint NOT NULL,
    incomplete bigint NOT NULL,
    micro bigint NOT NULL,
    pico integer NOT NULL,
    PRIMARY KEY (day, customer, basis)
);

CREATE TABLE rollup_daily_project (
    day integer NOT NULL,
    project integer NOT NULL,
    basis smallint NOT NULL,
    events bigint NOT NULL,
    failed bigint NOT NULL,
    unpriced bigint NOT NULL,
    incomplete bigint NOT NULL,
    micro bigint NOT NULL,
    pico integer NOT NULL,
    PRIMARY KEY (day, project, basis)
);

CREATE TABLE rollup_daily_team (
    day integer NOT NULL,
    team integer NOT NULL,
    basis smallint NOT NULL,
    events bigint NOT NULL,
    failed bigint NOT NULL,
    unpriced bigint NOT NULL,
    incomplete bigint NOT NULL,
    micro bigint NOT NULL,
    pico integer NOT NULL,
    PRIMARY KEY (day, team, basis)
);

CREATE TABLE rollup_daily_user (
    day integer NOT NULL,
    "user" integer NOT NULL,
    basis smallint NOT NULL,
    events bigint NOT NULL,
    failed bigint NOT NULL,
    unpriced bigint NOT NULL,
    incomplete bigint NOT NULL,
    micro bigint NOT NULL,
    pico integer NOT NULL,
    PRIMARY KEY (day, "user", basis)
);

CREATE TABLE rollup_weekly_customer (
    week integer NOT NULL,
    customer integer NOT NULL,
    basis smallint NOT NULL,
    events bigint NOT NULL,
    failed bigint NOT NULL,
    unpriced bigint NOT NULL,
    incomplete bigint NOT NULL,
    micro bigint NOT NULL,
    pico integer NOT NULL,
    PRIMARY KEY (week, customer, basis)
);

CREATE TABLE rollup_weekly_project (
    week integer NOT NULL,
    project integer NOT NULL,
    basis smallint NOT NULL,
    events bigint NOT NULL,
    failed bigint NOT NULL,
    unpriced bigint NOT NULL,
    incomplete bigint NOT NULL,
    micro bigint NOT NULL,
    pico integer NOT NULL,
    PRIMARY KEY (week, project, basis)
);

CREATE TABLE rollup_weekly_team (
    week integer NOT NULL,
    team integer NOT NULL,
    basis smallint NOT NULL,
    events bigint NOT NULL,
    failed bigint NOT NULL,
    unpriced bigint NOT NULL,
    incomplete bigint NOT NULL,
    micro bigint NOT NULL,
    pico integer NOT NULL,
    PRIMARY KEY (week, team, basis)
);

CREATE TABLE rollup_weekly_user (
    week integer NOT NULL,
    "user" integer NOT NULL,
    basis smallint NOT NULL,
    events bigint NOT NULL,
    failed bigint NOT NULL,
    unpriced bigint NOT NULL,
    incomplete bigint NOT NULL,
    micro bigint NOT NULL,
    pico integer NOT NULL,
    PRIMARY KEY (week, "user", basis)
);

CREATE TABLE rollup_monthly_customer (
    month integer NOT NULL,
    customer integer NOT NULL,
    basis smallint NOT NULL,
    events bigint NOT NULL,
    failed bigint NOT NULL,
    unpriced bigint NOT NULL,
    incomplete bigint NOT NULL,
    micro bigint NOT NULL,
    pico integer NOT NULL,
    PRIMARY KEY (month, customer, basis)
);

CREATE TABLE rollup_monthly_project (
    month integer NOT NULL,
    project integer NOT NULL,
    basis smallint NOT NULL,
    events bigint NOT NULL,
    failed bigint NOT NULL,
    unpriced bigint NOT NULL,
    incomplete bigint NOT NULL,
    micro bigint NOT NULL,
    pico integer NOT NULL,
    PRIMARY KEY (month, project, basis)
);

CREATE TABLE rollup_monthly_team (
    month integer NOT NULL,
    team integer NOT NULL,
    basis smallint NOT NULL,
    events bigint NOT NULL,
    failed bigint NOT NULL,
    unpriced bigint NOT NULL,
    incomplete bigint NOT NULL,
    micro bigint NOT NULL,
    pico integer NOT NULL,
    PRIMARY KEY (month, team, basis)
);

CREATE TABLE rollup_monthly_user (
    month integer NOT NULL,
    "user" integer NOT NULL,
    basis smallint NOT NULL,
    events bigint NOT NULL,
    failed bigint NOT NULL,
    unpriced bigint NOT NULL,
    incomplete bigint NOT NULL,
    micro bigint NOT NULL,
    pico integer NOT NULL,
    PRIMARY KEY (month, "user", basis)
);

CREATE TABLE rollup_job_total (
    job integer NOT NULL,
    events bigint NOT NULL,
    failed bigint NOT NULL,
    unpriced bigint NOT NULL,
    incomplete bigint NOT NULL,
    micro bigint NOT NULL,
    pico integer NOT NULL,
    first_at bigint NOT NULL,
    last_at bigint NOT NULL,
    PRIMARY KEY (job)
);

-- The dearest jobs, and the time that all jobs span, are found without a walk over every job's total.
CREATE INDEX rollup_job_total_dearest ON rollup_job_total (micro DESC, pico DESC);

CREATE INDEX rollup_job_total_first ON rollup_job_total (first_at);

CREATE INDEX rollup_job_total_last ON rollup_job_total (last_at);
