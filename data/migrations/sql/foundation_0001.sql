-- The first tables, as data/tables describes them; a test compares the two.
--
-- Frozen once released: a change is a new migration, never an edit here.

CREATE TABLE account (
    id varchar(40) NOT NULL,
    name varchar NOT NULL,
    email text DEFAULT '' NOT NULL,
    password_hash varchar,
    role varchar NOT NULL,
    plan varchar DEFAULT 'free' NOT NULL,
    token_version integer DEFAULT 1 NOT NULL,
    failed_sign_ins integer DEFAULT 0 NOT NULL,
    locked_until timestamptz,
    created_at timestamptz DEFAULT now() NOT NULL,
    deleted_at timestamptz,
    CONSTRAINT pk_account PRIMARY KEY (id),
    CONSTRAINT ck_account_role CHECK (role IN ('creator', 'analyst', 'engineer', 'moderator', 'admin')),
    CONSTRAINT ck_account_name_length CHECK (length(name) BETWEEN 2 AND 32)
);
CREATE UNIQUE INDEX uq_account_email_lower ON account (lower(email)) WHERE email <> '';
CREATE UNIQUE INDEX uq_account_name_lower ON account (lower(name));


CREATE TABLE asset (
    id varchar(40) NOT NULL,
    key varchar NOT NULL,
    sha256 varchar(64) NOT NULL,
    media_type varchar NOT NULL,
    size_bytes bigint NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL,
    released_at timestamptz,
    CONSTRAINT pk_asset PRIMARY KEY (id),
    CONSTRAINT ck_asset_size CHECK (size_bytes >= 0),
    CONSTRAINT ck_asset_sha256 CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    CONSTRAINT uq_asset_key UNIQUE (key)
);
CREATE INDEX ix_asset_released_at ON asset (released_at) WHERE released_at IS NOT NULL;


CREATE TABLE tag (
    name varchar NOT NULL,
    CONSTRAINT pk_tag PRIMARY KEY (name)
);


