-- The only statements that delete entries. A day's partition goes in one piece, once its checkpoint is written in the
-- same transaction; what lies in the default partition goes by rows. Identities stay for a while, so that a late retry
-- is known.

-- name: drop_call_keys
DELETE FROM call_key
WHERE (day, digest) IN (SELECT day, digest FROM call_key WHERE day < ? ORDER BY day, digest LIMIT ?)

-- name: set_horizon
UPDATE meta SET horizon = greatest(horizon, ?)

-- name: days_to_drop
SELECT DISTINCT (occurred_from - (occurred_from % 86400000000 + 86400000000) % 86400000000) / 86400000000
FROM entry_default WHERE occurred_from < ? ORDER BY 1

-- What a day's entries come to: whole events only, all of whose entries are folded.
-- name: day_to_drop
WITH dropped AS MATERIALIZED (
    SELECT seq, fingerprint, sign, calls, status, pricing, micro, pico, coalesce(corrects, seq) AS root
    FROM {partition} WHERE occurred_from >= ?1 AND occurred_from < ?2
)
SELECT
    count(*), coalesce(sum(sign * calls), 0),
    coalesce(sum(sign * calls) FILTER (WHERE status = 1), 0),
    coalesce(sum(sign * calls) FILTER (WHERE pricing = 2), 0),
    coalesce(sum(sign * calls) FILTER (WHERE pricing = 1), 0),
    coalesce(sum(sign * micro), 0), coalesce(sum(sign * pico), 0),
    sha256(coalesce(string_agg(
        fingerprint || int8send(seq) || int8send(sign * micro) || int8send(sign * pico), ''::bytea ORDER BY root, seq
    ), ''::bytea)),
    max(seq)
FROM dropped

-- name: any_since
SELECT EXISTS (SELECT 1 FROM {partition} WHERE (xact, seq) > (?, ?))

-- name: put_checkpoint
INSERT INTO checkpoint (day, entries, events, failed, unpriced, incomplete, micro, pico, digest)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (day) DO UPDATE SET
    entries = excluded.entries, events = excluded.events, failed = excluded.failed, unpriced = excluded.unpriced,
    incomplete = excluded.incomplete, micro = excluded.micro, pico = excluded.pico, digest = excluded.digest

-- name: checkpoint
SELECT entries, events, failed, unpriced, incomplete, micro, pico, digest FROM checkpoint WHERE day = ?

-- name: own_tag_sets
SELECT DISTINCT tag_set.id FROM {partition} AS entry JOIN tag_set ON tag_set.id = entry.tags
WHERE tag_set.digest IS NULL AND entry.occurred_from >= ?1 AND entry.occurred_from < ?2

-- name: drop_own_tag_sets
DELETE FROM tag_set WHERE id = ANY(?::integer[]) AND digest IS NULL

-- name: drop_partition
DROP TABLE {partition}

-- name: drop_rows
DELETE FROM entry_default WHERE occurred_from >= ?1 AND occurred_from < ?2

-- name: identity_partitions
SELECT relname::text, to_date(right(relname, 10), 'YYYY_MM_DD') - date '1970-01-01'
FROM pg_class JOIN pg_inherits ON inhrelid = pg_class.oid
WHERE inhparent = 'outlay.identity'::regclass AND relname <> 'identity_default'

-- name: drop_identities
DELETE FROM identity WHERE day < ?

-- name: drop_reservations
DELETE FROM reservation
WHERE state <> 0 AND started_at < ? AND (entry IS NULL OR NOT EXISTS (SELECT 1 FROM entry WHERE seq = reservation.entry))
