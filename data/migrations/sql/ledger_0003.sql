-- The ledger, complete: blocks of credits that expire, taking back and giving back, debt, a chain of hashes.
--
-- Frozen once released: a change is a new file in a new migration (CREATE OR REPLACE, never an edit here).
--
-- A grant makes a block. What is available is the sum of what remains of the account's blocks, and block_entry says of
-- each transfer from which blocks it drew and to which it gave back. Credits are drawn plan, promo, paid; within a kind
-- what expires earliest goes first; then in the order of booking.
--
-- 'owed' is a third purse of a person, at or below nought: credits taken back that were spent already. Nobody who owes
-- has credits available: whatever comes to 'available' pays the debt first.
--
-- Each transfer carries a hash of itself, its entries, its block and its draws, and of the hash before it: the account's
-- chain, whose head stands in ledger_account. Who changes a byte of what was booked breaks the chain there.
--
-- ledger_open, _grant, _hold, _settle, _clawback, _restore and _expire are for callers: SECURITY DEFINER, so that
-- they need no right on a table. All other functions are parts of these.

ALTER TABLE ledger_account
    ADD COLUMN owed bigint DEFAULT 0 NOT NULL,
    ADD COLUMN head varchar(64) DEFAULT '' NOT NULL,
    ADD CONSTRAINT ck_ledger_account_owed CHECK (owed >= 0);

ALTER TABLE transfer
    ADD COLUMN about_id varchar(40),
    ADD COLUMN hash varchar(64) DEFAULT '' NOT NULL,
    ADD CONSTRAINT fk_transfer_about_id FOREIGN KEY (about_id) REFERENCES transfer (id),
    DROP CONSTRAINT ck_transfer_kind,
    ADD CONSTRAINT ck_transfer_kind CHECK (
        kind IN ('grant', 'hold', 'capture', 'release', 'refund', 'restore', 'expire', 'debt')
    );
CREATE UNIQUE INDEX uq_transfer_restored ON transfer (about_id, credit) WHERE kind = 'restore';

ALTER TABLE entry
    DROP CONSTRAINT ck_entry_purse,
    ADD CONSTRAINT ck_entry_purse CHECK (
        CASE WHEN purse IN ('available', 'held')
        THEN account_id IS NOT NULL AND coalesce(version, 0) >= 1 AND coalesce(balance_after, -1) >= 0
        WHEN purse = 'owed'
        THEN account_id IS NOT NULL AND coalesce(version, 0) >= 1 AND coalesce(balance_after, 1) <= 0
        ELSE account_id IS NULL AND version IS NULL AND balance_after IS NULL END
    );

CREATE TABLE grant_block (
    id varchar(40) NOT NULL,
    account_id varchar(40) NOT NULL,
    transfer_id varchar(40) NOT NULL,
    number integer NOT NULL,
    kind varchar NOT NULL,
    amount bigint NOT NULL,
    remaining bigint NOT NULL,
    open boolean GENERATED ALWAYS AS (remaining > 0) STORED NOT NULL,
    expires_at timestamptz,
    cost_minor bigint DEFAULT 0 NOT NULL,
    currency varchar(3) DEFAULT '' NOT NULL,
    CONSTRAINT pk_grant_block PRIMARY KEY (id),
    CONSTRAINT fk_grant_block_account_id FOREIGN KEY (account_id) REFERENCES account (id),
    CONSTRAINT fk_grant_block_transfer_id FOREIGN KEY (transfer_id) REFERENCES transfer (id),
    CONSTRAINT uq_grant_block_transfer_id UNIQUE (transfer_id),
    CONSTRAINT ck_grant_block_kind CHECK (kind IN ('paid', 'promo', 'plan')),
    CONSTRAINT ck_grant_block_amount CHECK (amount > 0),
    CONSTRAINT ck_grant_block_remaining CHECK (remaining BETWEEN 0 AND amount),
    CONSTRAINT ck_grant_block_cost CHECK (cost_minor >= 0)
);
-- 'open' changes seldom, 'remaining' with every draw: an index that names only the first leaves updates in place.
CREATE INDEX ix_grant_block_open ON grant_block (account_id) WHERE open;
CREATE INDEX ix_grant_block_due ON grant_block (expires_at) WHERE open;

CREATE TABLE block_entry (
    transfer_id varchar(40) NOT NULL,
    position integer NOT NULL,
    block_id varchar(40) NOT NULL,
    amount bigint NOT NULL,
    CONSTRAINT pk_block_entry PRIMARY KEY (transfer_id, position),
    CONSTRAINT fk_block_entry_transfer_id FOREIGN KEY (transfer_id) REFERENCES transfer (id),
    CONSTRAINT fk_block_entry_block_id FOREIGN KEY (block_id) REFERENCES grant_block (id),
    CONSTRAINT ck_block_entry_amount CHECK (amount <> 0)
);

CREATE TYPE ledger_draw AS (block_id text, amount bigint);  -- below nought: drawn; above: given or given back

ALTER TYPE ledger_answer ADD ATTRIBUTE owed bigint;  -- outcomes besides those of 0001: owes credits | no clawback

