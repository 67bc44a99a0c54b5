-- Every statement of the SQLite store but its deletions, each under its name. A {word} is filled with
-- identifiers of this package only, never with a value: values are always bound.

-- name: count_tables
SELECT count(*) FROM sqlite_master

-- name: insert_meta
INSERT INTO meta (one, currency, zone, epoch, watermark, horizon) VALUES (1, ?, ?, 1, 0, -1000000)

-- name: meta
SELECT epoch, watermark, horizon, (SELECT max(seq) FROM entry) FROM meta

-- name: currency_and_zone
SELECT currency, zone FROM meta

-- name: epoch
SELECT epoch FROM meta

-- name: raise_epoch
UPDATE meta SET epoch = epoch + 1 RETURNING epoch

-- name: set_watermark
UPDATE meta SET watermark = ?

-- name: set_horizon
UPDATE meta SET horizon = max(horizon, ?)

-- name: dimension_id
SELECT id FROM dimension WHERE kind = ? AND name = ?

-- name: dimension_name
SELECT name FROM dimension WHERE id = ?

-- name: dimension_names
SELECT id, name FROM dimension WHERE id IN (SELECT value FROM json_each(?))

-- name: intern_dimension
INSERT INTO dimension (kind, name) VALUES (?, ?) ON CONFLICT (kind, name) DO NOTHING RETURNING id

-- name: rename_dimension
UPDATE dimension SET name = ?3 WHERE kind = ?1 AND name = ?2 RETURNING id

-- name: intern_rate
INSERT INTO rate (digest, body) VALUES (?, ?) ON CONFLICT (digest) DO UPDATE SET digest = digest RETURNING id

-- name: rate_body
SELECT body FROM rate WHERE id = ?

-- name: tag_set_id
SELECT id FROM tag_set WHERE digest = ?

-- name: tag_set_body
SELECT body FROM tag_set WHERE id = ?

-- name: tag_sets
SELECT id, body FROM tag_set

-- name: insert_tag_set
INSERT INTO tag_set (digest, body) VALUES (?, ?) RETURNING id

-- name: rename_tag_set
UPDATE tag_set SET digest = iif(digest IS NULL, NULL, ?2), body = ?3 WHERE id = ?1

-- name: tag_sets_interned
SELECT interned FROM tag_day WHERE day = ?

-- name: count_tag_set
INSERT INTO tag_day (day, interned) VALUES (?, 1) ON CONFLICT (day) DO UPDATE SET interned = interned + 1

-- name: find_identity
SELECT seq, fingerprint FROM identity WHERE day = ? AND hash63 = ?

-- name: insert_identity
INSERT INTO identity (day, hash63, seq) VALUES (?, ?, ?) ON CONFLICT DO NOTHING

-- name: identity_days
WITH RECURSIVE days (day) AS (
    SELECT min(day) FROM identity
    UNION ALL
    SELECT (SELECT min(day) FROM identity WHERE day > days.day) FROM days WHERE days.day IS NOT NULL
)
SELECT day FROM days WHERE day IS NOT NULL

-- name: insert_alias
INSERT INTO identity (day, hash63, seq, fingerprint) VALUES (?, ?, ?, ?)

-- name: find_call_key
-- The days come newest first. An IN would put them into a table of its own each time, which takes twice as long.
SELECT root, recorded_at, day FROM call_key WHERE day = ?1 AND digest = ?5
UNION ALL SELECT root, recorded_at, day FROM call_key WHERE day = ?2 AND digest = ?5
UNION ALL SELECT root, recorded_at, day FROM call_key WHERE day = ?3 AND digest = ?5
UNION ALL SELECT root, recorded_at, day FROM call_key WHERE day = ?4 AND digest = ?5
LIMIT 1

-- name: put_call_key
INSERT OR REPLACE INTO call_key (day, digest, recorded_at, root, seen) VALUES (?, ?, ?, ?, 0)

-- name: count_sighting
UPDATE call_key SET seen = seen + 1 WHERE day = ? AND digest = ?

