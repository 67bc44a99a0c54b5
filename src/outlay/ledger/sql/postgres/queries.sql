-- Every statement of the PostgreSQL store but its deletions, each under its name. A {word} is filled with
-- identifiers of this package only, never with a value: values are always bound.

-- name: entry_columns
seq, id, fingerprint, occurred_from, occurred_to, recorded_at, counted_at, kind, sign, corrects, provider, service,
operation, feature, environment, "user", customer, team, project, job, step, request, trace, tags, status, basis,
pricing, calls, micro, pico, lines, body

-- Compiling a statement takes longer than running any of these, so that is off.
-- Writers share a lock that whoever changes the epoch takes alone: no entry is written by half of a change.
-- The statement after it sees what the holder committed.
-- name: begin_writing
BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
SET LOCAL statement_timeout = '60s';
SELECT epoch, folded_xact, folded_seq, horizon, oldest, number FROM outlay.begin_writing_1({client}, {alone})

-- The lock lets no partition be dropped between the first statement's view and the last's.
-- name: begin_reading
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SET LOCAL search_path = outlay, pg_temp;
SET LOCAL jit = off;
SET LOCAL statement_timeout = {milliseconds};
SET LOCAL idle_in_transaction_session_timeout = 0;
LOCK TABLE ONLY outlay.entry IN ACCESS SHARE MODE

-- name: transaction_state
SELECT pg_xact_status((?::bigint - xact_offset)::text::xid8) FROM meta

-- name: has_landed
SELECT 1 FROM landed WHERE client = ? AND xact = ?

-- Of clients that are gone; no COMMIT is asked about for as long as this.
-- name: drop_landed
DELETE FROM landed WHERE client IN (
    SELECT client FROM landed WHERE at < now() - interval '1 day' FOR UPDATE SKIP LOCKED
)

-- name: renumber_transactions
UPDATE meta SET xact_offset =
    1 + greatest(folded_xact, (SELECT coalesce(max(xact), 0) FROM entry)) - pg_current_xact_id()::text::bigint
WHERE xact_offset + pg_current_xact_id()::text::bigint <= folded_xact

-- name: insert_meta
INSERT INTO meta (one, currency, zone, epoch, folded_xact, folded_seq, horizon, xact_offset, schema, oldest)
VALUES (1, ?, ?, 1, 0, 0, -1000000, 0, ?, ?)

-- name: meta
SELECT epoch, folded_xact, folded_seq, horizon, oldest FROM meta

-- name: currency_and_zone
SELECT currency, zone FROM meta

-- name: raise_epoch
UPDATE meta SET epoch = epoch + 1 RETURNING epoch

-- name: last_seq
SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM entry_seq

-- name: dimension_id
SELECT id FROM dimension WHERE kind = ? AND name = ?

-- name: dimension_name
SELECT name FROM dimension WHERE id = ?

-- name: dimension_names
SELECT id, name FROM dimension WHERE id = ANY (ARRAY(SELECT jsonb_array_elements_text(?::text::jsonb)::integer))

-- name: dimension_ids
SELECT dimension.kind, dimension.name, dimension.id FROM dimension
JOIN (SELECT unnest(?::smallint[]) AS kind, unnest(?::text[]) AS name) AS asked
ON dimension.kind = asked.kind AND dimension.name = asked.name

-- In the order given, which is everybody's: two that make the same names never wait for each other in a circle.
-- name: intern_dimensions
INSERT INTO dimension (kind, name) SELECT unnest(?::smallint[]), unnest(?::text[]) ON CONFLICT (kind, name) DO NOTHING

-- name: intern_dimension
INSERT INTO dimension (kind, name) VALUES (?, ?) ON CONFLICT (kind, name) DO NOTHING RETURNING id

-- name: rename_dimension
UPDATE dimension SET name = ?3 WHERE kind = ?1 AND name = ?2 RETURNING id

-- name: rate_ids
SELECT digest, id FROM rate WHERE digest = ANY(?::bytea[])

-- name: intern_rates
INSERT INTO rate (digest, body) SELECT unnest(?::bytea[]), unnest(?::bytea[]) ON CONFLICT (digest) DO NOTHING

-- name: rate_body
SELECT body FROM rate WHERE id = ?

-- name: tag_set_id
SELECT id FROM tag_set WHERE digest = ?

