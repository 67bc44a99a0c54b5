-- Every statement about budgets, accounts and reservations, each under its name.

-- name: budgets_changed
SELECT coalesce(max(changed), 0) FROM budget

-- name: budgets
SELECT name, body, active FROM budget ORDER BY name

-- name: put_budget
INSERT INTO budget (name, body, active, changed) VALUES (?, ?, ?, ?)
ON CONFLICT (name) DO UPDATE SET body = excluded.body, active = excluded.active, changed = excluded.changed

-- name: scopes_of
SELECT scope, window_name, active FROM account_scope WHERE budget = ?

-- name: put_scope
INSERT INTO account_scope (budget, scope, window_name, active, warm, until_seq, from_at) VALUES (?, ?, ?, 1, 0, ?, ?)
ON CONFLICT DO UPDATE SET
    active = 1, warm = 0, until_seq = excluded.until_seq, from_at = excluded.from_at

-- name: end_scope
UPDATE account_scope SET active = 0 WHERE budget = ? AND scope = ? AND window_name = ?

-- name: cold_scopes
SELECT budget, scope, window_name, until_seq, from_at FROM account_scope WHERE active = 1 AND warm = 0

-- name: warm_scope
UPDATE account_scope SET warm = 1
WHERE budget = ? AND scope = ? AND window_name = ? AND active = 1 AND warm = 0 AND until_seq = ?

-- name: is_cold
SELECT 1 FROM account_scope WHERE budget = ? AND scope = ? AND window_name = ? AND warm = 0

-- name: warm_scopes
SELECT budget, scope, window_name, from_at FROM account_scope WHERE active = 1 AND warm = 1

-- name: to_warm
SELECT * FROM entry WHERE seq > ? AND seq <= ? AND coalesce(counted_at, occurred_from) >= ? ORDER BY seq LIMIT ?

-- name: account
SELECT committed_micro, committed_pico, spent_micro, spent_pico, refusals
FROM account WHERE budget = ? AND scope = ? AND subject = ? AND window = ?

-- name: insert_account
INSERT INTO account VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: update_account
UPDATE account SET committed_micro = ?, committed_pico = ?, spent_micro = ?, spent_pico = ?, refusals = ?
WHERE budget = ? AND scope = ? AND subject = ? AND window = ?

-- name: accounts_of
SELECT subject, window, window_name, committed_micro, committed_pico, spent_micro, spent_pico, refusals
FROM account WHERE budget = ? AND scope = ? AND from_at <= ?3 AND to_at > ?3 LIMIT ?

-- name: accounts_of_scope
SELECT
    subject, window, from_at, to_at, committed_micro, committed_pico, spent_micro, spent_pico, refusals
FROM account WHERE budget = ? AND scope = ? AND window_name = ?

-- name: all_accounts
SELECT
    budget, scope, subject, window, window_name, from_at, to_at,
    committed_micro, committed_pico, spent_micro, spent_pico, refusals
FROM account

-- name: rename_accounts
UPDATE OR IGNORE account SET subject = ?3 WHERE budget = ?1 AND subject = ?2

-- name: rename_outbox
UPDATE OR IGNORE outbox SET subject = ?3 WHERE budget = ?1 AND subject = ?2

-- name: put_subject
INSERT INTO subject (kind, name, tier) VALUES (?, ?, ?) ON CONFLICT (kind, name) DO UPDATE SET tier = excluded.tier

-- name: tier
SELECT tier FROM subject WHERE kind = ? AND name = ?

-- name: rename_subject
UPDATE OR IGNORE subject SET name = ?3 WHERE kind = ?1 AND name = ?2

-- name: reservation
SELECT state, fingerprint, started_at, deadline, shares, entry FROM reservation WHERE id = ?

-- name: reserving
SELECT
    epoch, watermark, horizon, (SELECT max(seq) FROM entry),
    (SELECT min(deadline) FROM reservation WHERE state = 0),
    EXISTS (SELECT 1 FROM waiter),
    EXISTS (SELECT 1 FROM reservation WHERE id = ?)
FROM meta

-- name: overdue
SELECT id, shares, estimate FROM reservation WHERE state = 0 AND deadline <= ? ORDER BY deadline LIMIT 100

