-- What the server does by itself, so that an account is locked no longer than one statement takes.
-- A function is never changed once it was released: a new way of working gets a new name, so that old and new programs
-- run beside each other.

-- Locks accounts in the order of their keys and makes those that are missing, so that whoever wants several of them
-- waits for nobody who waits for him. Each of `keys` is [budget, scope, subject, window, window_name, from_at, to_at];
-- `place` is where it stands in the list.
CREATE OR REPLACE FUNCTION outlay.lock_accounts_1(keys jsonb)
RETURNS TABLE (
    place integer, committed_micro bigint, committed_pico bigint, spent_micro bigint, spent_pico bigint,
    refusals bigint, made boolean
)
LANGUAGE plpgsql
AS $$
#variable_conflict use_column
DECLARE
    wanted record;
BEGIN
    FOR wanted IN
        SELECT
            (k->>0) COLLATE "C" AS budget, (k->>1) COLLATE "C" AS scope,
            (k->>2) COLLATE "C" AS subject, (k->>3) COLLATE "C" AS "window",
            k->>4 AS window_name, (k->>5)::bigint AS from_at, (k->>6)::bigint AS to_at, n::integer - 1 AS place
        FROM jsonb_array_elements(keys) WITH ORDINALITY AS each (k, n)
        ORDER BY 1, 2, 3, 4
    LOOP
        LOOP
            RETURN QUERY
            SELECT wanted.place, a.committed_micro, a.committed_pico::bigint, a.spent_micro, a.spent_pico::bigint,
                a.refusals, false
            FROM outlay.account AS a
            WHERE a.budget = wanted.budget AND a.scope = wanted.scope
                AND a.subject = wanted.subject AND a."window" = wanted."window"
            FOR UPDATE;
            EXIT WHEN FOUND;
            INSERT INTO outlay.account (
                budget, scope, subject, "window", window_name, from_at, to_at,
                committed_micro, committed_pico, spent_micro, spent_pico, refusals
            ) VALUES (
                wanted.budget, wanted.scope, wanted.subject, wanted."window", wanted.window_name,
                wanted.from_at, wanted.to_at, 0, 0, 0, 0, 0
            )
            ON CONFLICT DO NOTHING;
            IF FOUND THEN
                RETURN QUERY SELECT wanted.place, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, true;
                EXIT;
            END IF;
            -- Another transaction made it first: now it can be locked.
        END LOOP;
    END LOOP;
END
$$;

-- Takes reservations in order, each all that it asks or nothing. `keys` are the accounts of all of them, as above;
-- `asked` is a list of objects, whose limits name their account by its place in `keys`. Gives one outcome each: the
-- state of a reservation that is known already, -1 where it was refused, -2 where it was taken; and beside that what
-- its accounts held before, as [committed, spent, refusals]. NULL, and nothing was done, where something is overdue
-- that was not `expired` yet.
CREATE OR REPLACE FUNCTION outlay.reserve_1(keys jsonb, asked jsonb, expired boolean)
RETURNS jsonb
LANGUAGE plpgsql
AS $$
DECLARE
    outcomes jsonb := '[]';
    held_micro bigint[] := '{}';
    held_pico bigint[] := '{}';
    used_micro bigint[] := '{}';
    used_pico bigint[] := '{}';
    refused bigint[] := '{}';
    made boolean[] := '{}';
    taken boolean[] := '{}';
    one jsonb;
    wanted jsonb;
    found_here jsonb;
    place integer;
    account record;
    known record;
    fitting boolean;
    queued boolean;
    own_number bigint;
    pico bigint;
