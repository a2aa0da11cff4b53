-- Stay rules, rates and fees of a property. Apart from `properties`, so that a booking reads them only when they moved:
-- processes keep what they parsed by rules_version.

CREATE TABLE property_terms (
    property_id uuid PRIMARY KEY REFERENCES properties,
    agency_id   uuid NOT NULL,
    stay_rules  jsonb NOT NULL,
    rates       jsonb NOT NULL,
    fees        jsonb NOT NULL
);
SELECT protect_tenant_table('property_terms');

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
        check_out_time = excluded.check_out_time, active = excluded.active, updated_at = v_now;
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