-- name: insert_entry
INSERT INTO entry VALUES
(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: entry
SELECT * FROM entry WHERE seq = ?

-- name: event_entries
SELECT * FROM entry WHERE seq = ?1
UNION ALL
SELECT * FROM entry WHERE corrects = ?1
ORDER BY 1

-- name: entries_after
SELECT * FROM entry WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?

-- name: job_entries
SELECT * FROM entry WHERE job = ? ORDER BY seq

-- name: page_up
SELECT * FROM entry WHERE seq > ? AND seq <= ? AND {conditions} ORDER BY seq LIMIT ?

-- name: page_down
SELECT * FROM entry WHERE seq <= ? AND seq > ? AND {conditions} ORDER BY seq DESC LIMIT ?

-- Through the index, which begins with the day.
-- name: requested
entry.seq IN (
    WITH RECURSIVE days (day) AS (
        SELECT min(occurred_from / 86400000000) FROM entry WHERE request IS NOT NULL
        UNION ALL
        SELECT (
            SELECT min(occurred_from / 86400000000) FROM entry
            WHERE request IS NOT NULL AND occurred_from / 86400000000 > days.day
        ) FROM days WHERE days.day IS NOT NULL
    )
    SELECT asked.seq FROM days CROSS JOIN entry AS asked
    WHERE asked.occurred_from / 86400000000 = days.day
      AND asked.request IS NOT NULL AND asked.request IN (SELECT value FROM json_each(?))
)

-- name: live_only
entry.sign = 1 AND NOT EXISTS (
    SELECT 1 FROM entry AS later
    WHERE later.corrects = coalesce(entry.corrects, entry.seq) AND later.seq > entry.seq
)

-- name: live_only_as_of
entry.sign = 1 AND NOT EXISTS (
    SELECT 1 FROM entry AS later
    WHERE later.corrects = coalesce(entry.corrects, entry.seq) AND later.seq > entry.seq AND later.recorded_at <= ?
)

-- name: audit_folded
SELECT
    seq, occurred_from, coalesce(occurred_to, occurred_from), provider, service, operation, feature, environment,
    status, basis, customer, project, team, user, coalesce(job, 0), pricing, calls, sign, micro, pico, lines
FROM entry WHERE seq <= (SELECT watermark FROM meta) ORDER BY seq

-- name: audit_unfolded
SELECT
    seq, occurred_from, coalesce(occurred_to, occurred_from), provider, service, operation, feature, environment,
    status, basis, customer, project, team, user, coalesce(job, 0), pricing, calls, sign, micro, pico, lines
FROM entry WHERE seq > (SELECT watermark FROM meta) ORDER BY seq

-- name: fold_cells
INSERT INTO main.{table} ({keys}, {measures}) VALUES ({marks})
ON CONFLICT ({keys}) DO UPDATE SET {additions}

-- name: fold_tables
CREATE TEMP TABLE IF NOT EXISTS fold_entry (
    seq INTEGER PRIMARY KEY, occurred_from INTEGER, occurred_to INTEGER, quarter_hour INTEGER, day INTEGER,
    provider INTEGER, service INTEGER, operation INTEGER, feature INTEGER, environment INTEGER,
    status INTEGER, basis INTEGER, customer INTEGER, project INTEGER, team INTEGER, user INTEGER, job INTEGER,
    pricing INTEGER, sign INTEGER,
    events INTEGER, failed INTEGER, unpriced INTEGER, incomplete INTEGER, micro INTEGER, pico INTEGER, lines BLOB
);
CREATE TEMP TABLE IF NOT EXISTS fold_day (quarter_hour INTEGER PRIMARY KEY, day INTEGER NOT NULL)

-- name: fold_cells_table
CREATE TEMP TABLE IF NOT EXISTS fold_{table} ({columns})

-- name: fold_new_quarter_hours
SELECT DISTINCT (occurred_from - (occurred_from % 900000000 + 900000000) % 900000000) / 900000000
FROM (SELECT occurred_from FROM main.entry WHERE seq > ? ORDER BY seq LIMIT ?)
EXCEPT SELECT quarter_hour FROM temp.fold_day

-- name: fold_add_day
INSERT INTO temp.fold_day (quarter_hour, day) VALUES (?, ?)

-- name: fold_take
DELETE FROM temp.fold_entry;
INSERT INTO temp.fold_entry
SELECT
    seq, occurred_from, coalesce(occurred_to, occurred_from), fold_day.quarter_hour, fold_day.day,
    provider, service, operation, feature, environment, status, basis, customer, project, team, user,
    coalesce(job, 0), pricing, sign,
    sign * calls, iif(status = 1, sign * calls, 0), iif(pricing = 2, sign * calls, 0), iif(pricing = 1, sign * calls, 0),
    sign * micro, sign * pico, lines
FROM main.entry CROSS JOIN temp.fold_day
WHERE fold_day.quarter_hour = (occurred_from - (occurred_from % 900000000 + 900000000) % 900000000) / 900000000
  AND seq > ? ORDER BY seq LIMIT ?

-- name: fold_taken
SELECT count(*), max(seq) FROM temp.fold_entry

-- name: fold_sum
DELETE FROM temp.fold_{table};
INSERT INTO temp.fold_{table} ({keys}, {measures}) SELECT {keys}, {sums} FROM temp.fold_entry GROUP BY {keys}

-- name: fold_sum_source
DELETE FROM temp.fold_{table};
INSERT INTO temp.fold_{table} ({keys}, {measures}) SELECT {source_cells} FROM temp.fold_{source} GROUP BY {groups}

-- name: fold_wide
SELECT
    day, provider, service, operation, feature, environment, status, basis,
    sum(events), sum(failed), sum(unpriced), sum(incomplete), sum(micro), sum(pico)
FROM temp.fold_entry GROUP BY 1, 2, 3, 4, 5, 6, 7, 8 ORDER BY min(seq)

-- One row a place, not one an entry: each step of a statement gives the interpreter away, and a thread that
-- computes beside the fold would give it back only after its time slice.
-- name: fold_lines
SELECT day, provider, service, basis,
    json_group_array(json_array(events, sign, micro, pico, failed, unpriced, incomplete, hex(lines)))
FROM temp.fold_entry GROUP BY 1, 2, 3, 4

-- name: fold_add
INSERT INTO main.{table} ({keys}, {measures}) SELECT {keys}, {normal} FROM temp.fold_{table} WHERE true
ON CONFLICT ({keys}) DO UPDATE SET {additions}

-- name: fold_spans
INSERT INTO main.span (block, first_at, last_at)
SELECT seq >> 10, min(occurred_from), max(occurred_from) FROM temp.fold_entry GROUP BY 1
ON CONFLICT (block) DO UPDATE SET
    first_at = min(first_at, excluded.first_at), last_at = max(last_at, excluded.last_at)

-- name: rollup_values
SELECT dimension, value FROM rollup_value WHERE day = ?

-- name: insert_rollup_value
INSERT INTO rollup_value (day, dimension, value) VALUES (?, ?, ?)

-- name: all_rollup_values
SELECT day, dimension, value FROM rollup_value

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
FROM json_each(?) AS days CROSS JOIN {table} ON {table}.{time} = days.value AND {conditions} GROUP BY {keys}

-- name: quarter_hours
SELECT
    (SELECT min(quarter_hour) FROM rollup_quarter_hour),
    (SELECT max(quarter_hour) FROM rollup_quarter_hour)

-- Amounts' smaller parts are never negative, so dividing them floors.
-- name: dearest_cells
SELECT {key}, sum(micro) + sum(pico) / 1000000 AS micros, sum(pico) % 1000000 AS picos
FROM ({pieces}) AS pieces GROUP BY {key} ORDER BY micros DESC, picos DESC LIMIT ?

-- name: dearest_jobs
SELECT job, micro, pico FROM rollup_job_total
WHERE events <> 0 OR failed <> 0 OR unpriced <> 0 OR incomplete <> 0 OR micro <> 0 OR pico <> 0
ORDER BY micro DESC, pico DESC LIMIT ?

-- name: jobs_span
SELECT min(first_at), max(last_at) FROM rollup_job_total

-- name: quantity_cells
SELECT {keys}, meter, sum(whole), sum(nano) FROM rollup_meter WHERE {conditions} GROUP BY {keys}, meter

-- name: rollup_days
WITH RECURSIVE days (day) AS (
    SELECT min({time}) FROM {table}
    UNION ALL
    SELECT (SELECT min({time}) FROM {table} WHERE {time} > days.day) FROM days WHERE days.day IS NOT NULL
)
SELECT day FROM days WHERE day IS NOT NULL

-- name: entry_cells
SELECT
    {keys},
    sum(sign * calls),
    sum(iif(status = 1, sign * calls, 0)),
    sum(iif(pricing = 2, sign * calls, 0)),
    sum(iif(pricing = 1, sign * calls, 0)),
    sum(sign * micro),
    sum(sign * pico){spans}
FROM {source} WHERE {conditions} GROUP BY {keys}

-- name: entry_spans
, min(occurred_from), max(coalesce(occurred_to, occurred_from))

-- name: scan_entries
SELECT entry.* FROM {source} WHERE {conditions}

-- name: scan_count
SELECT count(*) FROM (SELECT 1 FROM {source} WHERE {conditions} LIMIT ?)

-- name: all_cells
SELECT * FROM {table}

-- name: count_cells
SELECT count(*) FROM {table}

-- name: identities
SELECT identity.day, identity.hash63, identity.seq, identity.fingerprint, entry.id, entry.occurred_from, entry.corrects
FROM identity LEFT JOIN entry ON entry.seq = identity.seq

-- name: count_roots
SELECT count(*) FROM entry WHERE corrects IS NULL

-- name: corrected_roots
SELECT DISTINCT corrects FROM entry WHERE corrects IS NOT NULL

-- name: checkpoints
SELECT day, entries, events, failed, unpriced, incomplete, micro, pico, digest FROM checkpoint ORDER BY day

-- name: checkpoint
SELECT entries, events, failed, unpriced, incomplete, micro, pico, digest FROM checkpoint WHERE day = ?

-- name: put_checkpoint
INSERT INTO checkpoint (day, entries, events, failed, unpriced, incomplete, micro, pico, digest)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (day) DO UPDATE SET
    entries = excluded.entries, events = excluded.events, failed = excluded.failed, unpriced = excluded.unpriced,
    incomplete = excluded.incomplete, micro = excluded.micro, pico = excluded.pico, digest = excluded.digest

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
FROM statement_line WHERE ?1 IS NULL OR state = ?1 ORDER BY number

-- name: put_job_outcome
INSERT INTO job_outcome (job, units, status, recorded_at) VALUES (?, ?, ?, ?)
ON CONFLICT (job) DO UPDATE SET
    units = excluded.units, status = excluded.status, recorded_at = excluded.recorded_at

-- name: job_outcomes
SELECT dimension.name, units, status, recorded_at FROM job_outcome
JOIN dimension ON dimension.id = job_outcome.job ORDER BY job_outcome.job

-- name: job_outcome
SELECT units, status, recorded_at FROM job_outcome
WHERE job = (SELECT id FROM dimension WHERE kind = ? AND name = ?)

-- name: bearers
SELECT count(DISTINCT coalesce(corrects, seq)) FROM entry
WHERE {column} = ? OR tags IN (SELECT value FROM json_each(?))

-- name: to_fold_whole
SELECT * FROM entry WHERE seq > ? ORDER BY seq

-- name: blocks
SELECT block FROM span WHERE last_at >= ? AND first_at < ? ORDER BY block

-- name: spans_since
SELECT first_at, last_at FROM span WHERE block >= ?

-- name: runs_of_entries
json_each(?) AS run CROSS JOIN entry
ON entry.seq BETWEEN json_extract(run.value, '$[0]') AND json_extract(run.value, '$[1]')

-- name: any_of
{column} IN (SELECT value FROM json_each(?))

-- name: any_of_texts
{column} IN (SELECT value FROM json_each(?))

-- name: is_folded
entry.seq <= ?