BEGIN
    IF NOT expired AND EXISTS (
        SELECT FROM outlay.reservation AS r
        WHERE r.state = 0
            AND r.deadline <= (SELECT max((a->'now')::bigint) FROM jsonb_array_elements(asked) AS each (a))
    ) THEN
        RETURN NULL;
    END IF;

    -- Reservations before accounts, as whoever settles does.
    PERFORM 1 FROM outlay.reservation AS r
    WHERE r.id IN (SELECT a->>'id' FROM jsonb_array_elements(asked) AS each (a)) AND r.state = 2
    ORDER BY r.id COLLATE "C" FOR UPDATE;

    FOR account IN SELECT * FROM outlay.lock_accounts_1(keys) LOOP
        held_micro[account.place] := account.committed_micro;
        held_pico[account.place] := account.committed_pico;
        used_micro[account.place] := account.spent_micro;
        used_pico[account.place] := account.spent_pico;
        refused[account.place] := account.refusals;
        made[account.place] := account.made;
    END LOOP;

    FOR one IN SELECT a FROM jsonb_array_elements(asked) WITH ORDINALITY AS each (a, n) ORDER BY n LOOP
        SELECT r.state, r.fingerprint = decode(one->>'fingerprint', 'hex') AS same INTO known
        FROM outlay.reservation AS r WHERE r.id = one->>'id';
        IF FOUND AND known.state <> 2 THEN
            outcomes := outcomes || jsonb_build_object('state', known.state, 'same', known.same);
            CONTINUE;
        END IF;

        found_here := '[]';
        fitting := true;
        FOR wanted IN SELECT t FROM jsonb_array_elements(one->'limits') WITH ORDINALITY AS each (t, n) ORDER BY n LOOP
            place := wanted->'place';
            found_here := found_here || jsonb_build_array(jsonb_build_array(
                held_micro[place], held_pico[place], used_micro[place], used_pico[place], refused[place]
            ));
            fitting := fitting AND NOT (wanted->'barred')::boolean AND (
                NOT (wanted->'hard')::boolean
                OR (held_micro[place], held_pico[place])
                    <= ((wanted->'most'->0)::bigint, (wanted->'most'->1)::bigint)
            );
        END LOOP;

        queued := false;
        IF fitting AND EXISTS (SELECT FROM outlay.waiter) THEN
            SELECT w.number INTO own_number FROM outlay.waiter AS w
            WHERE w.id = one->>'id' AND w.until_at > (one->'now')::bigint;
            queued := EXISTS (
                SELECT FROM outlay.waiter AS w
                WHERE w.until_at > (one->'now')::bigint AND (own_number IS NULL OR w.number < own_number)
                    AND EXISTS (
                        SELECT FROM jsonb_array_elements(convert_from(w.accounts, 'UTF8')::jsonb) AS theirs (k)
                        WHERE k IN (SELECT jsonb_array_elements(one->'waits_for'))
                    )
            );
        END IF;

        IF NOT fitting OR queued THEN
            IF (one->'waits')::boolean THEN
                DELETE FROM outlay.waiter WHERE number IN (
                    SELECT w.number FROM outlay.waiter AS w WHERE w.until_at <= (one->'now')::bigint
                    FOR UPDATE SKIP LOCKED
                );
                INSERT INTO outlay.waiter (id, accounts, until_at)
                VALUES (one->>'id', convert_to(one->>'waits_for', 'UTF8'), (one->'waits_until')::bigint)
                ON CONFLICT (id) DO UPDATE SET until_at = excluded.until_at;
            END IF;
            outcomes := outcomes || jsonb_build_object('state', -1, 'queued', queued, 'accounts', found_here);
            CONTINUE;
        END IF;

        INSERT INTO outlay.reservation AS r (id, fingerprint, state, started_at, deadline, shares, estimate)
        VALUES (
            one->>'id', decode(one->>'fingerprint', 'hex'), 0, (one->'now')::bigint, (one->'deadline')::bigint,
            convert_to(one->>'shares', 'UTF8'), decode(one->>'estimate', 'hex')
        )
        ON CONFLICT (id) DO UPDATE SET
            fingerprint = excluded.fingerprint, state = 0, started_at = excluded.started_at,
            deadline = excluded.deadline, shares = excluded.shares, estimate = excluded.estimate, entry = NULL
        WHERE r.state = 2;
        IF NOT FOUND THEN
            -- The same call, by another connection, was ahead by a moment.
            SELECT r.state, r.fingerprint = decode(one->>'fingerprint', 'hex') AS same INTO known
            FROM outlay.reservation AS r WHERE r.id = one->>'id';
            outcomes := outcomes || jsonb_build_object('state', known.state, 'same', known.same);
            CONTINUE;
        END IF;

        FOR wanted IN SELECT t FROM jsonb_array_elements(one->'limits') AS each (t) LOOP
            place := wanted->'place';
            pico := held_pico[place] + (wanted->'asked'->1)::bigint;
            held_micro[place] := held_micro[place] + (wanted->'asked'->0)::bigint + pico / 1000000;
            held_pico[place] := pico % 1000000;
            taken[place] := true;
        END LOOP;
        IF (one->'waits')::boolean THEN
            DELETE FROM outlay.waiter AS w WHERE w.id = one->>'id';
        END IF;
        outcomes := outcomes || jsonb_build_object('state', -2, 'accounts', found_here);
    END LOOP;

    FOR place IN SELECT generate_series(0, jsonb_array_length(keys) - 1) LOOP
        IF taken[place] THEN
            UPDATE outlay.account AS a
            SET committed_micro = held_micro[place], committed_pico = held_pico[place]
            WHERE a.budget = keys->place->>0 AND a.scope = keys->place->>1
                AND a.subject = keys->place->>2 AND a."window" = keys->place->>3;
        ELSIF made[place] THEN
            -- It was made to be locked, and nothing was taken from it.
            DELETE FROM outlay.account AS a
            WHERE a.budget = keys->place->>0 AND a.scope = keys->place->>1
                AND a.subject = keys->place->>2 AND a."window" = keys->place->>3;
        END IF;
    END LOOP;
    RETURN outcomes;
