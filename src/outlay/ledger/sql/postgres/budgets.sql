-- Every statement about budgets, accounts and reservations, each under its name.
-- Locks are taken in one order: reservations by id, names, identities, the rest, accounts by key.

-- name: budgets_changed
SELECT coalesce(max(changed), 0) FROM budget

-- name: budgets
SELECT name, body, active FROM budget ORDER BY name COLLATE "C"

-- name: put_budget
INSERT INTO budget (name, body, active, changed) VALUES (?, ?, ?, ?)
ON CONFLICT (name) DO UPDATE SET body = excluded.body, active = excluded.active, changed = excluded.changed

-- name: scopes_of
SELECT scope, window_name, active FROM account_scope WHERE budget = ?

-- name: put_scope
INSERT INTO account_scope (budget, scope, window_name, active, warm, until_seq, from_at)
VALUES (?, ?, ?, true, false, ?, ?)
ON CONFLICT (budget, scope, window_name) DO UPDATE SET
    active = true, warm = false, until_seq = excluded.until_seq, from_at = excluded.from_at

-- name: end_scope
UPDATE account_scope SET active = false WHERE budget = ? AND scope = ? AND window_name = ?

-- name: cold_scopes
SELECT budget, scope, window_name, until_seq, from_at FROM account_scope WHERE active AND NOT warm

-- name: warm_scope
UPDATE account_scope SET warm = true
WHERE budget = ? AND scope = ? AND window_name = ? AND active AND NOT warm AND until_seq = ?

-- name: is_cold
SELECT 1 FROM account_scope WHERE budget = ? AND scope = ? AND window_name = ? AND NOT warm

-- name: warm_scopes
SELECT budget, scope, window_name, from_at FROM account_scope WHERE active AND warm

-- Whoever warms holds the scopes, so that no history is added twice.
-- name: lock_cold_scopes
SELECT budget, scope, window_name, until_seq, from_at FROM account_scope WHERE active AND NOT warm
ORDER BY budget COLLATE "C", scope COLLATE "C", window_name COLLATE "C" FOR UPDATE

-- name: count_cold_scopes
SELECT count(*)::bigint FROM account_scope WHERE active AND NOT warm

-- name: warm_down_to
UPDATE account_scope SET until_seq = ?5
WHERE budget = ?1 AND scope = ?2 AND window_name = ?3 AND active AND NOT warm AND until_seq = ?4

-- name: first_entry
SELECT coalesce(min(seq), 0) FROM entry

-- name: to_warm
SELECT {entry} FROM entry
WHERE seq > ? AND seq <= ? AND coalesce(counted_at, occurred_from) >= ? ORDER BY seq LIMIT ?

-- name: to_warm_between
SELECT {entry} FROM entry
WHERE seq > ? AND seq <= ? AND coalesce(counted_at, occurred_from) >= ? ORDER BY seq

-- name: account
SELECT committed_micro, committed_pico, spent_micro, spent_pico, refusals
FROM account WHERE budget = ? AND scope = ? AND subject = ? AND "window" = ?

-- name: count
SELECT count_1(?::jsonb, ?::jsonb)

-- name: accounts_of
SELECT subject, "window", window_name, committed_micro, committed_pico, spent_micro, spent_pico, refusals
FROM account WHERE budget = ?1 AND scope = ?2 AND from_at <= ?3 AND to_at > ?3
ORDER BY subject COLLATE "C", "window" COLLATE "C" LIMIT ?4

-- name: fullest
SELECT
    account.subject, account."window", account.committed_micro, account.committed_pico, account.spent_micro,
    account.spent_pico, account.refusals
FROM account LEFT JOIN subject ON subject.kind = ?6 AND subject.name = account.subject
WHERE account.budget = ?1 AND account.scope = ?2 AND account.window_name = ?3
    AND account.from_at <= ?4 AND account.to_at > ?4
    AND (?7::text IS NULL OR coalesce(subject.tier, '') = ?7)
    AND coalesce(subject.tier, '') <> ALL(?8::text[])
ORDER BY account.spent_micro DESC, account.spent_pico DESC, account.subject COLLATE "C"
LIMIT ?5

