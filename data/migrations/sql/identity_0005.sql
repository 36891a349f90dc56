-- Who somebody is and how it is proved, as data/tables/identity.py and data/tables/account.py describe it.
--
-- Frozen once released: a change is a new migration, never an edit here.

-- Wrong passwords are counted in rate_limit, also for names that nobody has.
ALTER TABLE account
    DROP COLUMN failed_sign_ins,
    DROP COLUMN locked_until,
    ADD COLUMN email_verified_at timestamptz,
    ADD COLUMN avatar_key text DEFAULT '' NOT NULL,
    ADD COLUMN sessions_valid_after timestamptz;


CREATE TABLE one_time_token (
    account_id varchar(40) NOT NULL,
    purpose varchar NOT NULL,
    email text NOT NULL,
    token_hash bytea,
    expires_at timestamptz,
    created_at timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT pk_one_time_token PRIMARY KEY (account_id, purpose),
    CONSTRAINT ck_one_time_token_purpose CHECK (purpose IN ('verify', 'reset')),
    CONSTRAINT uq_one_time_token_token_hash UNIQUE (token_hash),
    CONSTRAINT fk_one_time_token_account_id FOREIGN KEY (account_id) REFERENCES account (id) ON DELETE CASCADE
);


CREATE TABLE api_key (
    id varchar(40) NOT NULL,
    account_id varchar(40) NOT NULL,
    secret_hash bytea NOT NULL,
    shown varchar NOT NULL,
    label text NOT NULL,
    scopes text[] NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz,
    CONSTRAINT pk_api_key PRIMARY KEY (id),
    CONSTRAINT ck_api_key_scopes CHECK (scopes <@ ARRAY['read', 'create', 'billing']::text[]),
    CONSTRAINT uq_api_key_secret_hash UNIQUE (secret_hash),
    CONSTRAINT fk_api_key_account_id FOREIGN KEY (account_id) REFERENCES account (id) ON DELETE CASCADE
);
CREATE INDEX ix_api_key_account_id ON api_key (account_id);


CREATE TABLE identity (
    issuer text NOT NULL,
    subject text NOT NULL,
    account_id varchar(40) NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL,
    seen_at timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT pk_identity PRIMARY KEY (issuer, subject),
    CONSTRAINT fk_identity_account_id FOREIGN KEY (account_id) REFERENCES account (id) ON DELETE CASCADE
);
CREATE INDEX ix_identity_account_id ON identity (account_id);


CREATE TABLE totp (
    account_id varchar(40) NOT NULL,
    sealed_secret bytea NOT NULL,
    last_step bigint DEFAULT 0 NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL,
    confirmed_at timestamptz,
    CONSTRAINT pk_totp PRIMARY KEY (account_id),
    CONSTRAINT fk_totp_account_id FOREIGN KEY (account_id) REFERENCES account (id) ON DELETE CASCADE
);


CREATE TABLE recovery_code (
    account_id varchar(40) NOT NULL,
    code_hash bytea NOT NULL,
    CONSTRAINT pk_recovery_code PRIMARY KEY (account_id, code_hash),
    CONSTRAINT fk_recovery_code_account_id FOREIGN KEY (account_id) REFERENCES account (id) ON DELETE CASCADE
);


CREATE UNLOGGED TABLE rate_limit (
    bucket_hash bytea NOT NULL,
    free_at timestamptz NOT NULL,
    CONSTRAINT pk_rate_limit PRIMARY KEY (bucket_hash)
);
CREATE INDEX ix_rate_limit_free_at ON rate_limit (free_at);


CREATE TABLE audit (
    number bigint GENERATED ALWAYS AS IDENTITY,
    at timestamptz DEFAULT now() NOT NULL,
    actor varchar NOT NULL,
    action varchar NOT NULL,
    subject varchar NOT NULL,
    detail text DEFAULT '' NOT NULL,
    CONSTRAINT pk_audit PRIMARY KEY (number)
);
CREATE INDEX ix_audit_subject ON audit (subject);

CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is never changed' USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER audit_rows_stay BEFORE UPDATE OR DELETE ON audit
    FOR EACH ROW EXECUTE FUNCTION audit_is_append_only();
CREATE TRIGGER audit_stays BEFORE TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();


CREATE TABLE mail (
    id varchar(40) NOT NULL,
    kind varchar NOT NULL,
    to_address text NOT NULL,
    account_id varchar(40),
    attempts integer DEFAULT 0 NOT NULL,
    last_error text DEFAULT '' NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL,
    ready_at timestamptz DEFAULT now() NOT NULL,
    given_up_at timestamptz,
    CONSTRAINT pk_mail PRIMARY KEY (id),
    CONSTRAINT ck_mail_kind CHECK (kind IN (
        'verify_email', 'reset_password', 'password_changed', 'email_changed', 'second_factor_changed'
    )),
    CONSTRAINT fk_mail_account_id FOREIGN KEY (account_id) REFERENCES account (id) ON DELETE CASCADE
);
CREATE INDEX ix_mail_account_id ON mail (account_id);
CREATE INDEX ix_mail_ready_at ON mail (ready_at);
