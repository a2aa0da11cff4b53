-- The one way to change the ledger. Every writer, HTTP and Kafka alike, passes its decided changes to write_changes.
--
-- Refusals are raised, so that nothing of a refused request stays; the SQLSTATEs are constants in repository.py:
--   PM001 nights are taken (detail: the competing range)   PM002 stay rules or prices moved since they were judged
--   PM003 idempotency key used with another request        PM004 idempotency key won by a concurrent request
--   PM005 a guest with this e-mail appeared meanwhile      PM006 overdue holds must be expired first
--   PM007 a range to release is not active any more        PM008 the property does not exist

CREATE FUNCTION rfc3339(instant timestamptz) RETURNS text LANGUAGE sql STABLE
    AS $$ SELECT to_char(instant AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') $$;

CREATE FUNCTION write_changes(request jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_agency     constant uuid := request->>'agency_id';
    v_now        constant timestamptz := suite_now();
    v_key        constant jsonb := request->'idempotency';
    v_expected   jsonb;
    v_change     jsonb;
    v_range      jsonb;
    v_stored     idempotency_keys;
    v_property   uuid;
    v_current    inventory_versions;
    v_version    bigint;
    v_versions   jsonb := '{}';
    v_commits    jsonb := '{}';
    v_shards     jsonb := '{}';
    v_count      bigint;
    v_release    uuid[];
    v_row        jsonb;
    v_body       text;
BEGIN
    PERFORM set_config('app.agency_id', v_agency::text, true);

    -- Locks first, sorted, in a statement of their own: what follows reads after them.
    PERFORM pg_advisory_xact_lock(sorted.lock_key)
    FROM (SELECT DISTINCT property_lock_key((change->>'property_id')::uuid) AS lock_key
          FROM jsonb_array_elements(request->'changes') AS change ORDER BY 1) AS sorted;

    IF v_key IS NOT NULL THEN
        SELECT * INTO v_stored FROM idempotency_keys
        WHERE agency_id = v_agency AND caller = v_key->>'caller' AND key = v_key->>'key' AND expires_at > v_now;
        IF FOUND THEN
            IF v_stored.fingerprint <> v_key->>'fingerprint' THEN
                RAISE EXCEPTION USING ERRCODE = 'PM003', MESSAGE = 'idempotency key used with another request';
            END IF;
            RETURN jsonb_build_object('replayed', true, 'status', v_stored.status, 'body', v_stored.body);
        END IF;
    END IF;

    FOR v_property, v_count IN
        SELECT (change->>'property_id')::uuid, count(*)
        FROM jsonb_array_elements(request->'changes') AS change GROUP BY 1
    LOOP
        SELECT * INTO v_current FROM inventory_versions
        WHERE property_id = v_property AND agency_id = v_agency;
        IF NOT FOUND THEN
            v_current.inventory_version := 0;
        END IF;
        v_versions := v_versions || jsonb_build_object(v_property::text, v_current.inventory_version);
        v_commits := v_commits || jsonb_build_object(v_property::text, v_current.inventory_version + v_count);
        v_shards := v_shards || jsonb_build_object(v_property::text, v_current.shard);
        v_expected := request->'rules_versions'->(v_property::text);
        IF v_expected IS NOT NULL THEN
            IF v_current.rules_version IS DISTINCT FROM v_expected::bigint THEN
                RAISE EXCEPTION USING ERRCODE = 'PM002', MESSAGE = 'stay rules or prices moved since they were judged';
            END IF;
            -- Judged without the lock: overdue holds were not expired yet.
            PERFORM FROM inventory_ranges
            WHERE property_id = v_property AND state = 'active' AND expires_at <= v_now;
            IF FOUND THEN
                RAISE EXCEPTION USING ERRCODE = 'PM006', MESSAGE = 'overdue holds must be expired first';
            END IF;
        END IF;
    END LOOP;

    -- All releases come before all occupations: a conflict range may pass from one waiting stay to another.
    SELECT array_agg(released.id::uuid) INTO v_release
    FROM jsonb_array_elements(request->'changes') AS change,
         jsonb_array_elements_text(change->'release') AS released (id);
    IF v_release IS NOT NULL THEN
        UPDATE inventory_ranges SET state = 'released', released_at = v_now
        WHERE id = ANY (v_release) AND agency_id = v_agency AND state = 'active';
        GET DIAGNOSTICS v_count = ROW_COUNT;
        IF v_count <> cardinality(v_release) THEN
            RAISE EXCEPTION USING ERRCODE = 'PM007', MESSAGE = 'a range to release is not active any more';
        END IF;
    END IF;

    FOR v_change IN SELECT * FROM jsonb_array_elements(request->'changes')
    LOOP
        v_property := v_change->>'property_id';
        v_version := (v_versions->>v_property::text)::bigint + 1;
        v_versions := v_versions || jsonb_build_object(v_property::text, v_version);

        IF v_change ? 'property' THEN
            v_shards := v_shards || jsonb_build_object(v_property::text, v_change->'shard');
            PERFORM write_property(v_change->'property', v_version, (v_change->>'shard')::smallint, v_now);
        ELSE
            UPDATE inventory_versions SET inventory_version = v_version
            WHERE property_id = v_property AND agency_id = v_agency;
            IF NOT FOUND THEN
                RAISE EXCEPTION USING ERRCODE = 'PM008', MESSAGE = 'the property does not exist';
            END IF;
        END IF;

        FOR v_range IN SELECT * FROM jsonb_array_elements(v_change->'occupy')
        LOOP
            PERFORM occupy_range(v_agency, v_property, v_range, v_now);
        END LOOP;

        IF v_change ? 'guest' THEN
            PERFORM write_guest(v_change->'guest', v_now);
        END IF;
        IF v_change ? 'reservation' THEN
            PERFORM write_reservation(v_change->'reservation', v_version, v_now);
        END IF;
        IF v_change ? 'block' THEN
            PERFORM write_block(v_change->'block', v_version, v_now);
        END IF;
        IF v_change ? 'conflict' THEN
            PERFORM write_conflict(v_change->'conflict', v_now);
        END IF;
        IF v_change ? 'revision' THEN
            INSERT INTO channel_revisions
            SELECT (jsonb_populate_record(NULL::channel_revisions,
                    v_change->'revision' || jsonb_build_object('decided_at', v_now))).*
            ON CONFLICT DO NOTHING;
        END IF;

        INSERT INTO outbox (event_id, topic, shard, key, type, subject, agency_id, occurred_at, data,
                            traceparent, tracestate)
        VALUES ((v_change->>'event_id')::uuid, request->>'topic', (v_shards->>v_property::text)::smallint,
                v_property::text, v_change->>'event_type', v_change->>'subject', v_agency, v_now,
                v_change->'data' || jsonb_build_object(
                    'inventory_version', v_version,
                    'commit_version', (v_commits->>v_property::text)::bigint)
                    || CASE WHEN v_change ? 'property' THEN jsonb_build_object('rules_version', v_version)
                            ELSE '{}'::jsonb END,
                request->'trace'->>'traceparent', request->'trace'->>'tracestate');
    END LOOP;

    v_row := request->'answer';
    IF v_row IS NOT NULL THEN
        v_property := v_row->>'property_id';
        v_body := (v_row->'body' || jsonb_build_object(
            'inventory_version', coalesce((v_versions->>v_property::text)::bigint, 0),
            'updated_at', rfc3339(v_now),
            'created_at', rfc3339(v_now)))::text;
    END IF;

    -- The key comes last: a concurrent request with the same key waits here for our outcome.
    IF v_key IS NOT NULL THEN
        INSERT INTO idempotency_keys (agency_id, caller, key, fingerprint, status, body)
        VALUES (v_agency, v_key->>'caller', v_key->>'key', v_key->>'fingerprint', (v_row->>'status')::smallint, v_body)
        ON CONFLICT DO NOTHING;
        IF NOT FOUND THEN
            RAISE EXCEPTION USING ERRCODE = 'PM004', MESSAGE = 'idempotency key won by a concurrent request';
        END IF;
    END IF;

    RETURN jsonb_build_object('replayed', false, 'status', v_row->'status', 'body', v_body,
                              'versions', v_versions, 'now', v_now);
END $$;

CREATE FUNCTION occupy_range(v_agency uuid, v_property uuid, v_range jsonb, v_now timestamptz) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    v_occupied constant daterange := daterange((v_range->>'occupied_start')::date, (v_range->>'occupied_end')::date);
    v_other    inventory_ranges;
BEGIN
    INSERT INTO inventory_ranges (id, agency_id, property_id, kind, source_id, stay, occupied, expires_at, created_at)
    VALUES ((v_range->>'id')::uuid, v_agency, v_property, v_range->>'kind', (v_range->>'source_id')::uuid,
            daterange((v_range->>'stay_start')::date, (v_range->>'stay_end')::date), v_occupied,
            (v_range->>'expires_at')::timestamptz, v_now)
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        SELECT * INTO v_other FROM inventory_ranges
        WHERE property_id = v_property AND state = 'active' AND occupied && v_occupied
        ORDER BY occupied LIMIT 1;
        RAISE EXCEPTION USING ERRCODE = 'PM001', MESSAGE = 'nights are taken',
            CONSTRAINT = 'inventory_ranges_no_overlap',
            DETAIL = jsonb_build_object('kind', v_other.kind, 'start_date', lower(v_other.stay),
                                        'end_date', upper(v_other.stay))::text;
    END IF;
END $$;

CREATE FUNCTION write_property(v_row jsonb, v_version bigint, v_shard smallint, v_now timestamptz) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO properties
    SELECT (jsonb_populate_record(NULL::properties,
            jsonb_build_object('created_at', v_now, 'updated_at', v_now) || v_row)).*
    ON CONFLICT (id) DO UPDATE SET
        name = excluded.name, time_zone = excluded.time_zone, currency = excluded.currency,
        max_occupancy = excluded.max_occupancy, location = excluded.location, amenities = excluded.amenities,
        preparation_days = excluded.preparation_days, lead_time_hours = excluded.lead_time_hours,
        booking_window_days = excluded.booking_window_days, check_in_time = excluded.check_in_time,
        check_out_time = excluded.check_out_time, active = excluded.active, updated_at = v_now;
    INSERT INTO inventory_versions (property_id, agency_id, shard, inventory_version, rules_version)
    VALUES ((v_row->>'id')::uuid, (v_row->>'agency_id')::uuid, v_shard, v_version, v_version)
    ON CONFLICT (property_id) DO UPDATE SET inventory_version = v_version, rules_version = v_version;
$$;

CREATE FUNCTION write_guest(v_row jsonb, v_now timestamptz) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO guests
    SELECT (jsonb_populate_record(NULL::guests,
            v_row || jsonb_build_object('created_at', v_now, 'updated_at', v_now))).*
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'PM005', MESSAGE = 'a guest with this e-mail appeared meanwhile';
    END IF;
END $$;

CREATE FUNCTION write_reservation(v_row jsonb, v_version bigint, v_now timestamptz) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO reservations
    SELECT (jsonb_populate_record(NULL::reservations,
            jsonb_build_object('created_at', v_now) || v_row
            || jsonb_build_object('inventory_version', v_version, 'updated_at', v_now))).*
    ON CONFLICT (id) DO UPDATE SET
        guest_id = excluded.guest_id, check_in = excluded.check_in, check_out = excluded.check_out,
        status = excluded.status, ota_name = excluded.ota_name, adults = excluded.adults,
        children = excluded.children, infants = excluded.infants,
        total_amount_minor = excluded.total_amount_minor, currency = excluded.currency, notes = excluded.notes,
        hold_expires_at = excluded.hold_expires_at, cancelled_at = excluded.cancelled_at,
        cancel_reason = excluded.cancel_reason, inventory_version = v_version, updated_at = v_now;
$$;

CREATE FUNCTION write_block(v_row jsonb, v_version bigint, v_now timestamptz) RETURNS void LANGUAGE sql AS $$
    INSERT INTO blocks
    SELECT (jsonb_populate_record(NULL::blocks,
            jsonb_build_object('created_at', v_now) || v_row
            || jsonb_build_object('inventory_version', v_version, 'updated_at', v_now))).*
    ON CONFLICT (id) DO UPDATE SET
        start_date = excluded.start_date, end_date = excluded.end_date, reason = excluded.reason,
        active = excluded.active, inventory_version = v_version, updated_at = v_now;
$$;

CREATE FUNCTION write_conflict(v_row jsonb, v_now timestamptz) RETURNS void LANGUAGE sql AS $$
    INSERT INTO conflicts
    SELECT (jsonb_populate_record(NULL::conflicts,
            jsonb_build_object('opened_at', v_now) || v_row
            || CASE WHEN v_row->>'state' = 'closed' THEN jsonb_build_object('closed_at', v_now)
                    ELSE '{}'::jsonb END)).*
    ON CONFLICT (id) DO UPDATE SET
        state = excluded.state, check_in = excluded.check_in, check_out = excluded.check_out,
        competing_source_ids = excluded.competing_source_ids, resolution = excluded.resolution,
        closed_at = excluded.closed_at;
$$;

-- What `book` judges by, in one statement and so in one snapshot: an own earlier success is replayed before an overlap
-- refuses. SECURITY DEFINER of the system role, because range operators are not leakproof and row security would keep
-- them from the index; it filters by the agency itself.
CREATE FUNCTION booking_context(
    v_agency uuid, v_property uuid, v_check_in date, v_check_out date, v_guest uuid, v_email text,
    v_caller text, v_key text
) RETURNS jsonb LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT jsonb_build_object(
        'now', suite_now(),
        'answer', (SELECT jsonb_build_object('fingerprint', stored.fingerprint, 'status', stored.status,
                                             'body', stored.body)
                   FROM idempotency_keys AS stored
                   WHERE stored.agency_id = v_agency AND stored.caller = v_caller AND stored.key = v_key
                     AND stored.expires_at > suite_now()),
        'property', (SELECT to_jsonb(property) || to_jsonb(version)
                     FROM properties AS property
                     JOIN inventory_versions AS version ON version.property_id = property.id
                     WHERE property.id = v_property AND property.agency_id = v_agency),
        'guest_id', (SELECT guest.id FROM guests AS guest
                     WHERE guest.agency_id = v_agency
                       AND (guest.id = v_guest OR guest.email_normalised = v_email)),
        'overlap', (SELECT jsonb_build_object('kind', taken.kind, 'start_date', lower(taken.stay),
                                              'end_date', upper(taken.stay))
                    FROM inventory_ranges AS taken
                    JOIN properties AS owner ON owner.id = taken.property_id
                    WHERE taken.property_id = v_property AND owner.agency_id = v_agency AND taken.state = 'active'
                      AND taken.occupied && daterange(v_check_in, v_check_out + owner.preparation_days)
                      AND (taken.expires_at IS NULL OR taken.expires_at > suite_now())
                    ORDER BY taken.occupied LIMIT 1))
$$;
GRANT CREATE ON SCHEMA public TO {{system}};
ALTER FUNCTION booking_context OWNER TO {{system}};
REVOKE CREATE ON SCHEMA public FROM {{system}};
REVOKE ALL ON FUNCTION booking_context FROM PUBLIC;
GRANT EXECUTE ON FUNCTION booking_context TO {{app}}, {{system}};
