-- The whole life of a reservation: arrival, departure, rating, holds, its history, and what counts for its guest.

ALTER TABLE reservations
    ADD COLUMN checked_in_at  timestamptz,
    ADD COLUMN checked_out_at timestamptz,
    ADD COLUMN rating         smallint CHECK (rating BETWEEN 1 AND 5);
CREATE INDEX reservations_updated ON reservations (agency_id, updated_at, id);
CREATE INDEX reservations_of_guest ON reservations (guest_id, created_at) WHERE guest_id IS NOT NULL;
CREATE INDEX reservations_of_group ON reservations (group_id) WHERE group_id IS NOT NULL;

ALTER TABLE guests
    ADD COLUMN total_bookings   integer NOT NULL DEFAULT 0,
    ADD COLUMN total_spent      jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN first_booking_at timestamptz,
    ADD COLUMN last_booking_at  timestamptz,
    ADD COLUMN rating_sum       integer NOT NULL DEFAULT 0,
    ADD COLUMN rating_count     integer NOT NULL DEFAULT 0,
    ADD COLUMN average_rating   numeric(3, 2)
        GENERATED ALWAYS AS (CASE WHEN rating_count > 0 THEN rating_sum::numeric / rating_count END) STORED,
    ADD COLUMN deleted_at       timestamptz,
    ADD COLUMN erased_at        timestamptz;
COMMENT ON COLUMN guests.total_spent IS 'Minor units by currency, of the reservations that count.';
DROP INDEX guests_email;
CREATE UNIQUE INDEX guests_email ON guests (agency_id, email_normalised) WHERE deleted_at IS NULL;
CREATE INDEX guests_first_booking ON guests (agency_id, first_booking_at);
CREATE INDEX guests_last_booking ON guests (agency_id, last_booking_at);
CREATE INDEX guests_updated ON guests (agency_id, updated_at);
CREATE INDEX guests_newest ON guests (agency_id, created_at DESC, id DESC) WHERE deleted_at IS NULL;

CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE INDEX guests_text ON guests USING gin ((lower(name || ' ' || coalesce(email, ''))) gin_trgm_ops)
    WHERE deleted_at IS NULL;

-- Guests whose name or e-mail contains a text. SECURITY DEFINER of the system role, because LIKE is not leakproof and
-- row security would keep it from the index; it filters by the agency itself.
CREATE FUNCTION guests_matching(v_agency uuid, v_text text) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT id FROM guests
    WHERE agency_id = v_agency AND deleted_at IS NULL
      AND lower(name || ' ' || coalesce(email, '')) LIKE
          '%' || regexp_replace(lower(v_text), '([\\%_])', '\\\1', 'g') || '%'
    LIMIT 1000
$$;
GRANT CREATE ON SCHEMA public TO {{system}};
ALTER FUNCTION guests_matching OWNER TO {{system}};
REVOKE CREATE ON SCHEMA public FROM {{system}};
REVOKE ALL ON FUNCTION guests_matching FROM PUBLIC;
GRANT EXECUTE ON FUNCTION guests_matching TO {{app}}, {{system}};

CREATE TABLE holds (
    id                uuid PRIMARY KEY,
    agency_id         uuid NOT NULL,
    property_id       uuid NOT NULL REFERENCES properties,
    check_in          date NOT NULL,
    check_out         date NOT NULL,
    state             text NOT NULL CHECK (state IN ('active', 'released', 'expired', 'consumed')),
    hold_expires_at   timestamptz NOT NULL,
    inventory_version bigint NOT NULL,
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL,
    CHECK (check_out > check_in)
);
CREATE INDEX holds_overdue ON holds (property_id, hold_expires_at) WHERE state = 'active';
CREATE INDEX reservations_overdue ON reservations (property_id, hold_expires_at) WHERE status = 'pending';
SELECT protect_tenant_table('holds');