CREATE TABLE job (
    id varchar(40) NOT NULL,
    number bigint GENERATED ALWAYS AS IDENTITY,
    account_id varchar(40) NOT NULL,
    kind varchar NOT NULL,
    state varchar NOT NULL,
    brief jsonb NOT NULL,
    results jsonb DEFAULT '{}' NOT NULL,
    price_credits integer NOT NULL,
    idempotency_key varchar(200) NOT NULL,
    request_hash varchar(64) NOT NULL,
    attempt integer DEFAULT 0 NOT NULL,
    failures integer DEFAULT 0 NOT NULL,
    round integer DEFAULT 1 NOT NULL,
    ready_at timestamptz DEFAULT now() NOT NULL,
    lease_until timestamptz,
    cancel_requested boolean DEFAULT false NOT NULL,
    reason text DEFAULT '' NOT NULL,
    reason_code text DEFAULT '' NOT NULL,
    trace_id text DEFAULT '' NOT NULL,
    objects_swept boolean DEFAULT false NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL,
    started_at timestamptz,
    finished_at timestamptz,
    CONSTRAINT pk_job PRIMARY KEY (id),
    CONSTRAINT ck_job_state CHECK (state IN ('queued', 'processing', 'processed', 'failed', 'cancelled', 'no credits')),
    CONSTRAINT ck_job_price CHECK (price_credits >= 0),
    CONSTRAINT ck_job_lease_while_processing CHECK ((state = 'processing') = (lease_until IS NOT NULL)),
    CONSTRAINT uq_job_account_id_idempotency_key UNIQUE (account_id, idempotency_key),
    CONSTRAINT uq_job_number UNIQUE (number),
    CONSTRAINT fk_job_account_id FOREIGN KEY (account_id) REFERENCES account (id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX ix_job_durations ON job (kind, finished_at DESC) WHERE state = 'processed';
CREATE INDEX ix_job_history ON job (account_id, number DESC);
CREATE INDEX ix_job_lease ON job (lease_until) WHERE state = 'processing';
CREATE INDEX ix_job_queued ON job (account_id, number) WHERE state = 'queued';
CREATE INDEX ix_job_unswept ON job (finished_at) WHERE finished_at IS NOT NULL AND NOT objects_swept;
CREATE UNIQUE INDEX uq_job_one_processing ON job (account_id) WHERE state = 'processing';


CREATE TABLE lane (
    account_id varchar(40) NOT NULL,
    start_cost integer NOT NULL,
    virtual_time bigint DEFAULT 0 NOT NULL,
    last_start bigint DEFAULT 0 NOT NULL,
    CONSTRAINT pk_lane PRIMARY KEY (account_id),
    CONSTRAINT ck_lane_start_cost CHECK (start_cost > 0),
    CONSTRAINT fk_lane_account_id FOREIGN KEY (account_id) REFERENCES account (id) ON DELETE CASCADE
) WITH (fillfactor = 70);
CREATE INDEX ix_lane_last_start ON lane (last_start);


CREATE TABLE ledger_account (
    account_id varchar(40) NOT NULL,
    available bigint DEFAULT 0 NOT NULL,
    held bigint DEFAULT 0 NOT NULL,
    version integer DEFAULT 0 NOT NULL,
    CONSTRAINT pk_ledger_account PRIMARY KEY (account_id),
    CONSTRAINT ck_ledger_account_available CHECK (available >= 0),
    CONSTRAINT ck_ledger_account_held CHECK (held >= 0),
    CONSTRAINT fk_ledger_account_account_id FOREIGN KEY (account_id) REFERENCES account (id)
);


CREATE TABLE session (
    id varchar(40) NOT NULL,
    token_hash bytea NOT NULL,
    account_id varchar(40) NOT NULL,
    token_version integer NOT NULL,
    user_agent text DEFAULT '' NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL,
    seen_at timestamptz DEFAULT now() NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT pk_session PRIMARY KEY (id),
    CONSTRAINT uq_session_token_hash UNIQUE (token_hash),
    CONSTRAINT fk_session_account_id FOREIGN KEY (account_id) REFERENCES account (id) ON DELETE CASCADE
);
CREATE INDEX ix_session_account_id ON session (account_id);


CREATE TABLE job_progress (
    job_id varchar(40) NOT NULL,
    stage varchar NOT NULL,
    fraction double precision NOT NULL,
    message text DEFAULT '' NOT NULL,
    stages jsonb DEFAULT '{}' NOT NULL,
    updated_at timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT pk_job_progress PRIMARY KEY (job_id),
    CONSTRAINT ck_job_progress_stage CHECK (stage IN ('text', 'music', 'cover', 'tags')),
    CONSTRAINT ck_job_progress_fraction CHECK (fraction BETWEEN 0 AND 1),
    CONSTRAINT fk_job_progress_job_id FOREIGN KEY (job_id) REFERENCES job (id) ON DELETE CASCADE
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);


CREATE TABLE song (
    id varchar(40) NOT NULL,
    account_id varchar(40) NOT NULL,
    job_id varchar(40) NOT NULL,
    take_index integer NOT NULL,
    status varchar NOT NULL,
    title text DEFAULT '' NOT NULL,
    prompt text DEFAULT '' NOT NULL,
    description text DEFAULT '' NOT NULL,
    lyrics text DEFAULT '' NOT NULL,
    described_lyrics text DEFAULT '' NOT NULL,
    instrumental boolean DEFAULT false NOT NULL,
    engine text DEFAULT '' NOT NULL,
    engine_version text DEFAULT '' NOT NULL,
    seed integer,
    steps integer,
    guidance_scale double precision,
    duration_s double precision,
    tempo_bpm double precision,
    key varchar,
    loudness_lufs double precision,
    true_peak_dbtp double precision,
    sections jsonb DEFAULT '[]' NOT NULL,
    lines jsonb DEFAULT '[]' NOT NULL,
    provenance jsonb DEFAULT '{}' NOT NULL,
    reason text DEFAULT '' NOT NULL,
    note text DEFAULT '' NOT NULL,
    parent_id varchar(40),
    published_at timestamptz,
    download_rule varchar DEFAULT 'everyone' NOT NULL,
    play_count integer DEFAULT 0 NOT NULL,
    download_count integer DEFAULT 0 NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL,
    updated_at timestamptz DEFAULT now() NOT NULL,
    deleted_at timestamptz,
    CONSTRAINT pk_song PRIMARY KEY (id),
    CONSTRAINT ck_song_status CHECK (status IN ('queued', 'processing', 'processed', 'failed', 'cancelled', 'no credits')),
    CONSTRAINT ck_song_download_rule CHECK (download_rule IN ('nobody', 'followers', 'everyone')),
    CONSTRAINT ck_song_published_is_processed CHECK (published_at IS NULL OR status = 'processed'),
    CONSTRAINT ck_song_title_length CHECK (length(title) <= 100),
    CONSTRAINT uq_song_job_id_take_index UNIQUE (job_id, take_index),
    CONSTRAINT fk_song_account_id FOREIGN KEY (account_id) REFERENCES account (id),
    CONSTRAINT fk_song_job_id FOREIGN KEY (job_id) REFERENCES job (id),
    CONSTRAINT fk_song_parent_id FOREIGN KEY (parent_id) REFERENCES song (id) ON DELETE SET NULL
);
CREATE INDEX ix_song_discover ON song (published_at DESC, id DESC) WHERE published_at IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX ix_song_library ON song (account_id, created_at DESC, id DESC) WHERE deleted_at IS NULL;
CREATE INDEX ix_song_parent_id ON song (parent_id) WHERE parent_id IS NOT NULL;


CREATE TABLE ticket (
    token_hash bytea NOT NULL,
    session_id varchar(40) NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT pk_ticket PRIMARY KEY (token_hash),
    CONSTRAINT fk_ticket_session_id FOREIGN KEY (session_id) REFERENCES session (id) ON DELETE CASCADE
);
CREATE INDEX ix_ticket_session_id ON ticket (session_id);


CREATE TABLE transfer (
    id varchar(40) NOT NULL,
    idempotency_key varchar(200) NOT NULL,
    request_hash varchar(64) NOT NULL,
    kind varchar NOT NULL,
    account_id varchar(40) NOT NULL,
    debit varchar NOT NULL,
    credit varchar NOT NULL,
    amount bigint NOT NULL,
    job_id varchar(40),
    note text DEFAULT '' NOT NULL,
    event_at timestamptz NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT pk_transfer PRIMARY KEY (id),
    CONSTRAINT ck_transfer_amount CHECK (amount > 0),
    CONSTRAINT ck_transfer_kind CHECK (kind IN ('grant', 'hold', 'capture', 'release')),
    CONSTRAINT uq_transfer_idempotency_key UNIQUE (idempotency_key),
    CONSTRAINT fk_transfer_account_id FOREIGN KEY (account_id) REFERENCES account (id),
    CONSTRAINT fk_transfer_job_id FOREIGN KEY (job_id) REFERENCES job (id) DEFERRABLE INITIALLY DEFERRED
);


CREATE TABLE entry (
    number bigserial NOT NULL,
    transfer_id varchar(40) NOT NULL,
    account_id varchar(40),
    purse varchar NOT NULL,
    amount bigint NOT NULL,
    version integer,
    balance_after bigint,
    created_at timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT pk_entry PRIMARY KEY (number),
    CONSTRAINT ck_entry_amount CHECK (amount <> 0),
    CONSTRAINT ck_entry_purse CHECK (CASE WHEN purse IN ('available', 'held') THEN account_id IS NOT NULL AND coalesce(version, 0) >= 1 AND coalesce(balance_after, -1) >= 0 ELSE account_id IS NULL AND version IS NULL AND balance_after IS NULL END),
    CONSTRAINT uq_entry_account_id_version UNIQUE (account_id, version),
    CONSTRAINT fk_entry_transfer_id FOREIGN KEY (transfer_id) REFERENCES transfer (id),
    CONSTRAINT fk_entry_account_id FOREIGN KEY (account_id) REFERENCES account (id)
);
CREATE INDEX ix_entry_transfer_id ON entry (transfer_id);


CREATE TABLE hold (
    id varchar(40) NOT NULL,
    account_id varchar(40) NOT NULL,
    job_id varchar(40) NOT NULL,
    transfer_id varchar(40) NOT NULL,
    amount bigint NOT NULL,
    captured bigint DEFAULT 0 NOT NULL,
    state varchar DEFAULT 'open' NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL,
    ended_at timestamptz,
    CONSTRAINT pk_hold PRIMARY KEY (id),
    CONSTRAINT ck_hold_amount CHECK (amount > 0),
    CONSTRAINT ck_hold_state CHECK (state IN ('open', 'ended')),
    CONSTRAINT ck_hold_captured CHECK (captured BETWEEN 0 AND amount),
    CONSTRAINT ck_hold_ended CHECK ((state = 'ended') = (ended_at IS NOT NULL)),
    CONSTRAINT fk_hold_account_id FOREIGN KEY (account_id) REFERENCES account (id),
    CONSTRAINT fk_hold_job_id FOREIGN KEY (job_id) REFERENCES job (id) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT uq_hold_transfer_id UNIQUE (transfer_id),
    CONSTRAINT fk_hold_transfer_id FOREIGN KEY (transfer_id) REFERENCES transfer (id)
);
CREATE INDEX ix_hold_job_id ON hold (job_id);
CREATE UNIQUE INDEX uq_hold_open_job ON hold (job_id) WHERE state = 'open';


CREATE TABLE song_asset (
    song_id varchar(40) NOT NULL,
    role varchar NOT NULL,
    asset_id varchar(40) NOT NULL,
    CONSTRAINT pk_song_asset PRIMARY KEY (song_id, role),
    CONSTRAINT ck_song_asset_role CHECK (role IN ('wav', 'stream', 'peaks', 'cover', 'cover_512', 'cover_128')),
    CONSTRAINT fk_song_asset_song_id FOREIGN KEY (song_id) REFERENCES song (id) ON DELETE CASCADE,
    CONSTRAINT fk_song_asset_asset_id FOREIGN KEY (asset_id) REFERENCES asset (id)
);
CREATE INDEX ix_song_asset_asset_id ON song_asset (asset_id);


CREATE TABLE song_tag (
    song_id varchar(40) NOT NULL,
    tag varchar NOT NULL,
    position integer NOT NULL,
    CONSTRAINT pk_song_tag PRIMARY KEY (song_id, tag),
    CONSTRAINT fk_song_tag_song_id FOREIGN KEY (song_id) REFERENCES song (id) ON DELETE CASCADE,
    CONSTRAINT fk_song_tag_tag FOREIGN KEY (tag) REFERENCES tag (name)
);
CREATE INDEX ix_song_tag_tag ON song_tag (tag);
