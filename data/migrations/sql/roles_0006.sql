-- What a login that may not read the books may ask of them. Who may ask stands in grants.sql.
--
-- Frozen once released: a change is a new file in a new migration (CREATE OR REPLACE, never an edit here).

-- What an account has. Names the account for the rest of the transaction, so that the web process, which sees no row of
-- the books otherwise, asks once instead of twice.
CREATE FUNCTION ledger_balance(an_account text) RETURNS TABLE (available bigint, held bigint, owed bigint)
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM set_config('melodeon.account_id', an_account, true);
    RETURN QUERY SELECT a.available, a.held, a.owed FROM ledger_account a WHERE a.account_id = an_account;
END $$;


-- A figure over all accounts, without saying whose.
CREATE FUNCTION ledger_credits_held() RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
RETURN (SELECT coalesce(sum(amount), 0)::bigint FROM hold WHERE state = 'open');
