-- The last transaction of each client's connection. Where a COMMIT was not answered, this row tells whether it landed: a
-- server that crashed gives the numbers of transactions that it lost to others, so theirs tells nothing.
CREATE TABLE landed (
    client bigint PRIMARY KEY,       -- a random number for each connection
    xact bigint NOT NULL,
    at timestamptz NOT NULL
) WITH (fillfactor = 50);

-- Begins a write transaction: what it may use and how long, that no other one is `alone` meanwhile, and the row by which
-- its client learns whether it landed. Gives what every transaction reads first, and its own number.
CREATE FUNCTION outlay.begin_writing_1(
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
CREATE FUNCTION outlay.count_1(keys jsonb, steps jsonb)
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
CREATE FUNCTION outlay.append_one_1(
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
