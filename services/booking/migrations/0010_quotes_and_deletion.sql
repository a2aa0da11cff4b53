-- Quotes that a booking can name, and properties that are no longer sold. {{app}} is the API's role, {{system}} the
-- workers'.

CREATE TABLE quotes (
    id            uuid PRIMARY KEY,
    agency_id     uuid NOT NULL,
    property_id   uuid NOT NULL REFERENCES properties,
    hold_id       uuid,
    check_in      date NOT NULL,
    check_out     date NOT NULL,
    adults        smallint NOT NULL,
    children      smallint NOT NULL,
    infants       smallint NOT NULL,
    currency      text NOT NULL,
    total_minor   bigint,
    created_at    timestamptz NOT NULL,
    expires_at    timestamptz NOT NULL,
    CHECK (check_out > check_in)
);
COMMENT ON TABLE quotes IS 'Prices that were told, for bookings that name them; purged soon after they ran out.';
COMMENT ON COLUMN quotes.hold_id IS 'The hold as long as which the price is fixed; null: the price is only expected.';
COMMENT ON COLUMN quotes.total_minor IS 'Null while the property is sold unpriced.';
CREATE INDEX quotes_live ON quotes (property_id, expires_at);
CREATE INDEX quotes_over ON quotes (expires_at);
SELECT protect_tenant_table('quotes');
REVOKE UPDATE ON quotes FROM {{app}};
GRANT DELETE ON quotes TO {{system}};

ALTER TABLE properties ADD COLUMN deleted_at timestamptz;
COMMENT ON COLUMN properties.deleted_at IS 'Since then it is not there for anybody; its reservations and events stay.';

-- As before, and a property may be deleted.
CREATE OR REPLACE FUNCTION write_property(v_row jsonb, v_version bigint, v_shard smallint, v_now timestamptz)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO properties
    SELECT made.* FROM jsonb_populate_record(NULL::properties,
        jsonb_build_object('created_at', v_now, 'updated_at', v_now) || v_row) AS made
    ON CONFLICT (id) DO UPDATE SET
        name = excluded.name, time_zone = excluded.time_zone, currency = excluded.currency,
        max_occupancy = excluded.max_occupancy, location = excluded.location, amenities = excluded.amenities,
        preparation_days = excluded.preparation_days, lead_time_hours = excluded.lead_time_hours,
        booking_window_days = excluded.booking_window_days, check_in_time = excluded.check_in_time,
        check_out_time = excluded.check_out_time, active = excluded.active, deleted_at = excluded.deleted_at,
        updated_at = v_now;
    INSERT INTO inventory_versions (property_id, agency_id, shard, inventory_version, rules_version)
    VALUES ((v_row->>'id')::uuid, (v_row->>'agency_id')::uuid, v_shard, v_version, v_version)
    ON CONFLICT (property_id) DO UPDATE SET inventory_version = v_version, rules_version = v_version;
    IF v_row ? 'terms' THEN
        INSERT INTO property_terms (property_id, agency_id, stay_rules, rates, fees)
        VALUES ((v_row->>'id')::uuid, (v_row->>'agency_id')::uuid, v_row->'terms'->'stay_rules',
                v_row->'terms'->'rates', v_row->'terms'->'fees')
        ON CONFLICT (property_id) DO UPDATE SET
            stay_rules = excluded.stay_rules, rates = excluded.rates, fees = excluded.fees;
    END IF;
END $$;
