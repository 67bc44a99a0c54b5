-- What servers share: access keys, the log of changes, leases.

-- name: access_keys
SELECT id, body, used_at FROM access_key ORDER BY id

-- name: access_key
SELECT body FROM access_key WHERE id = ? FOR UPDATE

-- name: insert_access_key
INSERT INTO access_key (id, body) VALUES (?, ?) ON CONFLICT (id) DO NOTHING

-- name: put_access_key
UPDATE access_key SET body = ?2 WHERE id = ?1 AND body = ?3

-- name: note_key_uses
UPDATE access_key SET used_at = used.at
FROM (SELECT unnest(?::text[]) AS id, unnest(?::bigint[]) AS at) AS used
WHERE access_key.id = used.id AND (access_key.used_at IS NULL OR access_key.used_at < used.at)

-- name: log_change
INSERT INTO change_log (at, who, action, subject, detail) VALUES (?, ?, ?, ?, ?)

-- name: logged_changes
SELECT at, who, action, subject, detail, number FROM change_log WHERE number < ? ORDER BY number DESC LIMIT ?

-- name: take_lease
INSERT INTO lease AS kept (name, holder, until_at) VALUES (?1, ?2, ?4)
ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until_at = excluded.until_at
WHERE kept.holder = ?2 OR kept.until_at <= ?3
RETURNING holder

-- name: release_lease
DELETE FROM lease WHERE name = ? AND holder = ?

-- name: lease
SELECT name, holder, until_at FROM lease WHERE name = ?

-- name: held_call
SELECT estimate FROM reservation WHERE id = ? AND state = 0

-- name: note
SELECT body FROM note WHERE kind = ? AND id = ?

-- name: insert_note
INSERT INTO note (kind, id, at, live, body) VALUES (?, ?, ?, ?, ?) ON CONFLICT (kind, id) DO NOTHING

-- name: put_note
UPDATE note SET at = ?3, live = ?4, body = ?5 WHERE kind = ?1 AND id = ?2 AND body = ?6

-- name: notes
SELECT body FROM note WHERE kind = ? ORDER BY at DESC, id LIMIT ?

-- name: live_notes
SELECT body FROM note WHERE kind = ? AND live ORDER BY at DESC, id LIMIT ?
