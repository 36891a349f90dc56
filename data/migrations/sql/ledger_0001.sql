-- The ledger's rules. The tables stand in data/tables/ledger.py; only the functions below write to them.
--
-- Frozen once released: a change is a new file in a new migration (CREATE OR REPLACE, never an edit here).
--
-- How it works. A transfer moves an amount from one purse (debit) to another (credit) and has exactly two entries that
-- sum to nought. A person's purses, 'available' and 'held', are kept in one row of ledger_account, which every function
-- locks first; so two spends of one account stand in line and two accounts never meet. The house's purses
-- ('promotion', 'revenue') are entries only: one row for them would be the one lock that everybody wants.
--
-- READ COMMITTED is enough: after the lock every statement sees what the last holder of the lock committed.
--
-- A refusal that can happen in daily life (too few credits, no hold, key reused) is an outcome, not an exception, so
-- that the caller's transaction goes on: the door commits a Job 'no credits' in that same transaction.

CREATE TYPE ledger_answer AS (
    outcome text,        -- done | repeated | no credits | key reused | hold open | no hold | over hold
    transfer_id text,    -- of the first transfer made, now or when the key was first used
    hold_id text,          -- of the hold made, found open or ended by the call
    available bigint,    -- of the account after the call
    held bigint
);


-- What a key was first used for. jsonb of an array keeps 'a','b' and 'a,b' apart.
CREATE FUNCTION ledger_request_hash(VARIADIC parts text[]) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN encode(sha256(convert_to(to_jsonb(parts)::text, 'UTF8')), 'hex');


CREATE FUNCTION ledger_answer_now(an_account text, an_outcome text, a_transfer text, a_hold text)
RETURNS ledger_answer LANGUAGE plpgsql
AS $$
DECLARE
    answer ledger_answer;
BEGIN
    SELECT an_outcome, a_transfer, a_hold, available, held INTO answer
    FROM ledger_account WHERE account_id = an_account;
    IF NOT FOUND THEN
        answer := (an_outcome, a_transfer, a_hold, 0, 0);
    END IF;
    RETURN answer;
END $$;


-- An empty purse for a new account. Harmless when it is there already.
CREATE FUNCTION ledger_open(an_account text) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    INSERT INTO ledger_account (account_id) VALUES (an_account) ON CONFLICT DO NOTHING;
END $$;


-- Waits for the account's turn. False: this account never had a credit.
CREATE FUNCTION ledger_lock(an_account text) RETURNS boolean
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM FROM ledger_account WHERE account_id = an_account FOR NO KEY UPDATE;
    RETURN FOUND;
END $$;


-- 'repeated' if one of the keys was used for this very request, 'key reused' if for another one, NULL if all are free.
CREATE FUNCTION ledger_earlier(a_hash text, VARIADIC keys text[], OUT outcome text, OUT transfer_id text)
LANGUAGE plpgsql
AS $$
BEGIN
    SELECT CASE WHEN request_hash = a_hash THEN 'repeated' ELSE 'key reused' END, id INTO outcome, transfer_id
    FROM transfer WHERE idempotency_key = ANY (keys)
    ORDER BY idempotency_key LIMIT 1;
END $$;


-- One transfer with its two entries. The caller holds the account's lock. False: somebody else's request of this
-- moment took the key, and nothing was written.
CREATE FUNCTION ledger_post(
    a_transfer text, a_key text, a_hash text, a_kind text, an_account text, a_debit text, a_credit text,
    an_amount bigint, a_job text, a_note text, an_event_at timestamptz
) RETURNS boolean
LANGUAGE plpgsql
AS $$
DECLARE
    available_change bigint := (a_credit = 'available')::int * an_amount - (a_debit = 'available')::int * an_amount;
    held_change bigint := (a_credit = 'held')::int * an_amount - (a_debit = 'held')::int * an_amount;
    after ledger_account;
    purse_entries int := (available_change <> 0)::int + (held_change <> 0)::int;
