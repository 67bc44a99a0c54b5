-- Reading and filling a ledger as a whole.

-- name: filled_to
SELECT coalesce(max(seq), 0) FROM entry

-- name: count_entries
SELECT count(*) FROM entry

-- A fingerprint of its own says here that the entry was dropped, or that another capture had booked the call.
-- name: move_identities
SELECT
    identity.day, identity.hash63, identity.seq, coalesce(identity.fingerprint, entry.fingerprint),
    CASE WHEN identity.fingerprint IS NOT NULL AND entry.seq IS NOT NULL THEN entry.occurred_from / 86400000000 END
FROM identity LEFT JOIN entry ON entry.seq = identity.seq
ORDER BY identity.day, identity.hash63

-- name: put_moved_identity
INSERT OR IGNORE INTO identity (day, hash63, seq, fingerprint)
SELECT ?1, ?2, ?3, CASE WHEN ?5 IS NULL AND EXISTS (SELECT 1 FROM entry WHERE seq = ?3) THEN NULL ELSE ?4 END

-- name: move_call_keys
SELECT call_key.day, digest, call_key.recorded_at, root, entry.occurred_from / 86400000000, seen
FROM call_key JOIN entry ON entry.seq = root
ORDER BY call_key.day, digest

-- name: put_moved_call_key
INSERT INTO call_key (day, digest, recorded_at, root, seen) SELECT ?1, ?2, ?3, ?4, ?6 WHERE ?5 IS NOT NULL

-- name: make_spans
INSERT OR REPLACE INTO span (block, first_at, last_at)
SELECT seq >> 10, min(occurred_from), max(occurred_from) FROM entry GROUP BY 1

-- name: set_meta
UPDATE meta SET currency = ?1, zone = ?2, epoch = ?3, watermark = ?4, horizon = ?5

-- name: sum_source
INSERT INTO {table} ({keys}, {measures})
SELECT {keys}, {normal} FROM (
    SELECT {source_cells} FROM {source} GROUP BY {groups}
) AS summed
