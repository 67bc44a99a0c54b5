-- Reading and filling a ledger as a whole.

-- name: filled_to
SELECT coalesce(max(seq), 0) FROM entry

-- name: count_entries
SELECT count(*)::bigint FROM entry

-- name: fill_entries
CREATE TEMPORARY TABLE fill (LIKE outlay.entry) ON COMMIT DROP

-- Whoever filled before and was stopped has left some of them here.
-- name: filled_entries
INSERT INTO outlay.entry SELECT fill.* FROM fill
WHERE NOT EXISTS (SELECT FROM outlay.entry AS there WHERE there.seq = fill.seq AND there.occurred_from = fill.occurred_from)

-- name: fill_identities
CREATE TEMPORARY TABLE fill (LIKE outlay.identity) ON COMMIT DROP

-- name: filled_identities
INSERT INTO outlay.identity SELECT * FROM fill ON CONFLICT DO NOTHING

-- name: set_meta
UPDATE meta SET currency = ?1, zone = ?2, epoch = ?3, folded_xact = ?6, folded_seq = ?4, horizon = ?5

-- name: set_entry_seq
SELECT setval('outlay.entry_seq', greatest(?::bigint, 1), ?::bigint > 0)

-- name: numbered_tables
SELECT attrelid::regclass::text, attname::text, pg_get_serial_sequence(attrelid::regclass::text, attname)
FROM pg_attribute WHERE attidentity <> '' AND attrelid::regclass::text = ANY(?::text[])

-- name: sum_source
INSERT INTO {table} ({keys}, {measures})
SELECT {keys}, {normal} FROM (
    SELECT {source_cells} FROM {source} GROUP BY {groups}
) AS summed