BEGIN
    INSERT INTO transfer
        (id, idempotency_key, request_hash, kind, account_id, debit, credit, amount, job_id, note, event_at)
    VALUES
        (a_transfer, a_key, a_hash, a_kind, an_account, a_debit, a_credit, an_amount, a_job, a_note, an_event_at)
    ON CONFLICT (idempotency_key) DO NOTHING;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE ledger_account
    SET available = available + available_change, held = held + held_change, version = version + purse_entries
    WHERE account_id = an_account AND available + available_change >= 0 AND held + held_change >= 0
    RETURNING * INTO after;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = 'the ledger would go below nought';
    END IF;
    INSERT INTO entry (transfer_id, account_id, purse, amount, version, balance_after)
    SELECT
        a_transfer,
        CASE WHEN personal THEN an_account END,
        purse,
        change,
        CASE WHEN personal THEN after.version - purse_entries + row_number() OVER (ORDER BY personal DESC, side) END,
        CASE purse WHEN 'available' THEN after.available WHEN 'held' THEN after.held END
    FROM (VALUES (1, a_debit, -an_amount), (2, a_credit, an_amount)) AS sides (side, purse, change),
        LATERAL (SELECT purse IN ('available', 'held') AS personal) AS whose
    ORDER BY personal DESC, side;
    RETURN true;
END $$;


CREATE FUNCTION ledger_refuse_amount(an_amount bigint) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    IF an_amount IS NULL OR an_amount <= 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = 'an amount of credits is above nought';
    END IF;
END $$;


-- Credits for an account: promotion -> available. Opens the account's purse.
CREATE FUNCTION ledger_grant(
    a_transfer text, a_key text, an_account text, an_amount bigint, a_note text, an_event_at timestamptz
) RETURNS ledger_answer
LANGUAGE plpgsql
AS $$
DECLARE
    hash text := ledger_request_hash('grant', an_account, an_amount::text, a_note);
    earlier record;
BEGIN
    PERFORM ledger_refuse_amount(an_amount);
    PERFORM ledger_open(an_account);
    PERFORM ledger_lock(an_account);
    SELECT * INTO earlier FROM ledger_earlier(hash, a_key);
    IF earlier.outcome IS NOT NULL THEN
        RETURN ledger_answer_now(an_account, earlier.outcome, earlier.transfer_id, NULL);
    END IF;
    IF NOT ledger_post(
        a_transfer, a_key, hash, 'grant', an_account, 'promotion', 'available', an_amount, NULL, a_note, an_event_at
    ) THEN
        RETURN ledger_answer_now(an_account, 'key reused', NULL, NULL);
    END IF;
    RETURN ledger_answer_now(an_account, 'done', a_transfer, NULL);
END $$;


-- Sets credits aside for a Job: available -> held. A Job has at most one open hold.
CREATE FUNCTION ledger_hold(
    a_hold text, a_transfer text, a_key text, an_account text, a_job text, an_amount bigint, an_event_at timestamptz
) RETURNS ledger_answer
LANGUAGE plpgsql
AS $$
DECLARE
    hash text := ledger_request_hash('hold', an_account, a_job, an_amount::text);
    earlier record;
    earlier_hold text;
BEGIN
    PERFORM ledger_refuse_amount(an_amount);
    PERFORM ledger_lock(an_account);
    SELECT * INTO earlier FROM ledger_earlier(hash, a_key);
    IF earlier.outcome IS NOT NULL THEN
        SELECT id INTO earlier_hold FROM hold WHERE transfer_id = earlier.transfer_id;
        RETURN ledger_answer_now(an_account, earlier.outcome, earlier.transfer_id, earlier_hold);
    END IF;
    SELECT id INTO earlier_hold FROM hold WHERE job_id = a_job AND state = 'open';
    IF FOUND THEN
        RETURN ledger_answer_now(an_account, 'hold open', NULL, earlier_hold);
    END IF;
    PERFORM FROM ledger_account WHERE account_id = an_account AND available >= an_amount;
    IF NOT FOUND THEN
        RETURN ledger_answer_now(an_account, 'no credits', NULL, NULL);
    END IF;
    IF NOT ledger_post(
        a_transfer, a_key, hash, 'hold', an_account, 'available', 'held', an_amount, a_job, '', an_event_at
    ) THEN
        RETURN ledger_answer_now(an_account, 'key reused', NULL, NULL);
    END IF;
    INSERT INTO hold (id, account_id, job_id, transfer_id, amount)
    VALUES (a_hold, an_account, a_job, a_transfer, an_amount);
    RETURN ledger_answer_now(an_account, 'done', a_transfer, a_hold);
END $$;


