-- Connections to channels, their listings, what channels sent and what was sent to them.
-- {{app}} is the API's role, {{system}} that of cross-agency workers.

CREATE FUNCTION suite_now() RETURNS timestamptz LANGUAGE sql STABLE AS 'SELECT now()';
COMMENT ON FUNCTION suite_now IS 'The instant every decision of a transaction is made at; tests replace this one function.';

CREATE TABLE connections (
    id            uuid PRIMARY KEY,
    agency_id     uuid NOT NULL,
    name          text NOT NULL,
    adapter       text NOT NULL,
    endpoint_url  text NOT NULL,
    sealed_secret bytea NOT NULL,
    settings      jsonb NOT NULL,
    enabled       boolean NOT NULL DEFAULT true,
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL,
    CONSTRAINT connections_of_agency UNIQUE (agency_id, id)
);
COMMENT ON COLUMN connections.sealed_secret IS 'Signs both directions; encrypted by CREDENTIALS_KEY, which is not in the database.';
CREATE INDEX connections_newest ON connections (agency_id, created_at DESC, id DESC);

CREATE TABLE listings (
    id               uuid PRIMARY KEY,
    agency_id        uuid NOT NULL,
    connection_id    uuid NOT NULL,
    property_id      uuid NOT NULL,
    ota_listing_id   text NOT NULL,
    ota_rate_plan_id text,
    created_at       timestamptz NOT NULL,
    dirty_version    bigint NOT NULL,
    stale_since      timestamptz,
    task_id          uuid,
    traceparent      text,
    next_attempt_at  timestamptz NOT NULL,
    attempts         integer NOT NULL DEFAULT 0,
    lease_owner      text,
    lease_epoch      bigint NOT NULL DEFAULT 0,
    lease_expires_at timestamptz,
    sent_version     bigint NOT NULL DEFAULT 0,
    pushed_version   bigint,
    last_accepted    jsonb,
    accepted_at      timestamptz,
    unsettled_until  timestamptz,
    CONSTRAINT listings_mapped_once UNIQUE (connection_id, ota_listing_id),
    FOREIGN KEY (agency_id, connection_id) REFERENCES connections (agency_id, id),
    CHECK (stale_since IS NULL OR task_id IS NOT NULL),
    CHECK ((lease_owner IS NULL) = (lease_expires_at IS NULL))
);
COMMENT ON COLUMN listings.dirty_version IS 'Highest inventory version of the property we heard of.';
COMMENT ON COLUMN listings.stale_since IS 'Set while the channel must be told something; null when it was told everything.';
COMMENT ON COLUMN listings.task_id IS 'Names the work since the listing became stale; every attempt carries it.';
COMMENT ON COLUMN listings.traceparent IS 'Trace of the event that dirtied it last; the push is its child.';
COMMENT ON COLUMN listings.lease_epoch IS 'Counts claims; an outcome under an older epoch is not believed.';
COMMENT ON COLUMN listings.sent_version IS 'Highest version ever sent, whatever became of it; no older state is sent again.';
COMMENT ON COLUMN listings.pushed_version IS 'Version the channel last accepted; null when that is unknown.';
COMMENT ON COLUMN listings.last_accepted IS 'The nights the channel last accepted, as pushed; null when that is unknown.';
COMMENT ON COLUMN listings.unsettled_until IS 'Until then a request with an unknown outcome may still take effect at the channel.';
CREATE INDEX listings_of_property ON listings (property_id);
CREATE INDEX listings_newest ON listings (connection_id, created_at DESC, id DESC);
CREATE INDEX listings_due ON listings (next_attempt_at) WHERE stale_since IS NOT NULL;
CREATE INDEX listings_clean ON listings (accepted_at) WHERE stale_since IS NULL;

