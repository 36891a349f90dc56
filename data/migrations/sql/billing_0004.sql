-- Notices of Stripe, purchases and what was taken back of them, subscriptions.

ALTER TABLE account ADD COLUMN stripe_customer_id text DEFAULT '' NOT NULL;
CREATE UNIQUE INDEX uq_account_stripe_customer_id ON account (stripe_customer_id) WHERE stripe_customer_id <> '';

CREATE TABLE notice (
    id varchar(255) NOT NULL,
    type varchar NOT NULL,
    object_id text DEFAULT '' NOT NULL,
    created_at timestamptz NOT NULL,
    payload jsonb NOT NULL,
    state varchar DEFAULT 'received' NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    next_at timestamptz NOT NULL,
    last_error text DEFAULT '' NOT NULL,
    received_at timestamptz NOT NULL,
    handled_at timestamptz,
    CONSTRAINT pk_notice PRIMARY KEY (id),
    CONSTRAINT ck_notice_state CHECK (state IN ('received', 'handled', 'dead')),
    CONSTRAINT ck_notice_attempts CHECK (attempts >= 0),
    CONSTRAINT ck_notice_handled CHECK ((state = 'handled') = (handled_at IS NOT NULL))
);
CREATE INDEX ix_notice_due ON notice (next_at) WHERE state = 'received';
CREATE INDEX ix_notice_dead ON notice (received_at) WHERE state = 'dead';
CREATE INDEX ix_notice_handled ON notice (handled_at) WHERE state = 'handled';

CREATE TABLE purchase (
    id varchar(255) NOT NULL,
    account_id varchar(40) NOT NULL,
    item varchar NOT NULL,
    credits integer NOT NULL,
    amount_minor bigint NOT NULL,
    currency varchar NOT NULL,
    state varchar DEFAULT 'open' NOT NULL,
    payment_intent text DEFAULT '' NOT NULL,
    invoice text DEFAULT '' NOT NULL,
    revision integer DEFAULT 0 NOT NULL,
    created_at timestamptz NOT NULL,
    paid_at timestamptz,
    updated_at timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT pk_purchase PRIMARY KEY (id),
    CONSTRAINT fk_purchase_account_id FOREIGN KEY (account_id) REFERENCES account (id),
    CONSTRAINT ck_purchase_state CHECK (state IN ('open', 'paid', 'failed', 'expired', 'refunded', 'disputed')),
    CONSTRAINT ck_purchase_credits CHECK (credits >= 0),
    CONSTRAINT ck_purchase_amount CHECK (amount_minor >= 0),
    CONSTRAINT ck_purchase_paid CHECK ((state IN ('paid', 'refunded', 'disputed')) = (paid_at IS NOT NULL))
);
CREATE INDEX ix_purchase_account_id ON purchase (account_id, created_at);
CREATE INDEX ix_purchase_open ON purchase (created_at) WHERE state = 'open';
CREATE INDEX ix_purchase_payment_intent ON purchase (payment_intent) WHERE payment_intent <> '';
CREATE INDEX ix_purchase_invoice ON purchase (invoice) WHERE invoice <> '';

CREATE TABLE reversal (
    id varchar(200) NOT NULL,
    purchase_id varchar(255) NOT NULL,
    kind varchar NOT NULL,
    subject varchar NOT NULL,
    credits integer NOT NULL,
    created_at timestamptz NOT NULL,
    restored_at timestamptz,
    CONSTRAINT pk_reversal PRIMARY KEY (id),
    CONSTRAINT fk_reversal_purchase_id FOREIGN KEY (purchase_id) REFERENCES purchase (id),
    CONSTRAINT ck_reversal_kind CHECK (kind IN ('refund', 'dispute')),
    CONSTRAINT ck_reversal_credits CHECK (credits > 0)
);
CREATE INDEX ix_reversal_purchase_id ON reversal (purchase_id);

CREATE TABLE subscription (
    id varchar(255) NOT NULL,
    account_id varchar(40) NOT NULL,
    plan varchar NOT NULL,
    status varchar NOT NULL,
    current_period_end timestamptz,
    cancel_at_period_end boolean NOT NULL,
    revision integer DEFAULT 0 NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL,
    updated_at timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT pk_subscription PRIMARY KEY (id),
    CONSTRAINT fk_subscription_account_id FOREIGN KEY (account_id) REFERENCES account (id)
);
CREATE INDEX ix_subscription_account_id ON subscription (account_id);
