-- The ledger and the records around it. {{app}} is the API's role, {{system}} that of cross-agency workers.

CREATE EXTENSION IF NOT EXISTS btree_gist;

CREATE FUNCTION suite_now() RETURNS timestamptz LANGUAGE sql STABLE AS 'SELECT now()';
COMMENT ON FUNCTION suite_now IS 'The instant every decision of a transaction is made at; tests replace this one function.';

CREATE FUNCTION property_lock_key(property_id uuid) RETURNS bigint LANGUAGE sql IMMUTABLE STRICT
    AS 'SELECT hashtextextended(property_id::text, 0)';

CREATE TABLE properties (
    id                  uuid PRIMARY KEY,
    agency_id           uuid NOT NULL,
    name                text NOT NULL,
    time_zone           text NOT NULL,
    currency            text NOT NULL,
    max_occupancy       smallint NOT NULL CHECK (max_occupancy >= 1),
    location            jsonb,
    amenities           jsonb NOT NULL DEFAULT '[]',
    preparation_days    smallint NOT NULL CHECK (preparation_days >= 0),
    lead_time_hours     smallint NOT NULL CHECK (lead_time_hours >= 0),
    booking_window_days smallint NOT NULL CHECK (booking_window_days BETWEEN 1 AND 730),
    check_in_time       text NOT NULL,
    check_out_time      text NOT NULL,
    active              boolean NOT NULL DEFAULT true,
    created_at          timestamptz NOT NULL,
    updated_at          timestamptz NOT NULL
);
CREATE INDEX properties_newest ON properties (agency_id, created_at DESC, id DESC);

CREATE TABLE inventory_versions (
    property_id       uuid PRIMARY KEY REFERENCES properties,
    agency_id         uuid NOT NULL,
    shard             smallint NOT NULL,
    inventory_version bigint NOT NULL,
    rules_version     bigint NOT NULL,
    published_version bigint NOT NULL DEFAULT 0,
    published_at      timestamptz
) WITH (fillfactor = 70);
COMMENT ON TABLE inventory_versions IS 'One narrow, hot row per property, so that a booking does not copy the whole profile.';
COMMENT ON COLUMN inventory_versions.published_version IS 'Version of the last snapshot on the compacted topic.';

CREATE TABLE guests (
    id               uuid PRIMARY KEY,
    agency_id        uuid NOT NULL,
    name             text NOT NULL,
    email            text,
    email_normalised text,
    phone            text,
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL
);
CREATE UNIQUE INDEX guests_email ON guests (agency_id, email_normalised);

CREATE TABLE reservations (
    id                   uuid PRIMARY KEY,
    agency_id            uuid NOT NULL,
    property_id          uuid NOT NULL REFERENCES properties,
    guest_id             uuid REFERENCES guests,
    check_in             date NOT NULL,
    check_out            date NOT NULL,
    status               text NOT NULL CHECK (status IN ('inquiry', 'pending', 'confirmed', 'checked_in', 'checked_out',
                             'declined', 'cancelled', 'expired', 'no_show', 'overbooked')),
    source               text NOT NULL CHECK (source IN ('direct', 'ota')),
    connection_id        uuid,
    ota_name             text,
    ota_reservation_code text,
    group_id             uuid,
    adults               smallint NOT NULL CHECK (adults >= 1),
    children             smallint NOT NULL CHECK (children >= 0),
    infants              smallint NOT NULL CHECK (infants >= 0),
    total_amount_minor   bigint CHECK (total_amount_minor >= 0),
    currency             text NOT NULL,
    notes                text,
    hold_expires_at      timestamptz,
    cancelled_at         timestamptz,
    cancel_reason        text,
    inventory_version    bigint NOT NULL,
    created_at           timestamptz NOT NULL,
    updated_at           timestamptz NOT NULL,
    CHECK (check_out > check_in)
);
CREATE INDEX reservations_newest ON reservations (agency_id, created_at DESC, id DESC);
CREATE INDEX reservations_of_property ON reservations (property_id, check_in);
CREATE UNIQUE INDEX reservations_ota_code ON reservations (connection_id, ota_reservation_code, property_id)
    WHERE connection_id IS NOT NULL;