END
$$;

-- Begins a write transaction: what it may use and how long, that no other one is `alone` meanwhile, and the row by which
-- its client learns whether it landed. Gives what every transaction reads first, and its own number.
CREATE OR REPLACE FUNCTION outlay.begin_writing_1(
    of_client bigint, alone boolean,
    OUT epoch bigint, OUT folded_xact bigint, OUT folded_seq bigint, OUT horizon integer, OUT oldest integer,
    OUT number bigint
)
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM
        set_config('search_path', 'outlay, pg_temp', true), set_config('jit', 'off', true),
        set_config('idle_in_transaction_session_timeout', '60s', true);
    IF alone THEN
        PERFORM pg_advisory_xact_lock(1333097836, 0);
    ELSE
        PERFORM pg_advisory_xact_lock_shared(1333097836, 0);
    END IF;
    -- A view of its own, of after the lock.
    SELECT
        m.epoch, m.folded_xact, m.folded_seq, m.horizon, m.oldest,
        m.xact_offset + pg_current_xact_id()::text::bigint
    INTO epoch, folded_xact, folded_seq, horizon, oldest, number
    FROM outlay.meta AS m;
    IF FOUND THEN
        INSERT INTO outlay.landed (client, xact, at) VALUES (of_client, number, now())
        ON CONFLICT (client) DO UPDATE SET xact = excluded.xact, at = excluded.at;
    END IF;
END
$$;

-- Adds to accounts, in order, and tells the marks that this crosses. `keys` are the accounts, as for lock_accounts_1.
-- Each of `steps` is a change, [place of its account in `keys`, committed, spent, refusals, at, marks], each amount as
-- two numbers and each mark as [name, least amount that crosses it]; or something to tell besides, a row of the outbox
-- that begins with its kind. The accounts are held from here to the end of the transaction, so this is its last work.
CREATE OR REPLACE FUNCTION outlay.count_1(keys jsonb, steps jsonb)
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    held_micro bigint[] := '{}';
    held_pico bigint[] := '{}';
    used_micro bigint[] := '{}';
    used_pico bigint[] := '{}';
    refused bigint[] := '{}';
    account record;
    step jsonb;
    mark jsonb;
    key jsonb;
    place integer;
    pico bigint;
    before_micro bigint;
    before_pico bigint;