-- name: tag_set_ids
SELECT digest, id FROM tag_set WHERE digest = ANY(?::bytea[])

-- name: intern_tag_set
INSERT INTO tag_set (digest, body) VALUES (?, ?) ON CONFLICT (digest) DO NOTHING

-- name: insert_own_tag_set
INSERT INTO tag_set (digest, body) VALUES (NULL, ?) RETURNING id

-- name: tag_set_body
SELECT body FROM tag_set WHERE id = ?

-- name: tag_sets
SELECT id, body FROM tag_set ORDER BY id

-- name: rename_tag_set
UPDATE tag_set SET digest = CASE WHEN digest IS NULL THEN NULL ELSE ?2 END, body = ?3 WHERE id = ?1

-- name: begin_tag_day
INSERT INTO tag_day (day, interned) VALUES (?, 0) ON CONFLICT (day) DO NOTHING

-- name: tag_sets_interned
SELECT interned FROM tag_day WHERE day = ? FOR UPDATE

-- name: count_tag_sets
UPDATE tag_day SET interned = interned + ?2 WHERE day = ?1

-- Callers' ids are looked up on several days, and calls by their key: two that look at the same time wait here.
-- name: lock_ids
SELECT pg_advisory_xact_lock(1333097836, bucket) FROM unnest(?::integer[]) AS bucket

-- name: find_identities
SELECT identity.day, identity.hash63, identity.seq, identity.fingerprint, identity.root_day
FROM (SELECT unnest(?::integer[]) AS day, unnest(?::bigint[]) AS hash63) AS asked
JOIN identity ON identity.day = asked.day AND identity.hash63 = asked.hash63
WHERE identity.day = ANY(?::integer[])

-- name: lock_identities
SELECT 1 FROM identity
JOIN (SELECT unnest(?::integer[]) AS day, unnest(?::bigint[]) AS hash63) AS asked
ON identity.day = asked.day AND identity.hash63 = asked.hash63
WHERE identity.day = ANY(?::integer[])
ORDER BY identity.day, identity.hash63 FOR UPDATE OF identity

-- name: insert_identities
INSERT INTO identity (day, hash63, seq, fingerprint, root_day)
SELECT unnest(?::integer[]), unnest(?::bigint[]), unnest(?::bigint[]), unnest(?::bytea[]), unnest(?::integer[])
ON CONFLICT (day, hash63) DO NOTHING

-- name: copy_identities
COPY identity (day, hash63, seq, fingerprint, root_day) FROM STDIN

-- name: identity_days
WITH RECURSIVE days (day) AS (
    SELECT min(day) FROM identity
    UNION ALL
    SELECT (SELECT min(identity.day) FROM identity WHERE identity.day > days.day) FROM days WHERE days.day IS NOT NULL
)
SELECT day FROM days WHERE day IS NOT NULL

-- name: find_call_keys
SELECT digest, root, root_day, recorded_at, seen FROM call_key
WHERE day = ANY(?::integer[]) AND digest = ANY(?::bytea[]) ORDER BY day

-- name: put_call_keys
INSERT INTO call_key (day, digest, recorded_at, root, root_day, seen)
SELECT
    unnest(?::integer[]), unnest(?::bytea[]), unnest(?::bigint[]), unnest(?::bigint[]), unnest(?::integer[]),
    unnest(?::integer[])
ON CONFLICT (day, digest) DO UPDATE SET
    recorded_at = excluded.recorded_at, root = excluded.root, root_day = excluded.root_day, seen = excluded.seen

-- name: count_sighting
UPDATE call_key SET seen = seen + 1 WHERE day = ? AND digest = ?

-- name: next_seqs
SELECT nextval('entry_seq') FROM generate_series(1, ?)

-- name: copy_entries
COPY entry ({entry}, xact) FROM STDIN