CREATE TABLE reservation_history (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    agency_id         uuid NOT NULL,
    reservation_id    uuid NOT NULL,
    property_id       uuid NOT NULL,
    inventory_version bigint NOT NULL,
    action            text NOT NULL,
    actor             text NOT NULL,
    trace_id          text,
    at                timestamptz NOT NULL,
    before            jsonb,
    after             jsonb NOT NULL
);
COMMENT ON TABLE reservation_history IS 'Who changed what of a reservation: only the fields that differ, as they were and as they are.';
CREATE INDEX reservation_history_of ON reservation_history (reservation_id, id);
SELECT protect_tenant_table('reservation_history');

-- A new record's answer with what only the database knows.
CREATE FUNCTION stamped(body jsonb, version jsonb, v_now timestamptz) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT body || jsonb_build_object('inventory_version', coalesce(version, '0'), 'updated_at', rfc3339(v_now),
                                      'created_at', rfc3339(v_now))
$$;

CREATE OR REPLACE FUNCTION write_changes(request jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
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
    v_origin     constant jsonb := jsonb_build_object('actor', request->>'actor', 'trace_id',
                                                      split_part(request->'trace'->>'traceparent', '-', 2));
BEGIN
    PERFORM set_config('app.agency_id', v_agency::text, true);

    -- Locks first, sorted, in a statement of their own: what follows reads after them.
    PERFORM pg_advisory_xact_lock(sorted.lock_key)
    FROM (SELECT DISTINCT property_lock_key((change->>'property_id')::uuid) AS lock_key
          FROM jsonb_array_elements(request->'changes') AS change ORDER BY 1) AS sorted;

    -- Guests after properties, sorted too: a change may count for one guest and against another.
    IF jsonb_array_length(request->'changes') > 1 THEN
        PERFORM FROM guests
        WHERE id IN (SELECT (change->'reservation'->>'guest_id')::uuid
                     FROM jsonb_array_elements(request->'changes') AS change)
        ORDER BY id FOR NO KEY UPDATE;
    END IF;

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
            PERFORM write_reservation(v_change->'reservation', v_version, v_now,
                                      v_origin || jsonb_build_object('action', v_change->>'event_type'));
        END IF;
        IF v_change ? 'block' THEN
            PERFORM write_block(v_change->'block', v_version, v_now);
        END IF;
        IF v_change ? 'hold' THEN
            PERFORM write_hold(v_change->'hold', v_version, v_now);
        END IF;
        IF v_change ? 'conflict' THEN
            PERFORM write_conflict(v_change->'conflict', v_now);
        END IF;
        IF v_change ? 'revision' THEN
            INSERT INTO channel_revisions
            SELECT made.* FROM jsonb_populate_record(NULL::channel_revisions,
                v_change->'revision' || jsonb_build_object('decided_at', v_now)) AS made
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
    IF v_row ? 'items' THEN
        SELECT (v_row->'body' || jsonb_build_object('bookings', jsonb_agg(
                   stamped(item->'body', v_versions->(item->>'property_id'), v_now) ORDER BY position)))::text
        INTO v_body
        FROM jsonb_array_elements(v_row->'items') WITH ORDINALITY AS listed (item, position);
    ELSIF v_row IS NOT NULL THEN
        v_body := stamped(v_row->'body', v_versions->(v_row->>'property_id'), v_now)::text;
    END IF;

    -- The key comes last: a concurrent request with the same key waits here for our outcome.
    IF v_key IS NOT NULL THEN
        INSERT INTO idempotency_keys (agency_id, caller, key, fingerprint, status, body)
        VALUES (v_agency, v_key->>'caller', v_key->>'key', v_key->>'fingerprint', (v_row->>'status')::smallint, v_body)
        -- A key that ran out and was not purged yet is free again.
        ON CONFLICT (agency_id, caller, key) DO UPDATE SET
            fingerprint = excluded.fingerprint, status = excluded.status, body = excluded.body,
            created_at = excluded.created_at, expires_at = excluded.expires_at
        WHERE idempotency_keys.expires_at <= v_now;
        IF NOT FOUND THEN
            RAISE EXCEPTION USING ERRCODE = 'PM004', MESSAGE = 'idempotency key won by a concurrent request';
        END IF;
    END IF;

    RETURN jsonb_build_object('replayed', false, 'status', v_row->'status', 'body', v_body,
                              'versions', v_versions, 'now', v_now);
END $$;

GRANT UPDATE ON idempotency_keys TO {{app}};

-- As before, but the record is made once: `SELECT (made(..)).*` calls the function once per column.
CREATE OR REPLACE FUNCTION write_block(v_row jsonb, v_version bigint, v_now timestamptz) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO blocks
    SELECT made.* FROM jsonb_populate_record(NULL::blocks,
        jsonb_build_object('created_at', v_now) || v_row
        || jsonb_build_object('inventory_version', v_version, 'updated_at', v_now)) AS made
    ON CONFLICT (id) DO UPDATE SET
        start_date = excluded.start_date, end_date = excluded.end_date, reason = excluded.reason,
        active = excluded.active, inventory_version = v_version, updated_at = v_now;
$$;

CREATE OR REPLACE FUNCTION write_conflict(v_row jsonb, v_now timestamptz) RETURNS void LANGUAGE sql AS $$
    INSERT INTO conflicts
    SELECT made.* FROM jsonb_populate_record(NULL::conflicts,
        jsonb_build_object('opened_at', v_now) || v_row
        || CASE WHEN v_row->>'state' = 'closed' THEN jsonb_build_object('closed_at', v_now)
                ELSE '{}'::jsonb END) AS made
    ON CONFLICT (id) DO UPDATE SET
        state = excluded.state, check_in = excluded.check_in, check_out = excluded.check_out,
        competing_source_ids = excluded.competing_source_ids, resolution = excluded.resolution,
        closed_at = excluded.closed_at;
$$;

CREATE FUNCTION write_hold(v_row jsonb, v_version bigint, v_now timestamptz) RETURNS void LANGUAGE sql AS $$
    INSERT INTO holds
    SELECT made.* FROM jsonb_populate_record(NULL::holds,
        jsonb_build_object('created_at', v_now) || v_row
        || jsonb_build_object('inventory_version', v_version, 'updated_at', v_now)) AS made
    ON CONFLICT (id) DO UPDATE SET
        state = excluded.state, hold_expires_at = excluded.hold_expires_at, inventory_version = v_version,
        updated_at = v_now;
$$;

CREATE OR REPLACE FUNCTION write_guest(v_row jsonb, v_now timestamptz) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO guests (id, agency_id, name, email, email_normalised, phone, created_at, updated_at)
    SELECT (v_row->>'id')::uuid, (v_row->>'agency_id')::uuid, v_row->>'name', v_row->>'email',
           v_row->>'email_normalised', v_row->>'phone', v_now, v_now
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'PM005', MESSAGE = 'a guest with this e-mail appeared meanwhile';
    END IF;
END $$;

-- Whether a reservation counts in its guest's figures: its status says so. Published in docs/glossary.md.
CREATE FUNCTION counts_for_guest(status text) RETURNS boolean LANGUAGE sql IMMUTABLE
    AS $$ SELECT status IN ('confirmed', 'checked_in', 'checked_out') $$;

-- Adds a reservation to its guest's figures (v_sign 1) or takes it out (-1); called after the row was written.
CREATE FUNCTION count_for_guest(v_row reservations, v_sign integer, v_now timestamptz) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    v_counts constant boolean := counts_for_guest(v_row.status);
    v_amount constant bigint := CASE WHEN v_counts THEN v_sign * v_row.total_amount_minor END;
BEGIN
    UPDATE guests AS guest SET
        total_bookings = total_bookings + CASE WHEN v_counts THEN v_sign ELSE 0 END,
        total_spent = CASE
            WHEN v_amount IS NULL THEN total_spent
            ELSE total_spent || jsonb_build_object(
                v_row.currency, coalesce((total_spent->>v_row.currency)::bigint, 0) + v_amount) END,
        first_booking_at = CASE
            WHEN NOT v_counts THEN first_booking_at
            WHEN v_sign > 0 THEN least(first_booking_at, v_row.created_at)
            ELSE (SELECT min(created_at) FROM reservations
                  WHERE guest_id = v_row.guest_id AND counts_for_guest(status)) END,
        last_booking_at = CASE
            WHEN NOT v_counts THEN last_booking_at
            WHEN v_sign > 0 THEN greatest(last_booking_at, v_row.created_at)
            ELSE (SELECT max(created_at) FROM reservations
                  WHERE guest_id = v_row.guest_id AND counts_for_guest(status)) END,
        rating_sum = rating_sum + v_sign * coalesce(v_row.rating, 0),
        rating_count = rating_count + v_sign * (v_row.rating IS NOT NULL)::integer,
        updated_at = v_now
    WHERE guest.id = v_row.guest_id;
END $$;

DROP FUNCTION write_reservation(jsonb, bigint, timestamptz);
CREATE FUNCTION write_reservation(v_row jsonb, v_version bigint, v_now timestamptz, v_origin jsonb) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    v_before reservations;
    v_after  reservations;
    v_old    jsonb;
    v_new    jsonb;
BEGIN
    -- A new record has no instant of creation yet.
    IF v_row ? 'created_at' THEN
        SELECT * INTO v_before FROM reservations WHERE id = (v_row->>'id')::uuid;
    END IF;
    INSERT INTO reservations
    SELECT made.* FROM jsonb_populate_record(NULL::reservations,
        jsonb_build_object('created_at', v_now) || v_row
        || jsonb_build_object('inventory_version', v_version, 'updated_at', v_now)) AS made
    ON CONFLICT (id) DO UPDATE SET
        property_id = excluded.property_id, guest_id = excluded.guest_id, check_in = excluded.check_in,
        check_out = excluded.check_out, status = excluded.status, ota_name = excluded.ota_name,
        adults = excluded.adults, children = excluded.children, infants = excluded.infants,
        total_amount_minor = excluded.total_amount_minor, currency = excluded.currency, notes = excluded.notes,
        hold_expires_at = excluded.hold_expires_at, cancelled_at = excluded.cancelled_at,
        cancel_reason = excluded.cancel_reason, checked_in_at = excluded.checked_in_at,
        checked_out_at = excluded.checked_out_at, rating = excluded.rating, inventory_version = v_version,
        updated_at = v_now
    RETURNING * INTO v_after;

    IF v_before.id IS NULL THEN
        v_new := jsonb_strip_nulls(v_row - ARRAY['id', 'agency_id', 'connection_id']);
    ELSE
        v_old := to_jsonb(v_before) - ARRAY['inventory_version', 'updated_at'];
        SELECT jsonb_object_agg(key, v_old->key), jsonb_object_agg(key, value) INTO v_old, v_new
        FROM jsonb_each(to_jsonb(v_after) - ARRAY['inventory_version', 'updated_at'])
        WHERE value IS DISTINCT FROM v_old->key;
    END IF;
    INSERT INTO reservation_history (agency_id, reservation_id, property_id, inventory_version, action, actor,
                                     trace_id, at, before, after)
    VALUES (v_after.agency_id, v_after.id, v_after.property_id, v_version, v_origin->>'action', v_origin->>'actor',
            v_origin->>'trace_id', v_now, v_old, coalesce(v_new, '{}'));

    IF v_before.guest_id IS NOT NULL THEN
        PERFORM count_for_guest(v_before, -1, v_now);
    END IF;
    IF v_after.guest_id IS NOT NULL THEN
        PERFORM count_for_guest(v_after, 1, v_now);
    END IF;
END $$;

-- As before, but a deleted guest is not found.
CREATE OR REPLACE FUNCTION booking_context(
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
                     WHERE guest.agency_id = v_agency AND guest.deleted_at IS NULL
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
