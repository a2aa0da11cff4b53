-- The tables runtime needs in every service that has a database: outbox, relay leases, inbox, idempotency keys.
-- {{app}} and {{system}} are the service's application and system roles.

CREATE TABLE outbox (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    xid         xid8 NOT NULL DEFAULT pg_current_xact_id(),
    event_id    uuid NOT NULL,
    topic       text NOT NULL,
    shard       smallint NOT NULL,
    key         text NOT NULL,
    type        text NOT NULL,
    subject     text NOT NULL,
    agency_id   uuid NOT NULL,
    occurred_at timestamptz NOT NULL,
    data        jsonb NOT NULL,
    traceparent text,
    tracestate  text,
    sent_at     timestamptz,
    quarantined text
);
COMMENT ON TABLE outbox IS 'Events of committed changes; the relay sends unsent rows in id order, and it is the feed of event streams.';
COMMENT ON COLUMN outbox.shard IS 'Partition of the topic; the relay claims by it.';
COMMENT ON COLUMN outbox.quarantined IS 'Why this row cannot be sent; rows of the same key wait behind it.';
CREATE INDEX outbox_unsent ON outbox (shard, id) WHERE sent_at IS NULL;
CREATE INDEX outbox_feed ON outbox (agency_id, xid, id);

CREATE TABLE relay_leases (
    shard      smallint PRIMARY KEY,
    owner      text NOT NULL,
    expires_at timestamptz NOT NULL
);
COMMENT ON TABLE relay_leases IS 'Spares double work between relays; order does not depend on it.';

CREATE TABLE inbox (
    consumer     text NOT NULL,
    event_id     uuid NOT NULL,
    processed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer, event_id)
);
COMMENT ON TABLE inbox IS 'Events already applied, written in the transaction of their effect.';
CREATE INDEX inbox_processed_at ON inbox (processed_at);

CREATE TABLE idempotency_keys (
    agency_id   uuid NOT NULL,
    caller      text NOT NULL,
    key         text NOT NULL,
    fingerprint text NOT NULL,
    status      smallint NOT NULL,
    body        text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz NOT NULL DEFAULT now() + interval '48 hours',
    PRIMARY KEY (agency_id, caller, key)
);
COMMENT ON TABLE idempotency_keys IS '2xx answers of creating requests, inserted last in the transaction of their effect.';
CREATE INDEX idempotency_keys_expires_at ON idempotency_keys (expires_at);

ALTER TABLE outbox ENABLE ROW LEVEL SECURITY;
ALTER TABLE outbox FORCE ROW LEVEL SECURITY;
ALTER TABLE idempotency_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE idempotency_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY own_agency ON outbox TO {{app}}
    USING (agency_id = nullif(current_setting('app.agency_id', true), '')::uuid);
CREATE POLICY own_agency ON idempotency_keys TO {{app}}
    USING (agency_id = nullif(current_setting('app.agency_id', true), '')::uuid);
CREATE POLICY every_agency ON outbox TO {{system}} USING (true);
CREATE POLICY every_agency ON idempotency_keys TO {{system}} USING (true);

GRANT SELECT, INSERT ON outbox, idempotency_keys TO {{app}};
GRANT SELECT, INSERT, UPDATE, DELETE ON outbox, relay_leases, inbox, idempotency_keys TO {{system}};