CREATE TYPE ledger_taken AS (
    outcome text,        -- done | repeated | key reused | no grant
    taken bigint,        -- credits that were there and went
    owed bigint          -- credits that were not there and became a debt
);

DROP FUNCTION ledger_grant(text, text, text, bigint, text, timestamptz);
DROP FUNCTION ledger_hold(text, text, text, text, text, bigint, timestamptz);
DROP FUNCTION ledger_settle(text, text, text, text, bigint, timestamptz);
DROP FUNCTION ledger_post(text, text, text, text, text, text, text, bigint, text, text, timestamptz);
DROP FUNCTION ledger_answer_now(text, text, text, text);
DROP FUNCTION ledger_lock(text);


-- STABLE, as what it calls: so the planner puts it in place instead of calling it.
CREATE OR REPLACE FUNCTION ledger_request_hash(VARIADIC parts text[]) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN encode(sha256(convert_to(to_jsonb(parts)::text, 'UTF8')), 'hex');


-- The link of the chain that a transfer is. Times as numbers: their text depends on the reader's time zone.
CREATE FUNCTION ledger_hash(head text, t transfer, entries text, draws text, detail text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN encode(sha256(convert_to(head || jsonb_build_array(
    t.id, t.idempotency_key, t.request_hash, t.kind, t.account_id, t.debit, t.credit, t.amount, t.job_id, t.about_id,
    t.note, extract(epoch FROM t.event_at), extract(epoch FROM t.created_at), entries, draws, detail
)::text, 'UTF8')), 'hex');


CREATE FUNCTION ledger_block_text(b grant_block) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN jsonb_build_array(
    b.id, b.account_id, b.number, b.kind, b.amount, extract(epoch FROM b.expires_at), b.cost_minor, b.currency
)::text;


-- What the links are made of, as booked; 'version' orders an account's links.
CREATE VIEW ledger_chain AS
SELECT t.account_id, t.id AS transfer_id, sides.version, t.hash, t AS transfer, sides.entries,
    coalesce(drawn.draws, '') AS draws,
    coalesce((SELECT h.id FROM hold h WHERE h.transfer_id = t.id), '')
        || coalesce((SELECT ledger_block_text(b) FROM grant_block b WHERE b.transfer_id = t.id), '') AS detail
FROM transfer t
LEFT JOIN (
    SELECT transfer_id, max(version) AS version,
        string_agg(concat_ws(' ', number, purse, amount, version, balance_after), ',' ORDER BY number) AS entries
    FROM entry GROUP BY transfer_id
) AS sides ON sides.transfer_id = t.id
LEFT JOIN (
    SELECT transfer_id, array_agg(ROW(block_id, amount)::ledger_draw ORDER BY position)::text AS draws
    FROM block_entry GROUP BY transfer_id
) AS drawn ON drawn.transfer_id = t.id;


-- An empty purse for a new account. Harmless when it is there already.
CREATE OR REPLACE FUNCTION ledger_open(an_account text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
AS $$
BEGIN
    INSERT INTO ledger_account (account_id) VALUES (an_account) ON CONFLICT DO NOTHING;
END $$;


-- Waits for the account's turn. NULLs: this account never had a purse.
--
-- The advisory lock is the line: who came first goes first. Alone, the row's own lock is anybody's who asks at the right
-- moment (each change leaves a new version, and all who wait run after it), so that some would wait many turns.
CREATE FUNCTION ledger_lock(an_account text) RETURNS ledger_account
LANGUAGE plpgsql
AS $$
DECLARE
    account ledger_account;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(an_account, 0));
    SELECT * INTO account FROM ledger_account WHERE account_id = an_account FOR NO KEY UPDATE;
    RETURN account;
END $$;


CREATE FUNCTION ledger_say(an_outcome text, a_transfer text, a_hold text, account ledger_account) RETURNS ledger_answer
LANGUAGE sql STABLE
RETURN ROW(
    an_outcome, a_transfer, a_hold, coalesce(account.available, 0), coalesce(account.held, 0), coalesce(account.owed, 0)
)::ledger_answer;


-- From which blocks so many credits are drawn: first from a_first, if given, then in the order of the house.
CREATE FUNCTION ledger_draws(an_account text, an_amount bigint, a_first text) RETURNS ledger_draw[]
LANGUAGE plpgsql
AS $$
DECLARE
    draws ledger_draw[];
BEGIN
    SELECT array_agg(ROW(id, -least(remaining, an_amount - until + remaining))::ledger_draw ORDER BY until) INTO draws
    FROM (
        SELECT id, remaining, sum(remaining) OVER (
            ORDER BY id IS DISTINCT FROM a_first, array_position(ARRAY['plan', 'promo', 'paid'], kind::text),
                expires_at NULLS LAST, number
        ) AS until
        FROM grant_block WHERE account_id = an_account AND open
    ) AS line
    WHERE until - remaining < an_amount;
    RETURN draws;
END $$;


-- What is in a person's purse; NULL: it is a purse of the house.
CREATE FUNCTION ledger_purse(account ledger_account, a_purse text) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE a_purse WHEN 'available' THEN account.available WHEN 'held' THEN account.held
    WHEN 'owed' THEN -account.owed END;


CREATE FUNCTION ledger_change(a_purse text, a_debit text, a_credit text, an_amount bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE a_purse WHEN a_credit THEN an_amount WHEN a_debit THEN -an_amount ELSE 0 END;


-- One transfer with its two entries, its draws and, with a grant, its block. The caller holds the account's lock and
-- hands in the account as it is; the answer is the account afterwards, or NULL: somebody else's request of this moment
-- took the key, and nothing was written.
CREATE FUNCTION ledger_post(
    before ledger_account, a_transfer text, a_key text, a_hash text, a_kind text, a_debit text, a_credit text,
    an_amount bigint, an_event_at timestamptz, draws ledger_draw[] DEFAULT NULL, a_job text DEFAULT NULL,
    an_about text DEFAULT NULL, a_note text DEFAULT '', a_hold text DEFAULT '', a_block grant_block DEFAULT NULL
) RETURNS ledger_account
LANGUAGE plpgsql
AS $$
DECLARE
    after ledger_account := before;
    t transfer;
    debit_number bigint := nextval('entry_number_seq');
    credit_number bigint := nextval('entry_number_seq');
    debit_version int;
    credit_version int;
    debit_after bigint;
    credit_after bigint;
BEGIN
    after.available := before.available + ledger_change('available', a_debit, a_credit, an_amount);
    after.held := before.held + ledger_change('held', a_debit, a_credit, an_amount);
    after.owed := before.owed - ledger_change('owed', a_debit, a_credit, an_amount);
    debit_after := ledger_purse(after, a_debit);
    IF debit_after IS NOT NULL THEN
        after.version := after.version + 1;
        debit_version := after.version;
    END IF;
    credit_after := ledger_purse(after, a_credit);
    IF credit_after IS NOT NULL THEN
        after.version := after.version + 1;
        credit_version := after.version;
    END IF;
    a_block.number := after.version;
    t.id := a_transfer;
    t.idempotency_key := a_key;
    t.request_hash := a_hash;
    t.kind := a_kind;
    t.account_id := before.account_id;
    t.debit := a_debit;
    t.credit := a_credit;
    t.amount := an_amount;
    t.job_id := a_job;
    t.about_id := an_about;
    t.note := a_note;
    t.event_at := an_event_at;
    t.created_at := now();
    after.head := ledger_hash(
        before.head, t,
        concat_ws(' ', debit_number, a_debit, -an_amount, debit_version, debit_after) || ','
            || concat_ws(' ', credit_number, a_credit, an_amount, credit_version, credit_after),
        coalesce(draws::text, ''),
        a_hold || CASE WHEN a_block.id IS NULL THEN '' ELSE ledger_block_text(a_block) END
    );
    t.hash := after.head;
    INSERT INTO transfer VALUES (t.*) ON CONFLICT (idempotency_key) DO NOTHING;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    UPDATE ledger_account
    SET available = after.available, held = after.held, owed = after.owed, version = after.version, head = after.head
    WHERE account_id = before.account_id AND version = before.version;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'serialization_failure', MESSAGE = 'the account was not locked';
    END IF;
    INSERT INTO entry (number, transfer_id, account_id, purse, amount, version, balance_after) VALUES
        (debit_number, a_transfer, CASE WHEN debit_version IS NOT NULL THEN before.account_id END,
         a_debit, -an_amount, debit_version, debit_after),
        (credit_number, a_transfer, CASE WHEN credit_version IS NOT NULL THEN before.account_id END,
         a_credit, an_amount, credit_version, credit_after);
    IF a_block.id IS NOT NULL THEN
        INSERT INTO grant_block
            (id, account_id, transfer_id, number, kind, amount, remaining, expires_at, cost_minor, currency)
        VALUES (
            a_block.id, before.account_id, a_transfer, a_block.number, a_block.kind, an_amount, 0, a_block.expires_at,
            a_block.cost_minor, a_block.currency
        );
    END IF;
    -- Nearly always one, seldom three; each found by its key, where a join would be planned for many.
    FOR place IN 1 .. coalesce(cardinality(draws), 0) LOOP
        INSERT INTO block_entry (transfer_id, position, block_id, amount)
        VALUES (a_transfer, place, draws[place].block_id, draws[place].amount);
        UPDATE grant_block SET remaining = remaining + draws[place].amount WHERE id = draws[place].block_id;
    END LOOP;
    RETURN after;
END $$;


-- Takes what has expired out of an account that the caller has locked.
CREATE FUNCTION ledger_expire_due(account ledger_account, a_transfer text, a_moment timestamptz) RETURNS ledger_account
LANGUAGE plpgsql
AS $$
DECLARE
    draws ledger_draw[];
    total bigint;
BEGIN
    SELECT array_agg(ROW(id, -remaining)::ledger_draw ORDER BY id), sum(remaining) INTO draws, total
    FROM grant_block WHERE account_id = account.account_id AND open AND expires_at <= a_moment;
    IF draws IS NULL THEN
        RETURN account;
    END IF;
    RETURN ledger_post(
        account, a_transfer, 'expire:' || a_transfer, ledger_request_hash('expire', account.account_id, total::text),
        'expire', 'available', 'expired', total, a_moment, draws
    );
END $$;


-- Pays what the account owes from what came to it by the transfer an_about.
CREATE FUNCTION ledger_pay_debt(
    account ledger_account, a_transfer text, an_about text, an_event_at timestamptz
) RETURNS ledger_account
LANGUAGE plpgsql
AS $$
DECLARE
    paid bigint := least(account.available, account.owed);
BEGIN
    RETURN ledger_post(
        account, a_transfer, 'debt:' || a_transfer, ledger_request_hash('debt', an_about, paid::text),
        'debt', 'available', 'owed', paid, an_event_at, ledger_draws(account.account_id, paid, NULL),
        an_about => an_about
    );
END $$;


-- Credits for an account, in a block of their own: promotion, sales or subscriptions -> available. Opens the account's
-- purse. A debt is paid from it at once, under the id a_debt.
CREATE FUNCTION ledger_grant(
    a_transfer text, a_key text, an_account text, an_amount bigint, a_note text, an_event_at timestamptz,
    a_block text, a_debt text, a_kind text, an_expiry timestamptz, a_cost bigint, a_currency text
) RETURNS ledger_answer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
AS $$
DECLARE
    hash text := ledger_request_hash('grant', an_account, an_amount::text, a_note);
    source text := CASE a_kind WHEN 'promo' THEN 'promotion' WHEN 'paid' THEN 'sales' ELSE 'subscriptions' END;
    block grant_block;
    account ledger_account;
    earlier record;
BEGIN
    PERFORM ledger_refuse_amount(an_amount);
    -- a plain gift is known again by what it was known by before there were blocks
    IF (a_kind, a_cost, a_currency) <> ('promo', 0, '') OR an_expiry IS NOT NULL THEN
        hash := ledger_request_hash(
            hash, a_kind, extract(epoch FROM an_expiry)::text, a_cost::text, a_currency
        );
    END IF;
    account := ledger_lock(an_account);
    -- only then: while the row changes, an INSERT would wait past the line
    IF account.account_id IS NULL THEN
        PERFORM ledger_open(an_account);
        account := ledger_lock(an_account);
    END IF;
    SELECT * INTO earlier FROM ledger_earlier(hash, a_key);
    IF earlier.outcome IS NOT NULL THEN
        RETURN ledger_say(earlier.outcome, earlier.transfer_id, NULL, account);
    END IF;
    block.id := a_block;
    block.account_id := an_account;
    block.kind := a_kind;
    block.amount := an_amount;
    block.expires_at := an_expiry;
    block.cost_minor := a_cost;
    block.currency := a_currency;
    account := ledger_post(
        account, a_transfer, a_key, hash, 'grant', source, 'available', an_amount, an_event_at,
        ARRAY[ROW(a_block, an_amount)::ledger_draw], a_note => a_note, a_block => block
    );
    IF account IS NULL THEN
        RETURN ledger_say('key reused', NULL, NULL, ledger_lock(an_account));
    END IF;
    IF account.owed > 0 THEN
        account := ledger_pay_debt(account, a_debt, a_transfer, an_event_at);
    END IF;
    RETURN ledger_say('done', a_transfer, NULL, account);
END $$;


-- Sets credits aside for a Job: available -> held. A Job has at most one open hold. What has expired goes first, under
-- the id an_expired.
CREATE FUNCTION ledger_hold(
    a_hold text, a_transfer text, a_key text, an_account text, a_job text, an_amount bigint, an_event_at timestamptz,
    an_expired text
) RETURNS ledger_answer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
AS $$
DECLARE
    hash text := ledger_request_hash('hold', an_account, a_job, an_amount::text);
    account ledger_account;
    after ledger_account;
    earlier record;
    earlier_hold text;
BEGIN
    PERFORM ledger_refuse_amount(an_amount);
    account := ledger_lock(an_account);
    SELECT * INTO earlier FROM ledger_earlier(hash, a_key);
    IF earlier.outcome IS NOT NULL THEN
        SELECT id INTO earlier_hold FROM hold WHERE transfer_id = earlier.transfer_id;
        RETURN ledger_say(earlier.outcome, earlier.transfer_id, earlier_hold, account);
    END IF;
    SELECT id INTO earlier_hold FROM hold WHERE job_id = a_job AND state = 'open';
    IF FOUND THEN
        RETURN ledger_say('hold open', NULL, earlier_hold, account);
    END IF;
    IF account.account_id IS NULL THEN
        RETURN ledger_say('no credits', NULL, NULL, account);
    END IF;
    account := ledger_expire_due(account, an_expired, an_event_at);
    IF account.owed > 0 THEN
        RETURN ledger_say('owes credits', NULL, NULL, account);
    END IF;
    IF account.available < an_amount THEN
        RETURN ledger_say('no credits', NULL, NULL, account);
    END IF;
    after := ledger_post(
        account, a_transfer, a_key, hash, 'hold', 'available', 'held', an_amount, an_event_at,
        ledger_draws(an_account, an_amount, NULL), a_job => a_job, a_hold => a_hold
    );
    IF after IS NULL THEN
        RETURN ledger_say('key reused', NULL, NULL, account);
    END IF;
    INSERT INTO hold (id, account_id, job_id, transfer_id, amount)
    VALUES (a_hold, an_account, a_job, a_transfer, an_amount);
    RETURN ledger_say('done', a_transfer, a_hold, after);
END $$;


-- What a hold gives back to its blocks when so much of it is captured: what was drawn first is captured first.
CREATE FUNCTION ledger_returns(a_transfer text, a_captured bigint) RETURNS ledger_draw[]
LANGUAGE plpgsql
AS $$
DECLARE
    draws ledger_draw[];
BEGIN
    SELECT array_agg(ROW(block_id, least(-amount, until - a_captured))::ledger_draw ORDER BY position) INTO draws
    FROM (
        SELECT block_id, amount, position, sum(-amount) OVER (ORDER BY position) AS until
        FROM block_entry WHERE transfer_id = a_transfer
    ) AS line
    WHERE until > a_captured;
    RETURN draws;
END $$;


-- Ends a Job's hold: so many credits captured (held -> revenue), the rest released (held -> available) to the blocks
-- they came from. The two transfers take the keys '<key>/capture' and '<key>/release'. A debt is paid from what is
-- released, under the id a_debt.
CREATE FUNCTION ledger_settle(
    a_capture text, a_release text, a_debt text, a_key text, a_job text, a_captured bigint, an_event_at timestamptz
) RETURNS ledger_answer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
AS $$
DECLARE
    hash text := ledger_request_hash('settle', a_job, a_captured::text);
    capture_key text := a_key || '/capture';
    release_key text := a_key || '/release';
    account ledger_account;
    earlier record;
    the_hold hold;
BEGIN
    IF a_captured IS NULL OR a_captured < 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = 'captured credits are not below nought';
    END IF;
    SELECT * INTO the_hold FROM hold WHERE job_id = a_job ORDER BY state = 'open' DESC, id DESC LIMIT 1;
    account := ledger_lock(the_hold.account_id);
    SELECT * INTO earlier FROM ledger_earlier(hash, capture_key, release_key);
    IF earlier.outcome IS NOT NULL THEN
        RETURN ledger_say(earlier.outcome, earlier.transfer_id, NULL, account);
    END IF;
    UPDATE hold SET state = 'ended', captured = a_captured, ended_at = now()
    WHERE job_id = a_job AND state = 'open' AND amount >= a_captured
    RETURNING * INTO the_hold;
    IF NOT FOUND THEN
        SELECT * INTO the_hold FROM hold WHERE job_id = a_job AND state = 'open';
        RETURN ledger_say(CASE WHEN FOUND THEN 'over hold' ELSE 'no hold' END, NULL, the_hold.id, account);
    END IF;
    IF a_captured > 0 THEN
        account := ledger_post(
            account, a_capture, capture_key, hash, 'capture', 'held', 'revenue', a_captured, an_event_at,
            a_job => a_job
        );
    END IF;
    IF account IS NOT NULL AND a_captured < the_hold.amount THEN
        account := ledger_post(
            account, a_release, release_key, hash, 'release', 'held', 'available', the_hold.amount - a_captured,
            an_event_at, ledger_returns(the_hold.transfer_id, a_captured), a_job => a_job
        );
    END IF;
    IF account IS NULL THEN
        -- Only a request for another account can take the key in this moment; undo by failing.
        RAISE EXCEPTION USING ERRCODE = 'unique_violation', MESSAGE = 'the settlement key was used for something else';
    END IF;
    IF account.owed > 0 AND a_captured < the_hold.amount THEN
        account := ledger_pay_debt(account, a_debt, a_release, an_event_at);
    END IF;
    RETURN ledger_say(
        'done', CASE WHEN a_captured > 0 THEN a_capture ELSE a_release END, the_hold.id, account
    );
END $$;


-- Takes credits back after their payment was: available -> refund, from the block of that grant first, then in the order
-- of the house; what is not there becomes a debt, owed -> refund. What is held stays with its Jobs. The two transfers
-- take the keys '<key>/taken' and '<key>/owed'; what expired goes first, under the id an_expired.
CREATE FUNCTION ledger_clawback(
    a_taken text, an_owed text, an_expired text, a_key text, an_account text, an_amount bigint, a_grant_key text,
    a_note text, an_event_at timestamptz
) RETURNS ledger_taken
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
AS $$
DECLARE
    hash text := ledger_request_hash('clawback', an_account, an_amount::text, a_grant_key, a_note);
    taken_key text := a_key || '/taken';
    owed_key text := a_key || '/owed';
    account ledger_account;
    earlier record;
    granted record;
    taken bigint;
BEGIN
    PERFORM ledger_refuse_amount(an_amount);
    account := ledger_lock(an_account);
    SELECT * INTO earlier FROM ledger_earlier(hash, taken_key, owed_key);
    IF earlier.outcome IS NOT NULL THEN
        SELECT coalesce(sum(amount), 0) INTO taken FROM transfer WHERE idempotency_key = taken_key;
        RETURN ROW(earlier.outcome, taken, an_amount - taken)::ledger_taken;
    END IF;
    SELECT t.id, e.block_id INTO granted FROM transfer t JOIN block_entry e ON e.transfer_id = t.id
    WHERE t.idempotency_key = a_grant_key AND t.account_id = an_account AND t.kind = 'grant';
    IF NOT FOUND THEN
        RETURN ROW('no grant', 0, 0)::ledger_taken;
    END IF;
    account := ledger_expire_due(account, an_expired, an_event_at);
    taken := least(account.available, an_amount);
    IF taken > 0 THEN
        account := ledger_post(
            account, a_taken, taken_key, hash, 'refund', 'available', 'refund', taken, an_event_at,
            ledger_draws(an_account, taken, granted.block_id), an_about => granted.id, a_note => a_note
        );
    END IF;
    IF account IS NOT NULL AND taken < an_amount THEN
        account := ledger_post(
            account, an_owed, owed_key, hash, 'refund', 'owed', 'refund', an_amount - taken, an_event_at,
            an_about => granted.id, a_note => a_note
        );
    END IF;
    IF account IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'unique_violation', MESSAGE = 'the clawback key was used for something else';
    END IF;
    RETURN ROW('done', taken, an_amount - taken)::ledger_taken;
END $$;


-- Undoes a clawback, once: refund -> owed as far as there is a debt, the rest refund -> available, in a new block of the
-- grant's kind that does not expire: the time of the dispute shall not be the person's loss. The two transfers take the
-- keys '<key>/debt' and '<key>/available'.
CREATE FUNCTION ledger_restore(
    a_debt text, an_available text, a_block text, a_key text, an_account text, a_clawback_key text,
    an_event_at timestamptz
) RETURNS ledger_answer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
AS $$
DECLARE
    hash text := ledger_request_hash('restore', an_account, a_clawback_key);
    debt_key text := a_key || '/debt';
    available_key text := a_key || '/available';
    account ledger_account := ledger_lock(an_account);
    earlier record;
    clawback record;
    block grant_block;
    paid bigint;
BEGIN
    SELECT * INTO earlier FROM ledger_earlier(hash, debt_key, available_key);
    IF earlier.outcome IS NOT NULL THEN
        RETURN ledger_say(earlier.outcome, earlier.transfer_id, NULL, account);
    END IF;
    SELECT max(id) AS id, min(about_id) AS grant_id, sum(amount)::bigint AS amount INTO clawback
    FROM transfer
    WHERE idempotency_key IN (a_clawback_key || '/taken', a_clawback_key || '/owed')
        AND account_id = an_account AND kind = 'refund';
    IF clawback.id IS NULL OR EXISTS (SELECT FROM transfer WHERE about_id = clawback.id AND kind = 'restore') THEN
        RETURN ledger_say('no clawback', NULL, NULL, account);
    END IF;
    paid := least(account.owed, clawback.amount);
    IF paid > 0 THEN
        account := ledger_post(
            account, a_debt, debt_key, hash, 'restore', 'refund', 'owed', paid, an_event_at, an_about => clawback.id
        );
    END IF;
    IF account IS NOT NULL AND paid < clawback.amount THEN
        SELECT b.kind, b.cost_minor * (clawback.amount - paid) / b.amount, b.currency
        INTO block.kind, block.cost_minor, block.currency
        FROM block_entry e JOIN grant_block b ON b.id = e.block_id WHERE e.transfer_id = clawback.grant_id;
        block.id := a_block;
        block.account_id := an_account;
        block.amount := clawback.amount - paid;
        account := ledger_post(
            account, an_available, available_key, hash, 'restore', 'refund', 'available', block.amount, an_event_at,
            ARRAY[ROW(a_block, block.amount)::ledger_draw], an_about => clawback.id, a_block => block
        );
    END IF;
    IF account IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'unique_violation', MESSAGE = 'the restoring key was used for something else';
    END IF;
    RETURN ledger_say('done', CASE WHEN paid > 0 THEN a_debt ELSE an_available END, NULL, account);
END $$;


-- Takes what has expired from as many accounts as there are ids for the transfers; how many accounts it was. Whoever is
-- busy at the moment is left for the next time: this never waits, so it never stands in anybody's way for long.
CREATE FUNCTION ledger_expire(a_moment timestamptz, VARIADIC ids text[]) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
AS $$
DECLARE
    account ledger_account;
    done int := 0;
BEGIN
    FOR account IN
        SELECT a.* FROM ledger_account a
        WHERE EXISTS (
            SELECT FROM grant_block b WHERE b.account_id = a.account_id AND b.open AND b.expires_at <= a_moment
        )
        LIMIT cardinality(ids) FOR NO KEY UPDATE SKIP LOCKED
    LOOP
        done := done + 1;
        PERFORM ledger_expire_due(account, ids[done], a_moment);
    END LOOP;
    RETURN done;
END $$;


-- What was booked stays as it is: as in 0001, for the new tables too. Of a block only what remains changes.
CREATE TRIGGER block_entry_append_only BEFORE UPDATE OR DELETE ON block_entry
    FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER block_entry_no_truncate BEFORE TRUNCATE ON block_entry
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER grant_block_kept BEFORE DELETE ON grant_block
    FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER grant_block_no_truncate BEFORE TRUNCATE ON grant_block
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
-- by the columns named, not by a comparison of rows: this one is asked at every posting
CREATE TRIGGER grant_block_is_drawn
    BEFORE UPDATE OF id, account_id, transfer_id, number, kind, amount, expires_at, cost_minor, currency ON grant_block
    FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change();
ALTER TABLE block_entry
    ENABLE ALWAYS TRIGGER block_entry_append_only, ENABLE ALWAYS TRIGGER block_entry_no_truncate;
ALTER TABLE grant_block
    ENABLE ALWAYS TRIGGER grant_block_kept, ENABLE ALWAYS TRIGGER grant_block_no_truncate,
    ENABLE ALWAYS TRIGGER grant_block_is_drawn;


-- What was booked before there were blocks: everything an account was given is one block of promotion, from which its
-- holds drew and to which their releases gave back. So what it has available remains, and a hold that is open now gives
-- back to this block.
INSERT INTO grant_block (id, account_id, transfer_id, number, kind, amount, remaining)
SELECT 'blk_' || split_part(first.id, '_', 2), a.account_id, first.id, first.version, 'promo', first.total, a.available
FROM ledger_account a
CROSS JOIN LATERAL (
    SELECT t.id, e.version, sum(t.amount) OVER () AS total
    FROM transfer t JOIN entry e ON e.transfer_id = t.id AND e.purse = 'available'
    WHERE t.account_id = a.account_id AND t.kind = 'grant' ORDER BY e.version LIMIT 1
) AS first;

INSERT INTO block_entry (transfer_id, position, block_id, amount)
SELECT e.transfer_id, 1, b.id, e.amount FROM entry e JOIN grant_block b USING (account_id) WHERE e.purse = 'available';

-- And its chain.
ALTER TABLE transfer DISABLE TRIGGER transfer_append_only;
DO $$
DECLARE
    link record;
    last_account text := '';
    last_hash text;
BEGIN
    FOR link IN SELECT * FROM ledger_chain ORDER BY account_id, version LOOP
        last_hash := ledger_hash(
            CASE WHEN link.account_id = last_account THEN last_hash ELSE '' END,
            link.transfer, link.entries, link.draws, link.detail
        );
        last_account := link.account_id;
        UPDATE transfer SET hash = last_hash WHERE id = link.transfer_id;
        UPDATE ledger_account SET head = last_hash WHERE account_id = link.account_id;
    END LOOP;
END $$;
ALTER TABLE transfer ENABLE ALWAYS TRIGGER transfer_append_only;
ALTER TABLE transfer ALTER COLUMN hash DROP DEFAULT;


-- The audit: one row for each thing that is wrong, none when the books are right. One statement, so one moment; it
-- counts everything again from the entries and walks every chain.
CREATE OR REPLACE FUNCTION ledger_faults() RETURNS TABLE (rule text, subject text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
AS $$
    WITH counted AS (
        SELECT account_id,
            coalesce(sum(amount) FILTER (WHERE purse = 'available'), 0) AS available,
            coalesce(sum(amount) FILTER (WHERE purse = 'held'), 0) AS held,
            coalesce(-sum(amount) FILTER (WHERE purse = 'owed'), 0) AS owed,
            count(*) AS entries,
            max(version) AS last
        FROM entry WHERE account_id IS NOT NULL GROUP BY account_id
    )
    SELECT 'the entries sum to nought', 'all' FROM entry HAVING coalesce(sum(amount), 0) <> 0
    UNION ALL
    SELECT 'a transfer has two entries of its moment, from its debit to its credit', t.id
    FROM transfer t LEFT JOIN entry e ON e.transfer_id = t.id
    GROUP BY t.id
    HAVING count(e.number) <> 2
        OR count(*) FILTER (WHERE e.purse = t.debit AND e.amount = -t.amount) <> 1
        OR count(*) FILTER (WHERE e.purse = t.credit AND e.amount = t.amount) <> 1
        OR bool_or(e.account_id IS DISTINCT FROM t.account_id AND e.purse IN ('available', 'held', 'owed'))
        OR bool_or(e.created_at <> t.created_at)
    UNION ALL
    SELECT 'each kind of transfer has its purses', id FROM transfer
    WHERE (kind, debit, credit) NOT IN (
        ('grant', 'promotion', 'available'), ('grant', 'sales', 'available'), ('grant', 'subscriptions', 'available'),
        ('hold', 'available', 'held'), ('capture', 'held', 'revenue'), ('release', 'held', 'available'),
        ('refund', 'available', 'refund'), ('refund', 'owed', 'refund'),
        ('restore', 'refund', 'available'), ('restore', 'refund', 'owed'),
        ('expire', 'available', 'expired'), ('debt', 'available', 'owed')
    )
    UNION ALL
    SELECT 'a balance is the sum of its entries', account_id
    FROM ledger_account a FULL JOIN counted c USING (account_id)
    WHERE (a.available, a.held, a.owed) IS DISTINCT FROM
        (coalesce(c.available, 0), coalesce(c.held, 0), coalesce(c.owed, 0))
    UNION ALL
    SELECT 'who owes has no credits available', account_id FROM ledger_account WHERE owed > 0 AND available > 0
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
    SELECT 'each hold was posted by its transfer', coalesce(h.id, t.id)
    FROM hold h FULL JOIN (SELECT * FROM transfer WHERE kind = 'hold') t ON t.id = h.transfer_id
    WHERE (t.amount, t.job_id, t.account_id, t.created_at)
        IS DISTINCT FROM (h.amount, h.job_id, h.account_id, h.created_at)
    UNION ALL
    SELECT 'a job''s transfers agree with its holds', job_id
    FROM (
        SELECT job_id, sum(amount) FILTER (WHERE kind = 'hold') AS held,
            coalesce(sum(amount) FILTER (WHERE kind = 'capture'), 0) AS captured,
            coalesce(sum(amount) FILTER (WHERE kind = 'release'), 0) AS released,
            array_agg(DISTINCT created_at) FILTER (WHERE kind IN ('capture', 'release')) AS ended
        FROM transfer WHERE job_id IS NOT NULL GROUP BY job_id
    ) AS booked
    FULL JOIN (
        SELECT job_id, sum(amount) AS held, sum(captured) AS captured,
            coalesce(sum(amount - captured) FILTER (WHERE state = 'ended'), 0) AS released,
            array_agg(DISTINCT ended_at) FILTER (WHERE state = 'ended') AS ended
        FROM hold GROUP BY job_id
    ) AS kept USING (job_id)
    WHERE (booked.held, booked.captured, booked.released, booked.ended)
        IS DISTINCT FROM (kept.held, kept.captured, kept.released, kept.ended)
    UNION ALL
    SELECT 'what is available remains in the blocks', account_id
    FROM ledger_account a
    FULL JOIN (SELECT account_id, sum(remaining) AS remaining FROM grant_block GROUP BY account_id) AS kept
        USING (account_id)
    WHERE a.available IS DISTINCT FROM coalesce(kept.remaining, 0)
    UNION ALL
    SELECT 'a block is made by a grant and what remains is what was drawn from it', b.id
    FROM grant_block b
    LEFT JOIN transfer t ON t.id = b.transfer_id AND t.kind IN ('grant', 'restore')
    LEFT JOIN block_entry e ON e.block_id = b.id
    LEFT JOIN transfer d ON d.id = e.transfer_id
    GROUP BY b.id, t.id
    HAVING t.id IS NULL OR b.remaining IS DISTINCT FROM sum(e.amount) OR bool_or(d.account_id <> b.account_id)
    UNION ALL
    SELECT 'each transfer of available credits is drawn from blocks', coalesce(e.transfer_id, d.transfer_id)
    FROM (SELECT transfer_id, amount FROM entry WHERE purse = 'available') AS e
    FULL JOIN (
        SELECT transfer_id, sum(amount) AS amount, min(position) = 1 AND max(position) = count(*) AS dense
        FROM block_entry GROUP BY transfer_id
    ) AS d USING (transfer_id)
    WHERE e.amount IS DISTINCT FROM d.amount OR NOT d.dense
    UNION ALL
    SELECT 'a release gives back to the blocks of its hold', t.job_id
    FROM transfer t JOIN block_entry e ON e.transfer_id = t.id WHERE t.job_id IS NOT NULL
    GROUP BY t.job_id, e.block_id HAVING sum(e.amount) > 0
    UNION ALL
    SELECT 'what is restored is what was taken back', r.about_id
    FROM (SELECT about_id, sum(amount) AS amount FROM transfer WHERE kind = 'restore' GROUP BY about_id) AS r
    LEFT JOIN transfer c ON c.id = r.about_id
    LEFT JOIN LATERAL (
        SELECT sum(amount) AS amount FROM transfer
        WHERE kind = 'refund' AND account_id = c.account_id AND idempotency_key IN (
            regexp_replace(c.idempotency_key, '/(taken|owed)$', '/taken'),
            regexp_replace(c.idempotency_key, '/(taken|owed)$', '/owed')
        )
    ) AS taken ON true
    WHERE r.amount IS DISTINCT FROM taken.amount
    UNION ALL
    SELECT 'the chain of hashes is unbroken', coalesce(walk.transfer_id, a.account_id)
    FROM (
        SELECT *, lag(hash, 1, '') OVER own AS before, lead(hash) OVER own IS NULL AS is_last
        FROM ledger_chain WINDOW own AS (PARTITION BY account_id ORDER BY version)
    ) AS walk
    FULL JOIN ledger_account a ON a.account_id = walk.account_id AND walk.is_last
    WHERE walk.hash IS DISTINCT FROM ledger_hash(walk.before, walk.transfer, walk.entries, walk.draws, walk.detail)
        OR (walk.is_last AND a.head IS DISTINCT FROM walk.hash)
        OR (walk.transfer_id IS NULL AND a.head <> '')
$$;