CREATE TABLE blocks (
    id                uuid PRIMARY KEY,
    agency_id         uuid NOT NULL,
    property_id       uuid NOT NULL REFERENCES properties,
    start_date        date NOT NULL,
    end_date          date NOT NULL,
    reason            text,
    source            text NOT NULL,
    active            boolean NOT NULL,
    inventory_version bigint NOT NULL,
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL,
    CHECK (end_date > start_date)
);
CREATE INDEX blocks_newest ON blocks (agency_id, created_at DESC, id DESC);

CREATE TABLE conflicts (
    id                   uuid PRIMARY KEY,
    agency_id            uuid NOT NULL,
    property_id          uuid NOT NULL REFERENCES properties,
    reservation_id       uuid NOT NULL REFERENCES reservations,
    state                text NOT NULL CHECK (state IN ('open', 'closed')),
    check_in             date NOT NULL,
    check_out            date NOT NULL,
    competing_source_ids jsonb NOT NULL,
    resolution           text,
    opened_at            timestamptz NOT NULL,
    closed_at            timestamptz,
    CHECK ((state = 'closed') = (closed_at IS NOT NULL))
);
CREATE INDEX conflicts_open ON conflicts (property_id) WHERE state = 'open';
CREATE INDEX conflicts_oldest ON conflicts (agency_id, opened_at, id);

CREATE TABLE channel_revisions (
    connection_id        uuid NOT NULL,
    ota_reservation_code text NOT NULL,
    property_id          uuid NOT NULL REFERENCES properties,
    revision_no          bigint NOT NULL,
    agency_id            uuid NOT NULL,
    revision_id          text NOT NULL,
    ota_name             text NOT NULL,
    reservation_id       uuid,
    outcome              text NOT NULL,
    reason               text,
    decided_at           timestamptz NOT NULL,
    PRIMARY KEY (connection_id, ota_reservation_code, property_id, revision_no)
);
COMMENT ON TABLE channel_revisions IS 'What became of each OTA revision; the inbox of the channel-sync topic.';

CREATE TABLE inventory_ranges (
    id          uuid PRIMARY KEY,
    agency_id   uuid NOT NULL,
    property_id uuid NOT NULL REFERENCES properties,
    kind        text NOT NULL CHECK (kind IN ('reservation', 'block', 'hold', 'conflict')),
    state       text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'released')),
    source_id   uuid NOT NULL,
    stay        daterange NOT NULL CHECK (NOT isempty(stay)),
    occupied    daterange NOT NULL CHECK (occupied @> stay),
    expires_at  timestamptz,
    created_at  timestamptz NOT NULL,
    released_at timestamptz,
    CHECK ((state = 'released') = (released_at IS NOT NULL)),
    CONSTRAINT inventory_ranges_no_overlap
        EXCLUDE USING gist (property_id WITH =, occupied WITH &&) WHERE (state = 'active')
);
COMMENT ON TABLE inventory_ranges IS 'The ledger: the only source of truth for "is it free". Ranges are half-open dates.';
CREATE INDEX inventory_ranges_expiring ON inventory_ranges (expires_at) WHERE state = 'active' AND expires_at IS NOT NULL;

DO $$
DECLARE
    tenant_table text;
BEGIN
    FOREACH tenant_table IN ARRAY ARRAY['properties', 'inventory_versions', 'guests', 'reservations', 'blocks',
                                        'conflicts', 'channel_revisions', 'inventory_ranges']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format('CREATE POLICY own_agency ON %I TO {{app}} '
                       'USING (agency_id = (SELECT nullif(current_setting(''app.agency_id'', true), '''')::uuid))',
                       tenant_table);
        EXECUTE format('CREATE POLICY every_agency ON %I TO {{system}} USING (true)', tenant_table);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE ON %I TO {{app}}, {{system}}', tenant_table);
    END LOOP;
END $$;