-- Ends a Job's hold: so many credits captured (held -> revenue), the rest released (held -> available).
-- The two transfers take the keys '<key>/capture' and '<key>/release'.
CREATE FUNCTION ledger_settle(
    a_capture text, a_release text, a_key text, a_job text, a_captured bigint, an_event_at timestamptz
) RETURNS ledger_answer
LANGUAGE plpgsql
AS $$
DECLARE
    hash text := ledger_request_hash('settle', a_job, a_captured::text);
    capture_key text := a_key || '/capture';
    release_key text := a_key || '/release';
    earlier record;
    the_hold hold;
    posted boolean := true;
BEGIN
    IF a_captured IS NULL OR a_captured < 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = 'captured credits are not below nought';
    END IF;
    SELECT * INTO the_hold FROM hold WHERE job_id = a_job ORDER BY state = 'open' DESC, id DESC LIMIT 1;
    IF NOT FOUND THEN
        SELECT * INTO earlier FROM ledger_earlier(hash, capture_key, release_key);
        RETURN ROW(coalesce(earlier.outcome, 'no hold'), earlier.transfer_id, NULL, 0, 0)::ledger_answer;
    END IF;
    PERFORM ledger_lock(the_hold.account_id);
    SELECT * INTO earlier FROM ledger_earlier(hash, capture_key, release_key);
    IF earlier.outcome IS NOT NULL THEN
        RETURN ledger_answer_now(the_hold.account_id, earlier.outcome, earlier.transfer_id, NULL);
    END IF;
    SELECT * INTO the_hold FROM hold WHERE job_id = a_job AND state = 'open' FOR UPDATE;
    IF NOT FOUND THEN
        RETURN ROW('no hold', NULL, NULL, 0, 0)::ledger_answer;
    END IF;
    IF a_captured > the_hold.amount THEN
        RETURN ledger_answer_now(the_hold.account_id, 'over hold', NULL, the_hold.id);
    END IF;
    IF a_captured > 0 THEN
        posted := ledger_post(
            a_capture, capture_key, hash, 'capture', the_hold.account_id, 'held', 'revenue', a_captured, a_job, '',
            an_event_at
        );
    END IF;
    IF posted AND a_captured < the_hold.amount THEN
        posted := ledger_post(
            a_release, release_key, hash, 'release', the_hold.account_id, 'held', 'available',
            the_hold.amount - a_captured, a_job, '', an_event_at
        );
    END IF;
    IF NOT posted THEN
        -- Only a request for another account can take the key in this moment; undo by failing.
        RAISE EXCEPTION USING ERRCODE = 'unique_violation', MESSAGE = 'the settlement key was used for something else';
    END IF;
    UPDATE hold SET state = 'ended', captured = a_captured, ended_at = now() WHERE id = the_hold.id;
    RETURN ledger_answer_now(
        the_hold.account_id, 'done', CASE WHEN a_captured > 0 THEN a_capture ELSE a_release END, the_hold.id
    );
END $$;


-- Nothing that was booked changes or goes away, whoever asks. ENABLE ALWAYS: session_replication_role does not help.
CREATE FUNCTION ledger_refuse_change() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    RAISE EXCEPTION USING
        ERRCODE = 'restrict_violation',
        MESSAGE = 'the ledger is append-only: ' || TG_OP || ' on ' || TG_TABLE_NAME || ' is refused';
END $$;

CREATE TRIGGER transfer_append_only BEFORE UPDATE OR DELETE ON transfer
    FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER transfer_no_truncate BEFORE TRUNCATE ON transfer
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER entry_append_only BEFORE UPDATE OR DELETE ON entry
    FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER entry_no_truncate BEFORE TRUNCATE ON entry
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER ledger_account_kept BEFORE DELETE ON ledger_account
    FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER ledger_account_no_truncate BEFORE TRUNCATE ON ledger_account
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER hold_kept BEFORE DELETE ON hold
    FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER hold_no_truncate BEFORE TRUNCATE ON hold
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();

-- A hold changes once: from open to ended. What it was for never changes.
CREATE TRIGGER hold_ends_once BEFORE UPDATE ON hold
    FOR EACH ROW
    WHEN (
        OLD.state <> 'open' OR NEW.state <> 'ended'
        OR ROW(OLD.id, OLD.account_id, OLD.job_id, OLD.transfer_id, OLD.amount, OLD.created_at)
            IS DISTINCT FROM ROW(NEW.id, NEW.account_id, NEW.job_id, NEW.transfer_id, NEW.amount, NEW.created_at)
    )
    EXECUTE FUNCTION ledger_refuse_change();

