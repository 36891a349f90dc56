-- What web processes must hear of at once: somebody may have lost the way in, or has more or fewer credits. They look
-- then, see serving/api/news.py. By triggers, so that it is told however it came about; Jobs are told of by whoever
-- writes them, see data/repositories/jobs.py.
--
-- Frozen once released: a change is a new file in a new migration (CREATE OR REPLACE, never an edit here).

CREATE FUNCTION tell_of_account() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    changed jsonb := CASE WHEN TG_OP = 'DELETE' THEN to_jsonb(OLD) ELSE to_jsonb(NEW) END;
BEGIN
    PERFORM pg_notify('melodeon_account', changed ->> TG_ARGV[0]);
    RETURN NULL;
END $$;

CREATE TRIGGER session_ended AFTER DELETE ON session
    FOR EACH ROW EXECUTE FUNCTION tell_of_account('account_id');
CREATE TRIGGER sessions_ended AFTER UPDATE OF token_version, deleted_at ON account
    FOR EACH ROW EXECUTE FUNCTION tell_of_account('id');
CREATE TRIGGER key_ended AFTER DELETE OR UPDATE OF revoked_at ON api_key
    FOR EACH ROW EXECUTE FUNCTION tell_of_account('account_id');
-- Transfers of a Job come with a change of the Job.
CREATE TRIGGER credits_moved AFTER INSERT ON transfer
    FOR EACH ROW WHEN (NEW.job_id IS NULL) EXECUTE FUNCTION tell_of_account('account_id');
