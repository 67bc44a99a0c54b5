-- The only statements that delete entries. A day's partition goes in one piece, once its checkpoint is written in the
-- same transaction; what lies in the default partition goes by rows. Identities stay for a while, so that a late retry
-- is known.

-- name: drop_call_keys
DELETE FROM call_key
WHERE (day, digest) IN (SELECT day, digest FROM call_key WHERE day < ? ORDER BY day, digest LIMIT ?)