-- name: insert_entry
INSERT INTO entry ({entry}, xact) VALUES
(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: append_one
SELECT append_one_1(
    ?::integer[], ?::bigint, ?::text, ?::bytea, ?::bigint, ?::bigint, ?::bigint, ?::bigint, ?::smallint, ?::smallint,
    ?::bigint, ?::integer, ?::integer, ?::integer, ?::integer, ?::integer, ?::integer, ?::integer, ?::integer,
    ?::integer, ?::integer, ?::integer, ?::text, ?::text, ?::integer, ?::smallint, ?::smallint, ?::smallint,
    ?::bigint, ?::bigint, ?::integer, ?::bytea, ?::bytea, ?::bigint
)

-- name: entries_by_seq
SELECT {entry} FROM entry WHERE seq = ANY(?::bigint[])

-- Corrections keep the time of what they correct, so an event lies in one day's partition.
-- name: events_on
SELECT {entry} FROM entry
WHERE (seq = ANY(?1::bigint[]) OR corrects = ANY(?1::bigint[])) AND occurred_from >= ?2 AND occurred_from < ?3
ORDER BY seq

-- name: event_entries
SELECT {entry} FROM entry WHERE seq = ?1
UNION ALL
SELECT {entry} FROM entry WHERE corrects = ?1
ORDER BY 1

-- name: job_entries
SELECT {entry} FROM entry WHERE job = ? ORDER BY seq

-- name: page_up
SELECT {entry} FROM entry WHERE seq > ? AND seq <= ? AND {conditions} ORDER BY seq LIMIT ?

-- name: page_down
SELECT {entry} FROM entry WHERE seq <= ? AND seq > ? AND {conditions} ORDER BY seq DESC LIMIT ?

-- Corrections are few and keep the time of what they correct: each day's partial index has them.
-- name: live_only
entry.sign = 1 AND NOT EXISTS (
    SELECT 1 FROM entry AS later
    WHERE later.corrects IS NOT NULL AND later.corrects = coalesce(entry.corrects, entry.seq)
      AND later.occurred_from = entry.occurred_from AND later.seq > entry.seq
)

-- name: live_only_as_of
entry.sign = 1 AND NOT EXISTS (
    SELECT 1 FROM entry AS later
    WHERE later.corrects IS NOT NULL AND later.corrects = coalesce(entry.corrects, entry.seq)
      AND later.occurred_from = entry.occurred_from AND later.seq > entry.seq AND later.recorded_at <= ?
)

-- name: any_of
{column} = ANY (ARRAY(SELECT jsonb_array_elements_text(?::text::jsonb)::bigint))

-- name: any_of_texts
{column} = ANY (ARRAY(SELECT jsonb_array_elements_text(?::text::jsonb)))

-- name: requested
entry.request = ANY (ARRAY(SELECT jsonb_array_elements_text(?::text::jsonb)))

-- name: is_folded
(entry.xact, entry.seq) <= (?, ?)

-- name: to_fold_whole
SELECT {entry} FROM entry WHERE (xact, seq) > (?, ?) ORDER BY xact, seq

-- name: unfolded
SELECT count(*) FROM (SELECT 1 FROM entry WHERE (xact, seq) > (?, ?) LIMIT ?) AS waiting

-- name: overflowing
SELECT EXISTS (SELECT 1 FROM rollup_day WHERE day >= ? AND day < ? AND {column} = ?)

-- name: cells
SELECT {keys}, sum(events), sum(failed), sum(unpriced), sum(incomplete), sum(micro), sum(pico) {spans}
FROM {table} WHERE {conditions} GROUP BY {keys}

-- name: cells_apart
SELECT {keys}, events, failed, unpriced, incomplete, micro, pico FROM {table} WHERE {conditions}

-- name: cells_together
SELECT {keys}, sum(events), sum(failed), sum(unpriced), sum(incomplete), sum(micro), sum(pico)
FROM ({pieces}) AS pieces GROUP BY {keys}

-- name: cells_by_day
SELECT {keys}, sum(events), sum(failed), sum(unpriced), sum(incomplete), sum(micro), sum(pico) {spans}
FROM {table}
WHERE {time} = ANY (ARRAY(SELECT jsonb_array_elements_text(?::text::jsonb)::integer)) AND {conditions} GROUP BY {keys}

-- name: quarter_hours
SELECT min(quarter_hour), max(quarter_hour) FROM rollup_quarter_hour

-- Amounts' smaller parts are never negative, so dividing them floors.
-- name: dearest_cells
SELECT {key}, sum(micro) + div(sum(pico), 1000000) AS micros, sum(pico) % 1000000 AS picos
FROM ({pieces}) AS pieces GROUP BY {key} ORDER BY micros DESC, picos DESC LIMIT ?

-- name: dearest_jobs
SELECT job, micro, pico FROM rollup_job_total
WHERE events <> 0 OR failed <> 0 OR unpriced <> 0 OR incomplete <> 0 OR micro <> 0 OR pico <> 0
ORDER BY micro DESC, pico DESC LIMIT ?

-- name: jobs_span
SELECT min(first_at), max(last_at) FROM rollup_job_total

-- name: quantity_cells
SELECT {keys}, meter, sum(whole), sum(nano) FROM rollup_meter WHERE {conditions} GROUP BY {keys}, meter

-- Beside the last number, what a restore or a failover changes: what the ledger came to before it counts no more.
-- name: standing_of_view
SELECT
    (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM entry_seq),
    concat_ws(
        ' ', (SELECT oid FROM pg_database WHERE datname = current_database()), (SELECT tableoid FROM meta),
        pg_postmaster_start_time()
    )

-- The times, by day, of entries between two watermarks.
-- name: folded_since
SELECT min(occurred_from), max(occurred_from), count(*) FROM (
    SELECT occurred_from FROM entry WHERE (xact, seq) > (?, ?) AND (xact, seq) <= (?, ?) LIMIT ?
) AS folded GROUP BY occurred_from / 86400000000

-- No entry is smaller than 128 bytes, whatever it holds: the fixed columns alone are more.
-- name: most_entries
SELECT coalesce(sum(pg_relation_size(oid)), 0)::bigint / 128 FROM pg_class
WHERE relnamespace = 'outlay'::regnamespace AND relname = ANY(?::text[])

-- name: rollup_days
WITH RECURSIVE days (day) AS (
    SELECT min({time}) FROM {table}
    UNION ALL
    SELECT (SELECT min({table}.{time}) FROM {table} WHERE {table}.{time} > days.day) FROM days WHERE days.day IS NOT NULL
)
SELECT day FROM days WHERE day IS NOT NULL

-- name: entry_cells
SELECT
    {keys},
    sum(sign * calls),
    sum(CASE WHEN status = 1 THEN sign * calls ELSE 0 END),
    sum(CASE WHEN pricing = 2 THEN sign * calls ELSE 0 END),
    sum(CASE WHEN pricing = 1 THEN sign * calls ELSE 0 END),
    sum(sign * micro),
    sum(sign * pico){spans}
FROM {source} WHERE {conditions} GROUP BY {keys}

-- name: entry_spans
, min(occurred_from), max(coalesce(occurred_to, occurred_from))

-- name: scan_entries
SELECT {entry} FROM {source} WHERE {conditions}

-- name: scan_count
SELECT count(*) FROM (SELECT 1 FROM {source} WHERE {conditions} LIMIT ?) AS found

-- name: all_cells
SELECT * FROM {table}

-- name: count_cells
SELECT count(*) FROM {table}

-- name: identities
SELECT
    identity.day, identity.hash63, identity.seq,
    CASE WHEN identity.root_day IS NOT NULL OR (entry.seq IS NULL AND identity.day < meta.horizon)
        THEN identity.fingerprint END,
    entry.id, entry.occurred_from, entry.corrects
FROM meta CROSS JOIN identity LEFT JOIN entry ON entry.seq = identity.seq

-- name: find_identity
SELECT seq, fingerprint FROM identity WHERE day = ? AND hash63 = ?

-- name: count_roots
SELECT count(*) FROM entry WHERE corrects IS NULL

-- name: corrected_roots
SELECT DISTINCT corrects FROM entry WHERE corrects IS NOT NULL

-- name: checkpoints
SELECT day, entries, events, failed, unpriced, incomplete, micro, pico, digest FROM checkpoint ORDER BY day

-- name: add_user_rate
INSERT INTO user_rate (body) VALUES (?)

-- name: user_rates
SELECT body FROM user_rate ORDER BY id

-- name: put_catalogue
INSERT INTO catalogue (id, body, recorded_at) VALUES (?, ?, ?) ON CONFLICT (id) DO NOTHING

-- name: catalogue
SELECT id, body FROM catalogue WHERE id = ?

-- name: catalogues
SELECT id, recorded_at FROM catalogue ORDER BY number

-- name: put_setting
INSERT INTO setting (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value

-- name: setting
SELECT value FROM setting WHERE name = ?

-- name: put_statement
INSERT INTO statement (id, provider, source, period_from, period_to, currency, recorded_at)
VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING

-- name: put_statement_line
INSERT INTO statement_line
    (statement, line, service, resource, occurred_from, occurred_to, cost, quantity, unit, state, entry)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (statement, line) DO NOTHING

-- name: statement_lines
SELECT statement, line, service, resource, occurred_from, occurred_to, cost, quantity, unit, state, entry
FROM statement_line WHERE ?1::text IS NULL OR state = ?1::text ORDER BY number

-- name: put_job_outcome
INSERT INTO job_outcome (job, units, status, recorded_at) VALUES (?, ?, ?, ?)
ON CONFLICT (job) DO UPDATE SET
    units = excluded.units, status = excluded.status, recorded_at = excluded.recorded_at

-- name: job_outcomes
SELECT dimension.name, units, status, recorded_at FROM job_outcome
JOIN dimension ON dimension.id = job_outcome.job ORDER BY job_outcome.job

-- name: job_outcomes_of
SELECT dimension.name, units, status, recorded_at FROM job_outcome
JOIN dimension ON dimension.id = job_outcome.job WHERE dimension.kind = ? AND dimension.name = ANY(?::text[])

-- name: bearers
SELECT count(DISTINCT coalesce(corrects, seq)) FROM entry WHERE {column} = ? OR tags = ANY(?::integer[])

-- name: has_ledger
SELECT to_regclass('outlay.meta')

-- name: standing
SELECT schema, oldest FROM outlay.meta

-- name: begin_migrating
SELECT pg_advisory_xact_lock(1333097836, 0); SET LOCAL search_path = outlay, pg_temp

-- name: begin_ledger
CREATE SCHEMA IF NOT EXISTS outlay

-- name: note_migration
INSERT INTO migration (name) VALUES (?)

-- name: is_noted
SELECT 1 FROM migration WHERE name = ?

-- name: set_schema
UPDATE meta SET schema = ?

-- name: set_oldest
UPDATE meta SET oldest = greatest(oldest, ?)

-- name: tables_named
SELECT relname::text FROM pg_class WHERE relnamespace = 'outlay'::regnamespace AND relname = ANY(?::text[])

-- name: partitions
SELECT to_date(right(relname, 10), 'YYYY_MM_DD') - date '1970-01-01'
FROM pg_class JOIN pg_inherits ON inhrelid = pg_class.oid
WHERE inhparent = 'outlay.entry'::regclass AND relname <> 'entry_default'

-- Attached, not created as a partition: that would hold up everybody who reads. Nobody writes meanwhile; what moves
-- from the default partition is seen by every reader in the one place or the other.
-- name: make_partition
CREATE TABLE {partition} (LIKE {table} INCLUDING DEFAULTS);
WITH moved AS (
    DELETE FROM {table}_default WHERE {column} >= {first} AND {column} < {after} RETURNING *
)
INSERT INTO {partition} SELECT * FROM moved;
ALTER TABLE {table} ATTACH PARTITION {partition} FOR VALUES FROM ({first}) TO ({after})

-- name: lie_in_default
SELECT
    (SELECT count(*) FROM (
        SELECT 1 FROM entry_default WHERE occurred_from >= ?1 AND occurred_from < ?2 LIMIT ?4
    ) AS entries),
    (SELECT count(*) FROM (SELECT 1 FROM identity_default WHERE day = ?3 LIMIT ?4) AS identities)

-- name: lock_fold
SELECT pg_advisory_xact_lock(1333097836, 257)

-- Below this number no transaction of the server can still be running.
-- name: finished_below
SELECT xact_offset + pg_snapshot_xmin(pg_current_snapshot())::text::bigint FROM meta

-- name: fold_chunk
WITH chunk AS (
    SELECT xact, seq, (occurred_from - (occurred_from % 900000000 + 900000000) % 900000000) / 900000000 AS quarter_hour
    FROM entry WHERE (xact, seq) > (?1, ?2) AND xact < ?3 ORDER BY xact, seq LIMIT ?4
)
SELECT
    count(*), (SELECT xact FROM chunk ORDER BY xact DESC, seq DESC LIMIT 1),
    (SELECT seq FROM chunk ORDER BY xact DESC, seq DESC LIMIT 1), array_agg(DISTINCT quarter_hour)
FROM chunk

-- One statement reads the entries once, adds to all rollups but two, and gives the wide one's cells.
-- name: fold
WITH chunk AS MATERIALIZED (
    SELECT
        seq, xact, occurred_from, coalesce(occurred_to, occurred_from) AS occurred_to, home.quarter_hour, home.day,
        provider, service, operation, feature, environment, status, basis, customer, project, team, "user",
        coalesce(job, 0) AS job, sign * calls AS events,
        CASE WHEN status = 1 THEN sign * calls ELSE 0 END AS failed,
        CASE WHEN pricing = 2 THEN sign * calls ELSE 0 END AS unpriced,
        CASE WHEN pricing = 1 THEN sign * calls ELSE 0 END AS incomplete,
        sign * micro AS micro, sign * pico AS pico
    FROM entry JOIN (SELECT unnest(?5::integer[]) AS quarter_hour, unnest(?6::integer[]) AS day) AS home
    ON home.quarter_hour = (occurred_from - (occurred_from % 900000000 + 900000000) % 900000000) / 900000000
    WHERE (xact, seq) > (?1, ?2) AND (xact, seq) <= (?3, ?4)
), {added}
SELECT
    day, provider, service, operation, feature, environment, status, basis,
    sum(events), sum(failed), sum(unpriced), sum(incomplete), sum(micro), sum(pico)
FROM chunk GROUP BY 1, 2, 3, 4, 5, 6, 7, 8 ORDER BY (array_agg(seq ORDER BY xact, seq))[1]

-- name: fold_sum
cells_{table} ({keys}, {measures}) AS MATERIALIZED (SELECT {keys}, {sums} FROM chunk GROUP BY {keys})

-- name: fold_sum_source
cells_{table} AS MATERIALIZED (SELECT {source_cells} FROM cells_{source} GROUP BY {groups})

-- name: fold_added
added_{table} AS (
    INSERT INTO {table} ({keys}, {measures}) SELECT {keys}, {normal} FROM cells_{table}
    ON CONFLICT ({keys}) DO UPDATE SET {additions}
)

-- name: fold_lines
SELECT home.day, provider, service, basis, sign * calls, sign, micro, pico,
    CASE WHEN status = 1 THEN sign * calls ELSE 0 END,
    CASE WHEN pricing = 2 THEN sign * calls ELSE 0 END,
    CASE WHEN pricing = 1 THEN sign * calls ELSE 0 END,
    lines
FROM entry JOIN (SELECT unnest(?5::integer[]) AS quarter_hour, unnest(?6::integer[]) AS day) AS home
ON home.quarter_hour = (occurred_from - (occurred_from % 900000000 + 900000000) % 900000000) / 900000000
WHERE (xact, seq) > (?1, ?2) AND (xact, seq) <= (?3, ?4)

-- name: fold_cells
INSERT INTO {table} ({keys}, {measures}) VALUES ({marks})
ON CONFLICT ({keys}) DO UPDATE SET {additions}

-- name: rollup_values
SELECT day, dimension, value FROM rollup_value WHERE day = ANY(?::integer[])

-- name: insert_rollup_values
INSERT INTO rollup_value (day, dimension, value)
SELECT unnest(?::integer[]), unnest(?::smallint[]), unnest(?::integer[])

-- name: all_rollup_values
SELECT day, dimension, value FROM rollup_value

-- name: set_watermark
UPDATE meta SET folded_xact = ?, folded_seq = ?

-- name: audit_folded
SELECT
    seq, occurred_from, coalesce(occurred_to, occurred_from), provider, service, operation, feature, environment,
    status, basis, customer, project, team, "user", coalesce(job, 0), pricing, calls, sign, micro, pico, lines
FROM entry WHERE (xact, seq) <= (SELECT folded_xact, folded_seq FROM meta) ORDER BY xact, seq

-- name: audit_unfolded
SELECT
    seq, occurred_from, coalesce(occurred_to, occurred_from), provider, service, operation, feature, environment,
    status, basis, customer, project, team, "user", coalesce(job, 0), pricing, calls, sign, micro, pico, lines
FROM entry WHERE (xact, seq) > (SELECT folded_xact, folded_seq FROM meta)

-- name: size
SELECT sum(pg_total_relation_size(oid)) FROM pg_class
WHERE relnamespace = 'outlay'::regnamespace AND relkind IN ('r', 'p', 'm', 'S')

-- name: server_version
SHOW server_version
