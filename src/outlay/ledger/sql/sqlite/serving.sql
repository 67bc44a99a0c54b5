-- name: access_keys
SELECT id, body, used_at FROM access_key ORDER BY id

-- name: access_key
SELECT body FROM access_key WHERE id = ?

-- name: put_access_key
INSERT INTO access_key (id, body) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET body = excluded.body

-- name: note_key_use
UPDATE access_key SET used_at = ?2 WHERE id = ?1 AND (used_at IS NULL OR used_at < ?2)

-- name: log_change
INSERT INTO change_log (at, who, action, subject, detail) VALUES (?, ?, ?, ?, ?)

-- name: logged_changes
SELECT at, who, action, subject, detail, number FROM change_log WHERE number < ? ORDER BY number DESC LIMIT ?

-- name: take_lease
INSERT INTO lease (name, holder, until_at) VALUES (?1, ?2, ?4)
ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until_at = excluded.until_at
WHERE holder = ?2 OR until_at <= ?3
RETURNING holder

-- name: release_lease
DELETE FROM lease WHERE name = ? AND holder = ?

-- name: lease
SELECT name, holder, until_at FROM lease WHERE name = ?

-- name: held_call
SELECT estimate FROM reservation WHERE id = ? AND state = 0

-- name: note
SELECT body FROM note WHERE kind = ? AND id = ?

-- name: put_note
INSERT INTO note (kind, id, at, live, body) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (kind, id) DO UPDATE SET at = excluded.at, live = excluded.live, body = excluded.body

-- name: notes
SELECT body FROM note WHERE kind = ? ORDER BY at DESC, id LIMIT ?

-- name: live_notes
SELECT body FROM note WHERE kind = ? AND live = 1 ORDER BY at DESC, id LIMIT ?
