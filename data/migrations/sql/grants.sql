-- Who may do what. Not frozen: it runs after every migration, says everything anew and changes only what differs, so a
-- migration that adds a table or a function adds its line here.
--
-- melodeon_owner    owns everything, nobody logs in as it; the ledger's functions run as it
-- melodeon_app      the web process: every row but the books', which it reads for one account at a time
-- melodeon_worker   Jobs, Songs, Assets, lanes, the queue; ends holds, gives no credits
-- melodeon_billing  payments, in the worker's process: Stripe's tables, and credits given and taken back
-- melodeon_analyst  reads figures; no address, no name, nothing that people wrote
-- melodeon_scaler   the scaling policy of a Ray cluster on other machines: reads how much the queue asks for
--
-- Logins get their passwords elsewhere (data/roles.py), or from whoever looks after the server.

DO $$
DECLARE
    a_role text;
BEGIN
    FOREACH a_role IN ARRAY
        ARRAY[
            'melodeon_owner', 'melodeon_app', 'melodeon_worker', 'melodeon_billing', 'melodeon_analyst',
            'melodeon_scaler'
        ]
    LOOP
        IF to_regrole(a_role) IS NULL THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', a_role);
                IF a_role IN ('melodeon_analyst', 'melodeon_scaler') THEN
                    EXECUTE format('ALTER ROLE %I SET default_transaction_read_only = on', a_role);
                END IF;
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;  -- another database of this server is migrated in the same moment
            END;
        END IF;
    END LOOP;
    -- Whoever migrates may change later what it hands over now. A superuser may anyway.
    IF NOT pg_has_role(current_user, 'melodeon_owner', 'USAGE') THEN
        EXECUTE format('GRANT melodeon_owner TO %I WITH INHERIT TRUE, SET TRUE', current_user);
    END IF;
END $$;


-- Nobody makes anything in here but the owner. Without temporary tables nobody shadows one of ours by name either.
DO $$
BEGIN
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format(
        'GRANT CONNECT ON DATABASE %I'
        ' TO melodeon_app, melodeon_worker, melodeon_billing, melodeon_analyst, melodeon_scaler',
        current_database()
    );
END $$;
REVOKE ALL ON SCHEMA public
    FROM PUBLIC, melodeon_app, melodeon_worker, melodeon_billing, melodeon_analyst, melodeon_scaler;
GRANT USAGE ON SCHEMA public
    TO melodeon_app, melodeon_worker, melodeon_billing, melodeon_analyst, melodeon_scaler;
GRANT USAGE, CREATE ON SCHEMA public TO melodeon_owner;


-- Everything is the owner's, but what an extension brought. Only what is not yet is touched: no lock on a table in use.
DO $$
DECLARE
    change text;
BEGIN
    FOR change IN
        SELECT format('ALTER %s %s OWNER TO melodeon_owner', kind, name)
        FROM (
            SELECT
                'pg_class'::regclass AS catalog, oid, relowner AS owner, oid::regclass::text AS name,
                CASE relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END AS kind
            FROM pg_class
            WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'S')
            UNION ALL
            SELECT 'pg_proc'::regclass, oid, proowner, oid::regprocedure::text, 'ROUTINE'
            FROM pg_proc WHERE pronamespace = 'public'::regnamespace
            UNION ALL
            SELECT 'pg_type'::regclass, t.oid, typowner, t.oid::regtype::text, 'TYPE'
            FROM pg_type t LEFT JOIN pg_class c ON c.oid = typrelid
            WHERE typnamespace = 'public'::regnamespace AND (typtype IN ('e', 'd') OR c.relkind = 'c')
        ) AS thing
        WHERE owner <> 'melodeon_owner'::regrole
            AND NOT EXISTS (
                SELECT FROM pg_depend
                WHERE classid = catalog AND objid = thing.oid AND deptype IN ('e', 'i', 'a')
                    AND (deptype = 'e' OR kind = 'SEQUENCE')  -- a column's sequence goes with its table
            )
        ORDER BY kind <> 'TABLE'
    LOOP
        EXECUTE change;
    END LOOP;
END $$;


-- The books row by row: the web process sees those of the account that its transaction named, see data/roles.py.
-- FORCE: the rule holds for the owner too, who needs a policy like everybody else.
DO $$
DECLARE
    a_table regclass;
    policy record;
BEGIN
    FOR a_table IN
        SELECT oid FROM pg_class
        WHERE relnamespace = 'public'::regnamespace
            AND relname IN ('ledger_account', 'transfer', 'entry', 'hold', 'grant_block', 'block_entry')
    LOOP
        IF NOT (SELECT relrowsecurity AND relforcerowsecurity FROM pg_class WHERE oid = a_table) THEN
            EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', a_table);
        END IF;
        FOR policy IN
            SELECT * FROM (VALUES
                ('owner_keeps_the_books', 'ALL', 'melodeon_owner', 'true'),
                ('app_reads_one_account', 'SELECT', 'melodeon_app', CASE a_table
                    WHEN 'block_entry'::regclass THEN 'block_id IN (SELECT id FROM grant_block)'
                    ELSE 'account_id = current_setting(''melodeon.account_id'', true)' END),
                ('billing_reads_all', 'SELECT', 'melodeon_billing', 'true'),
                ('analyst_reads_all', 'SELECT', 'melodeon_analyst', 'true')
            ) AS wanted (name, action, whose, rows)
            WHERE NOT EXISTS (SELECT FROM pg_policy WHERE polrelid = a_table AND polname = wanted.name)
        LOOP
            EXECUTE format(
                'CREATE POLICY %I ON %s FOR %s TO %I USING (%s)',
                policy.name, a_table, policy.action, policy.whose, policy.rows
            );
        END LOOP;
    END LOOP;
