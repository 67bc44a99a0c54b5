-- The only statements that delete. Entries go by whole UTC days, each into its day's checkpoint in the same
-- transaction; their identities stay for a while, bearing the fingerprint, so that a late retry is known.

-- name: dropped_day_next
SELECT min(day) FROM identity WHERE day > ? AND day < ?

-- name: droppable
SELECT hash63, seq FROM identity
WHERE day = ? AND hash63 > ? AND fingerprint IS NULL ORDER BY hash63 LIMIT ?

-- name: event_for_dropping
SELECT seq, fingerprint, sign, calls, status, pricing, micro, pico, tags FROM entry WHERE seq = ?1
UNION ALL
SELECT seq, fingerprint, sign, calls, status, pricing, micro, pico, tags FROM entry WHERE corrects = ?1
ORDER BY 1

-- name: mark_dropped
UPDATE identity SET fingerprint = ?3 WHERE day = ?1 AND hash63 = ?2

-- name: drop_entry
DELETE FROM entry WHERE seq = ?

-- name: drop_own_tag_set
DELETE FROM tag_set WHERE id = ? AND digest IS NULL

-- name: drop_identities
DELETE FROM identity WHERE (day, hash63) IN (SELECT day, hash63 FROM identity WHERE day < ? LIMIT ?)

-- name: drop_waiter
DELETE FROM waiter WHERE id = ?

-- name: drop_dead_waiters
DELETE FROM waiter WHERE until_at <= ?

-- name: drop_reservations
DELETE FROM reservation
WHERE state <> 0 AND started_at < ? AND (entry IS NULL OR NOT EXISTS (SELECT 1 FROM entry WHERE seq = reservation.entry))

-- name: drop_refusals
DELETE FROM refusal WHERE budget = ?

-- name: drop_call_keys
DELETE FROM call_key
WHERE (day, digest) IN (SELECT day, digest FROM call_key WHERE day < ? ORDER BY day, digest LIMIT ?)

-- name: drop_account
DELETE FROM account
WHERE budget = ? AND scope = ? AND subject = ? AND window = ?
    AND committed_micro = spent_micro AND committed_pico = spent_pico

-- name: drop_waiters
DELETE FROM waiter