ALTER TABLE transfer ENABLE ALWAYS TRIGGER transfer_append_only, ENABLE ALWAYS TRIGGER transfer_no_truncate;
ALTER TABLE entry ENABLE ALWAYS TRIGGER entry_append_only, ENABLE ALWAYS TRIGGER entry_no_truncate;
ALTER TABLE ledger_account
    ENABLE ALWAYS TRIGGER ledger_account_kept, ENABLE ALWAYS TRIGGER ledger_account_no_truncate;
ALTER TABLE hold
    ENABLE ALWAYS TRIGGER hold_kept, ENABLE ALWAYS TRIGGER hold_no_truncate, ENABLE ALWAYS TRIGGER hold_ends_once;


-- The audit: one row for each thing that is wrong, none when the books are right. Read it in one REPEATABLE READ
-- transaction; it counts everything again from the entries.
CREATE FUNCTION ledger_faults() RETURNS TABLE (rule text, subject text)
LANGUAGE sql STABLE
AS $$
    WITH counted AS (
        SELECT account_id,
            sum(amount) FILTER (WHERE purse = 'available') AS available,
            sum(amount) FILTER (WHERE purse = 'held') AS held,
            count(*) AS entries,
            max(version) AS last
        FROM entry WHERE account_id IS NOT NULL GROUP BY account_id
    )
    SELECT 'the entries sum to nought', 'all' FROM entry HAVING coalesce(sum(amount), 0) <> 0
    UNION ALL
    SELECT 'a transfer has two entries, from its debit to its credit', t.id
    FROM transfer t LEFT JOIN entry e ON e.transfer_id = t.id
    GROUP BY t.id
    HAVING count(e.number) <> 2
        OR count(*) FILTER (WHERE e.purse = t.debit AND e.amount = -t.amount) <> 1
        OR count(*) FILTER (WHERE e.purse = t.credit AND e.amount = t.amount) <> 1
        OR bool_or(e.account_id IS DISTINCT FROM t.account_id AND e.purse IN ('available', 'held'))
    UNION ALL
    SELECT 'a balance is the sum of its entries', account_id
    FROM ledger_account a FULL JOIN counted c USING (account_id)
    WHERE (a.available, a.held) IS DISTINCT FROM (coalesce(c.available, 0), coalesce(c.held, 0))
    UNION ALL
    SELECT 'versions count 1, 2, 3 …', account_id
    FROM ledger_account a FULL JOIN counted c USING (account_id)
    WHERE (a.version, a.version) IS DISTINCT FROM (coalesce(c.entries, 0), coalesce(c.last, 0))
    UNION ALL
    SELECT 'each entry says the balance after it', account_id || ' version ' || version
    FROM (
        SELECT account_id, version, balance_after,
            sum(amount) OVER (PARTITION BY account_id, purse ORDER BY version) AS counted
        FROM entry WHERE account_id IS NOT NULL
    ) AS walk WHERE balance_after <> counted
    UNION ALL
    SELECT 'held is the sum of the open holds', account_id
    FROM ledger_account a
    FULL JOIN (SELECT account_id, sum(amount) AS held FROM hold WHERE state = 'open' GROUP BY account_id) AS open
        USING (account_id)
    WHERE a.held IS DISTINCT FROM coalesce(open.held, 0)
    UNION ALL
    SELECT 'each hold was posted and ended by its transfers', h.id
    FROM hold h JOIN transfer t ON t.id = h.transfer_id
    WHERE t.kind <> 'hold' OR t.amount <> h.amount OR t.job_id <> h.job_id OR t.account_id <> h.account_id
    UNION ALL
    SELECT 'a job''s transfers agree with its holds', job_id
    FROM (
        SELECT job_id, sum(amount) FILTER (WHERE kind = 'hold') AS held,
            coalesce(sum(amount) FILTER (WHERE kind = 'capture'), 0) AS captured,
            coalesce(sum(amount) FILTER (WHERE kind = 'release'), 0) AS released
        FROM transfer WHERE job_id IS NOT NULL GROUP BY job_id
    ) AS booked
    FULL JOIN (
        SELECT job_id, sum(amount) AS held, sum(captured) AS captured,
            coalesce(sum(amount - captured) FILTER (WHERE state = 'ended'), 0) AS released
        FROM hold GROUP BY job_id
    ) AS kept USING (job_id)
    WHERE (booked.held, booked.captured, booked.released) IS DISTINCT FROM (kept.held, kept.captured, kept.released)
$$;
