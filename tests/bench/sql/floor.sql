-- The floor of P1: what one booking writes, in one function with typed arguments and nothing else around it. The same
-- tables, indexes, constraints and row security as the product's, the same lock, the same number of rows of the same
-- size. What it leaves out is what the product decides: rules, prices, guest look-up, replay look-up, JSON.
CREATE FUNCTION bench_book(v_number int, v_check_in date, v_nights int) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_property constant uuid := md5('property ' || v_number)::uuid;
    v_agency   constant uuid := md5('agency ' || v_number % 100)::uuid;
    v_now      constant timestamptz := suite_now();
    v_stay     constant daterange := daterange(v_check_in, v_check_in + v_nights);
    v_booking  constant uuid := gen_random_uuid();
    v_guest    constant uuid := gen_random_uuid();
    v_version  bigint;
    v_shard    smallint;
BEGIN
    PERFORM set_config('app.agency_id', v_agency::text, true);
    PERFORM pg_advisory_xact_lock(property_lock_key(v_property));
    INSERT INTO inventory_ranges (id, agency_id, property_id, kind, source_id, stay, occupied, created_at)
    VALUES (gen_random_uuid(), v_agency, v_property, 'reservation', v_booking, v_stay, v_stay, v_now)
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE inventory_versions SET inventory_version = inventory_version + 1 WHERE property_id = v_property
    RETURNING inventory_version, shard INTO v_version, v_shard;
    INSERT INTO guests (id, agency_id, name, email, email_normalised, created_at, updated_at, total_bookings,
                        first_booking_at, last_booking_at)
    VALUES (v_guest, v_agency, 'Guest', v_guest || '@example.com', v_guest || '@example.com', v_now, v_now, 1,
            v_now, v_now);
    INSERT INTO reservations (id, agency_id, property_id, guest_id, check_in, check_out, status, source, adults,
                              children, infants, currency, inventory_version, created_at, updated_at)
    VALUES (v_booking, v_agency, v_property, v_guest, v_check_in, v_check_in + v_nights, 'confirmed', 'direct', 2,
            0, 0, 'EUR', v_version, v_now, v_now);
    INSERT INTO reservation_history (agency_id, reservation_id, property_id, inventory_version, action, actor, trace_id,
                                     at, after)
    VALUES (v_agency, v_booking, v_property, v_version, 'ReservationConfirmed', 'user:bench',
            '4bf92f3577b34da6a3ce929d0e0e4736', v_now, (SELECT history FROM bench_sizes));
    INSERT INTO outbox (event_id, topic, shard, key, type, subject, agency_id, occurred_at, data, traceparent)
    VALUES (gen_random_uuid(), 'booking.reservations.v1', v_shard, v_property::text, 'ReservationConfirmed',
            'reservation/' || v_booking, v_agency, v_now,
            (SELECT event FROM bench_sizes), '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01');
    INSERT INTO idempotency_keys (agency_id, caller, key, fingerprint, status, body)
    VALUES (v_agency, 'user:bench', v_booking::text, repeat('f', 64), 201, (SELECT answer FROM bench_sizes));
    RETURN true;
END $$;