-- name: forget_spent
UPDATE account SET
    committed_micro = committed_micro - spent_micro - CASE WHEN committed_pico < spent_pico THEN 1 ELSE 0 END,
    committed_pico = committed_pico - spent_pico + CASE WHEN committed_pico < spent_pico THEN 1000000 ELSE 0 END,
    spent_micro = 0, spent_pico = 0
WHERE budget = ? AND scope = ? AND window_name = ?

-- name: all_accounts
SELECT
    budget, scope, subject, "window", window_name, from_at, to_at,
    committed_micro, committed_pico, spent_micro, spent_pico, refusals
FROM account

-- name: rename_accounts
UPDATE account SET subject = ?3 WHERE budget = ?1 AND subject = ?2

-- name: rename_outbox
UPDATE outbox SET subject = ?3 WHERE budget = ?1 AND subject = ?2

-- name: rename_account_scope
UPDATE account_scope SET scope = ?3 WHERE budget = ?1 AND scope = ?2

-- name: move_accounts
UPDATE account SET scope = ?3 WHERE budget = ?1 AND scope = ?2

-- name: move_outbox
UPDATE outbox SET scope = ?3 WHERE budget = ?1 AND scope = ?2

-- name: put_subject
INSERT INTO subject (kind, name, tier) VALUES (?, ?, ?) ON CONFLICT (kind, name) DO UPDATE SET tier = excluded.tier

-- name: tier
SELECT tier FROM subject WHERE kind = ? AND name = ?

-- name: rename_subject
UPDATE subject SET name = ?3 WHERE kind = ?1 AND name = ?2

-- What another transaction holds is being settled or expired there.
-- name: lock_overdue
SELECT id, shares, estimate FROM reservation
WHERE state = 0 AND deadline <= ? ORDER BY deadline, number LIMIT ? FOR UPDATE SKIP LOCKED

-- name: reserve
SELECT reserve_1(?::jsonb, ?::jsonb, ?::boolean)::text

-- name: reservation
SELECT state, fingerprint, started_at, deadline, shares, entry FROM reservation WHERE id = ?

-- name: lock_reservations
SELECT id, state, shares, entry FROM reservation
WHERE id = ANY(?::text[]) ORDER BY id COLLATE "C" FOR UPDATE

-- name: shares_of_roots
SELECT shares, entry FROM reservation WHERE id = ANY(?::text[]) AND entry IS NOT NULL

-- name: end_reservations
UPDATE reservation SET state = ended.state, entry = ended.entry, shares = coalesce(ended.shares, reservation.shares),
    estimate = NULL
FROM (
    SELECT unnest(?::text[]) AS id, unnest(?::smallint[]) AS state, unnest(?::bigint[]) AS entry,
        unnest(?::bytea[]) AS shares
) AS ended
WHERE reservation.id = ended.id

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

-- name: outbox
SELECT number, kind, at, budget, scope, subject, "window", what, amount_micro, amount_pico FROM outbox WHERE number > ?
ORDER BY number

-- name: count_refusal
INSERT INTO refusal_count AS kept (budget, refused) VALUES (?, 1)
ON CONFLICT (budget) DO UPDATE SET refused = kept.refused + 1 RETURNING refused

-- name: refusal_count
SELECT refused FROM refusal_count WHERE budget = ?

-- name: put_refusal
INSERT INTO refusal (budget, place, number, body) VALUES (?, ?, ?, ?)
ON CONFLICT (budget, place) DO UPDATE SET number = excluded.number, body = excluded.body

-- name: refusals
SELECT body FROM refusal WHERE budget = ? ORDER BY number DESC

-- name: numbered_refusals
SELECT place, number, body FROM refusal WHERE budget = ?

-- name: drop_waiter
DELETE FROM waiter WHERE id = ?

-- name: drop_waiters
DELETE FROM waiter

-- An account that another transaction holds goes with a later call.
-- name: drop_accounts
DELETE FROM account WHERE (budget, scope, subject, "window") IN (
    SELECT budget, scope, subject, "window" FROM account
    WHERE to_at + least(greatest(to_at - from_at, ?2::bigint), ?3::bigint) <= ?1::bigint
        AND committed_micro = spent_micro AND committed_pico = spent_pico
    LIMIT ?4
    FOR UPDATE SKIP LOCKED
)