CREATE TABLE inbound_revisions (
    id                   uuid PRIMARY KEY,
    agency_id            uuid NOT NULL,
    connection_id        uuid NOT NULL,
    source               text NOT NULL CHECK (source IN ('webhook', 'kafka')),
    raw                  bytea NOT NULL,
    received_at          timestamptz NOT NULL,
    trace_id             text,
    revision_id          text NOT NULL,
    ota_reservation_code text,
    ota_listing_id       text,
    published_at         timestamptz,
    revision_no          bigint,
    property_id          uuid,
    state                text NOT NULL CHECK (state IN ('published', 'applied', 'duplicate', 'superseded', 'parked',
                             'unmapped', 'unparseable', 'echo', 'dead_lettered')),
    reason               text,
    handed_over_at       timestamptz,
    reservation_id       uuid,
    settled_at           timestamptz,
    CONSTRAINT inbound_revisions_once UNIQUE (connection_id, revision_id),
    CONSTRAINT inbound_revisions_in_order UNIQUE (connection_id, ota_reservation_code, revision_no),
    FOREIGN KEY (agency_id, connection_id) REFERENCES connections (agency_id, id),
    CHECK (state <> 'published' OR (property_id IS NOT NULL AND handed_over_at IS NOT NULL))
);
COMMENT ON TABLE inbound_revisions IS 'Every revision a channel sent, stored before it is acknowledged; id is the log_id.';
COMMENT ON COLUMN inbound_revisions.raw IS 'The bytes as they came; holds personal data of guests.';
COMMENT ON COLUMN inbound_revisions.published_at IS 'When the channel says it published the revision.';
COMMENT ON COLUMN inbound_revisions.handed_over_at IS 'When it was last written to the outbox for booking.';
CREATE INDEX inbound_revisions_newest ON inbound_revisions (agency_id, received_at DESC, id DESC);
CREATE INDEX inbound_revisions_of_connection ON inbound_revisions (connection_id, received_at DESC, id DESC);
CREATE INDEX inbound_revisions_waiting ON inbound_revisions (handed_over_at) WHERE state = 'published';
CREATE INDEX inbound_revisions_unmapped ON inbound_revisions (connection_id, ota_listing_id) WHERE state = 'unmapped';

CREATE TABLE sync_operations (
    log_id            uuid PRIMARY KEY,
    agency_id         uuid NOT NULL,
    connection_id     uuid NOT NULL,
    listing_id        uuid REFERENCES listings,
    batch_id          uuid,
    task_id           uuid NOT NULL,
    operation_type    text NOT NULL CHECK (operation_type IN ('availability_update', 'pricing_update', 'bookings_sync')),
    direction         text NOT NULL CHECK (direction IN ('inbound', 'outbound')),
    status            text NOT NULL CHECK (status IN ('triggered', 'running', 'success', 'failed')),
    inventory_version bigint,
    error             text,
    duration_ms       integer,
    trace_id          text,
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL,
    FOREIGN KEY (agency_id, connection_id) REFERENCES connections (agency_id, id)
);
COMMENT ON TABLE sync_operations IS 'One row per attempt against a channel; attempts of one task share its task_id.';
CREATE INDEX sync_operations_newest ON sync_operations (connection_id, created_at DESC, log_id DESC);

DO $$
DECLARE
    tenant_table text;
BEGIN
    FOREACH tenant_table IN ARRAY ARRAY['connections', 'listings', 'inbound_revisions', 'sync_operations']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format('CREATE POLICY own_agency ON %I TO {{app}} '
                       'USING (agency_id = (SELECT nullif(current_setting(''app.agency_id'', true), '''')::uuid))',
                       tenant_table);
        EXECUTE format('CREATE POLICY every_agency ON %I TO {{system}} USING (true)', tenant_table);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE ON %I TO {{system}}', tenant_table);
    END LOOP;
END $$;
GRANT SELECT, INSERT ON connections, listings TO {{app}};
GRANT SELECT, INSERT, UPDATE ON inbound_revisions TO {{app}};
GRANT SELECT ON sync_operations TO {{app}};