END $$;


-- Nothing is anybody's but what is given below.
REVOKE ALL ON ALL TABLES IN SCHEMA public
    FROM PUBLIC, melodeon_app, melodeon_worker, melodeon_billing, melodeon_analyst, melodeon_scaler;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA public
    FROM PUBLIC, melodeon_app, melodeon_worker, melodeon_billing, melodeon_analyst, melodeon_scaler;
REVOKE ALL ON ALL ROUTINES IN SCHEMA public
    FROM PUBLIC, melodeon_app, melodeon_worker, melodeon_billing, melodeon_analyst, melodeon_scaler;


-- The web process: every table, the books to read only.
DO $$
DECLARE
    a_table record;
BEGIN
    FOR a_table IN
        SELECT
            oid::regclass AS name,
            CASE
                WHEN relname IN (
                    'ledger_account', 'transfer', 'entry', 'hold', 'grant_block', 'block_entry', 'alembic_version'
                ) THEN 'SELECT'
                WHEN relname = 'audit' THEN 'SELECT, INSERT'
                ELSE 'SELECT, INSERT, UPDATE, DELETE'
            END AS actions
        FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
    LOOP
        EXECUTE format('GRANT %s ON %s TO melodeon_app', a_table.actions, a_table.name);
    END LOOP;
END $$;


-- The worker.
GRANT SELECT (id, name, plan) ON account TO melodeon_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON
    job, job_progress, lane, song, song_asset, song_tag, tag, asset,
    procrastinate_jobs, procrastinate_events, procrastinate_workers, procrastinate_periodic_defers
    TO melodeon_worker;


-- Payments.
GRANT SELECT (id, name, email, plan, stripe_customer_id, deleted_at), UPDATE (plan, stripe_customer_id)
    ON account TO melodeon_billing;
GRANT SELECT, INSERT, UPDATE, DELETE ON notice, purchase, reversal, subscription TO melodeon_billing;
GRANT SELECT ON ledger_account, transfer, entry, hold, grant_block, block_entry, ledger_chain TO melodeon_billing;
GRANT SELECT, INSERT ON audit TO melodeon_billing;


-- The queue's functions, and those of the ledger that each may call. What only they call is nobody's.
DO $$
DECLARE
    a_routine record;
BEGIN
    FOR a_routine IN
        SELECT oid::regprocedure AS name, whose
        FROM pg_proc
        JOIN (VALUES
            ('procrastinate\_%', 'melodeon_app, melodeon_worker'),
            ('ledger_open', 'melodeon_app, melodeon_billing'),
            ('ledger_grant', 'melodeon_app, melodeon_billing'),
            ('ledger_hold', 'melodeon_app, melodeon_worker'),
            ('ledger_settle', 'melodeon_app, melodeon_worker'),
            ('ledger_expire', 'melodeon_worker, melodeon_billing'),
            ('ledger_clawback', 'melodeon_billing'),
            ('ledger_restore', 'melodeon_billing'),
            ('ledger_balance', 'melodeon_app, melodeon_billing, melodeon_analyst'),
            ('ledger_credits_held', 'melodeon_app, melodeon_worker'),
            ('ledger_faults', 'melodeon_billing')
        ) AS given (pattern, whose) ON proname LIKE pattern
        WHERE pronamespace = 'public'::regnamespace
    LOOP
        EXECUTE format('GRANT EXECUTE ON ROUTINE %s TO %s', a_routine.name, a_routine.whose);
    END LOOP;
END $$;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO melodeon_app;
REVOKE ALL ON SEQUENCE entry_number_seq FROM melodeon_app;
GRANT USAGE ON procrastinate_jobs_id_seq, procrastinate_events_id_seq, procrastinate_periodic_defers_id_seq
    TO melodeon_worker;


-- Whoever only looks: ids, states, times and figures. An account's id stands for its name.
GRANT SELECT (id, role, plan, created_at, deleted_at) ON account TO melodeon_analyst;
GRANT SELECT (
    id, number, account_id, kind, state, price_credits, attempt, failures, losses, round, ready_at, cancel_requested,
    reason_code, created_at, started_at, finished_at
) ON job TO melodeon_analyst;
GRANT SELECT (
    id, account_id, job_id, take_index, status, instrumental, engine, engine_version, steps, guidance_scale, duration_s,
    tempo_bpm, key, loudness_lufs, true_peak_dbtp, parent_id, published_at, download_rule, play_count, download_count,
    created_at, updated_at, deleted_at
) ON song TO melodeon_analyst;
GRANT SELECT ON tag, song_tag, song_asset, lane TO melodeon_analyst;
GRANT SELECT (id, media_type, size_bytes, created_at, released_at) ON asset TO melodeon_analyst;
GRANT SELECT ON ledger_account, entry, hold, grant_block, block_entry TO melodeon_analyst;
GRANT SELECT (id, kind, account_id, debit, credit, amount, job_id, event_at, created_at)
    ON transfer TO melodeon_analyst;
GRANT SELECT (account_id, item, credits, amount_minor, currency, state, created_at, paid_at)
    ON purchase TO melodeon_analyst;
GRANT SELECT (account_id, plan, status, current_period_end, cancel_at_period_end, created_at, updated_at)
    ON subscription TO melodeon_analyst;
GRANT SELECT ON alembic_version TO melodeon_analyst, melodeon_worker, melodeon_billing;


-- Whoever scales: which Jobs there are and what their stages took. A Job's results are what its stages saved.
GRANT SELECT (
    account_id, number, kind, state, attempt, results, ready_at, created_at, started_at, finished_at
) ON job TO melodeon_scaler;