-- name: put_reservation
INSERT INTO reservation (id, fingerprint, state, started_at, deadline, shares, estimate) VALUES (?, ?, 0, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET
    fingerprint = excluded.fingerprint, state = 0, started_at = excluded.started_at, deadline = excluded.deadline,
    shares = excluded.shares, estimate = excluded.estimate, entry = NULL

-- name: end_reservation
UPDATE reservation SET state = ?2, entry = ?3, estimate = NULL WHERE id = ?1

-- name: extend_reservation
UPDATE reservation SET deadline = ? WHERE id = ?

-- name: held_shares
SELECT shares FROM reservation WHERE state = 0

-- name: ended_shares
SELECT entry, shares FROM reservation WHERE entry IS NOT NULL

-- name: all_shares
SELECT id, shares FROM reservation

-- name: put_shares
UPDATE reservation SET shares = ?2 WHERE id = ?1

-- name: waiters
SELECT id, accounts FROM waiter WHERE until_at > ? ORDER BY number

-- name: put_waiter
INSERT INTO waiter (id, accounts, until_at) VALUES (?, ?, ?)
ON CONFLICT (id) DO UPDATE SET until_at = excluded.until_at

-- name: put_outbox
INSERT INTO outbox (kind, at, budget, scope, subject, window, what, amount_micro, amount_pico)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING

-- name: outbox
SELECT number, kind, at, budget, scope, subject, window, what, amount_micro, amount_pico FROM outbox WHERE number > ?
ORDER BY number

-- name: count_refusal
INSERT INTO refusal_count (budget, refused) VALUES (?, 1)
ON CONFLICT (budget) DO UPDATE SET refused = refused + 1 RETURNING refused

-- name: refusal_count
SELECT refused FROM refusal_count WHERE budget = ?

-- name: put_refusal
INSERT INTO refusal (budget, place, number, body) VALUES (?, ?, ?, ?)
ON CONFLICT (budget, place) DO UPDATE SET number = excluded.number, body = excluded.body

-- name: refusals
SELECT body FROM refusal WHERE budget = ? ORDER BY number DESC

-- name: count_cold_scopes
SELECT count(*) FROM account_scope WHERE active = 1 AND warm = 0

-- name: first_entry
SELECT coalesce(min(seq), 0) FROM entry

-- name: to_warm_between
SELECT * FROM entry WHERE seq > ? AND seq <= ? AND coalesce(counted_at, occurred_from) >= ? ORDER BY seq

-- name: warm_down_to
UPDATE account_scope SET until_seq = ?5
WHERE budget = ?1 AND scope = ?2 AND window_name = ?3 AND active = 1 AND warm = 0 AND until_seq = ?4

-- name: fullest
SELECT
    account.subject, account.window, account.committed_micro, account.committed_pico, account.spent_micro,
    account.spent_pico, account.refusals
FROM account LEFT JOIN subject ON subject.kind = ?6 AND subject.name = account.subject
WHERE account.budget = ?1 AND account.scope = ?2 AND account.window_name = ?3
    AND account.from_at <= ?4 AND account.to_at > ?4
    AND (?7 IS NULL OR coalesce(subject.tier, '') = ?7)
    AND coalesce(subject.tier, '') NOT IN (SELECT value FROM json_each(?8))
ORDER BY account.spent_micro DESC, account.spent_pico DESC, account.subject
LIMIT ?5

-- name: accounts_over
SELECT budget, scope, subject, window FROM account
WHERE (budget, scope, subject, window) > (?1, ?2, ?3, ?4)
    AND to_at + min(max(to_at - from_at, ?6), ?7) <= ?5
    AND committed_micro = spent_micro AND committed_pico = spent_pico
ORDER BY budget, scope, subject, window
LIMIT ?8

-- name: rename_account_scope
UPDATE account_scope SET scope = ?3 WHERE budget = ?1 AND scope = ?2

-- name: move_accounts
UPDATE account SET scope = ?3 WHERE budget = ?1 AND scope = ?2

-- name: move_outbox
UPDATE OR IGNORE outbox SET scope = ?3 WHERE budget = ?1 AND scope = ?2

-- name: numbered_refusals
SELECT place, number, body FROM refusal WHERE budget = ?