BEGIN
    FOR account IN SELECT * FROM outlay.lock_accounts_1(keys) LOOP
        held_micro[account.place] := account.committed_micro;
        held_pico[account.place] := account.committed_pico;
        used_micro[account.place] := account.spent_micro;
        used_pico[account.place] := account.spent_pico;
        refused[account.place] := account.refusals;
    END LOOP;

    FOR step IN SELECT s FROM jsonb_array_elements(steps) WITH ORDINALITY AS each (s, n) ORDER BY n LOOP
        IF jsonb_typeof(step->0) = 'string' THEN
            INSERT INTO outlay.outbox (kind, at, budget, scope, subject, "window", what, amount_micro, amount_pico)
            VALUES (
                step->>0, (step->1)::bigint, step->>2, step->>3, step->>4, step->>5, step->>6,
                (step->7)::bigint, (step->8)::integer
            )
            ON CONFLICT DO NOTHING;
            CONTINUE;
        END IF;
        place := step->0;
        before_micro := used_micro[place];
        before_pico := used_pico[place];
        pico := held_pico[place] + (step->2)::bigint;
        held_micro[place] := held_micro[place] + (step->1)::bigint + pico / 1000000;
        held_pico[place] := pico % 1000000;
        pico := used_pico[place] + (step->4)::bigint;
        used_micro[place] := used_micro[place] + (step->3)::bigint + pico / 1000000;
        used_pico[place] := pico % 1000000;
        refused[place] := refused[place] + (step->5)::bigint;
        key := keys->place;
        FOR mark IN SELECT m FROM jsonb_array_elements(step->7) WITH ORDINALITY AS each (m, n) ORDER BY n LOOP
            IF (before_micro, before_pico) < ((mark->1)::bigint, (mark->2)::bigint)
                AND ((mark->1)::bigint, (mark->2)::bigint) <= (used_micro[place], used_pico[place]) THEN
                INSERT INTO outlay.outbox (
                    kind, at, budget, scope, subject, "window", what, amount_micro, amount_pico
                ) VALUES (
                    'mark', (step->6)::bigint, key->>0, key->>1, key->>2, key->>3, mark->>0,
                    used_micro[place], used_pico[place]
                )
                ON CONFLICT DO NOTHING;
            END IF;
        END LOOP;
    END LOOP;

    FOR place IN SELECT generate_series(0, jsonb_array_length(keys) - 1) LOOP
        key := keys->place;
        UPDATE outlay.account AS a SET
            committed_micro = held_micro[place], committed_pico = held_pico[place],
            spent_micro = used_micro[place], spent_pico = used_pico[place], refusals = refused[place]
        WHERE a.budget = key->>0 AND a.scope = key->>1 AND a.subject = key->>2 AND a."window" = key->>3;
    END LOOP;
END
$$;

-- Writes one entry whose id stands on none of `days`, with its identity on the first of them; its number, or NULL where
-- the id is there. A function, since planning these statements anew takes longer than running them.
CREATE OR REPLACE FUNCTION outlay.append_one_1(
    days integer[], of_hash63 bigint,
    of_id text, of_fingerprint bytea, of_occurred_from bigint, of_occurred_to bigint, of_recorded_at bigint,
    of_counted_at bigint, of_kind smallint, of_sign smallint, of_corrects bigint, of_provider integer, of_service
    integer, of_operation integer, of_feature integer, of_environment integer, of_user integer, of_customer integer,
    of_team integer, of_project integer, of_job integer, of_step integer, of_request text, of_trace text, of_tags
    integer, of_status smallint, of_basis smallint, of_pricing smallint, of_calls bigint, of_micro bigint, of_pico
    integer, of_lines bytea, of_body bytea,
    of_xact bigint
)
RETURNS bigint
LANGUAGE plpgsql
AS $$
DECLARE
    one integer;
    made bigint;
BEGIN
    FOREACH one IN ARRAY days LOOP
        IF EXISTS (SELECT FROM outlay.identity AS i WHERE i.day = one AND i.hash63 = of_hash63) THEN
            RETURN NULL;
        END IF;
    END LOOP;
    made := nextval('outlay.entry_seq');
    INSERT INTO outlay.identity (day, hash63, seq, fingerprint) VALUES (days[1], of_hash63, made, of_fingerprint)
    ON CONFLICT (day, hash63) DO NOTHING;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    INSERT INTO outlay.entry (
        seq, id, fingerprint, occurred_from, occurred_to, recorded_at, counted_at, kind, sign, corrects, provider,
        service, operation, feature, environment, "user", customer, team, project, job, step, request, trace, tags,
        status, basis, pricing, calls, micro, pico, lines, body, xact
    ) VALUES (
        made, of_id, of_fingerprint, of_occurred_from, of_occurred_to, of_recorded_at, of_counted_at, of_kind,
        of_sign, of_corrects, of_provider, of_service, of_operation, of_feature, of_environment, of_user, of_customer,
        of_team, of_project, of_job, of_step, of_request, of_trace, of_tags, of_status, of_basis, of_pricing,
        of_calls, of_micro, of_pico, of_lines, of_body, of_xact
    );
    RETURN made;
END
$$;
