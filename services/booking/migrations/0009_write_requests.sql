-- The one way to change the ledger, for one request or for a group of them: write_requests takes the place of
-- write_changes. Each table is written by one statement for all requests, whose cost a group shares.
--
-- A request that waits for the locks it needs comes alone and has any number of changes. A group waits for no lock: its
-- requests have one new reservation each, and who would have to wait is told to come alone.
--
-- Refusals found before anything was written are answers of their request, {"refused": code}; the others stand.
--   PM001 nights are taken (detail: the competing range)   PM002 stay rules or prices moved since they were judged
--   PM003 idempotency key used with another request        PM006 overdue holds must be expired first
--   PM008 the property does not exist                      PM009 somebody else is at work there: come alone
-- Those found later are raised, and nothing stays of the whole call:
--   PM001 of a request that waits                          PM004 idempotency key won by a concurrent request
--   PM005 a guest with this e-mail appeared meanwhile      PM007 a range to release is not active any more
--   PM010 a request that has to come alone was in a group

-- A group's transaction works for several agencies: app.agency_id lists them.
DO $$
DECLARE
    v_table text;
BEGIN
    FOREACH v_table IN ARRAY ARRAY['inventory_versions', 'inventory_ranges', 'guests', 'reservations',
                                   'reservation_history', 'outbox', 'idempotency_keys']
    LOOP
        EXECUTE format(
            'ALTER POLICY own_agency ON %I USING (agency_id = ANY ((SELECT '
            'string_to_array(nullif(current_setting(''app.agency_id'', true), ''''), '',''))::uuid[]))', v_table);
    END LOOP;
END $$;

-- A writer holds its property's row of inventory_versions already: checking the key there locks and writes no other row.
ALTER TABLE inventory_ranges
    DROP CONSTRAINT inventory_ranges_property_id_fkey,
    ADD CONSTRAINT inventory_ranges_property_id_fkey FOREIGN KEY (property_id) REFERENCES inventory_versions;
ALTER TABLE reservations
    DROP CONSTRAINT reservations_property_id_fkey,
    ADD CONSTRAINT reservations_property_id_fkey FOREIGN KEY (property_id) REFERENCES inventory_versions;

-- One decided change on its way. `inventory_version` is the property's before the call, then the one the change takes;
-- `is_new` says that it creates its reservation.
CREATE TYPE ledger_item AS (
    request           integer,
    step              integer,
    agency_id         uuid,
    property_id       uuid,
    inventory_version bigint,
    commit_version    bigint,
    shard             smallint,
    is_new            boolean,
    change            jsonb
);

-- Settings: a plan made while a table was empty stays with a connection, and must not read all of a grown one.
CREATE FUNCTION write_requests(requests jsonb, waits boolean) RETURNS jsonb LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off
SET enable_mergejoin = off AS $$
DECLARE
    v_now             constant timestamptz := suite_now();
    v_answers         jsonb := '{}';
    v_items           ledger_item[];
    v_agencies        text;
    v_guests          uuid[];
    v_releases        boolean;
    v_has_guest       boolean;
    v_has_reservation boolean;
    v_has_other       boolean;
    v_release         uuid[];
    v_lost            jsonb;
    v_count           bigint;
    v_written         bigint;
BEGIN
    SELECT array_agg(ROW(place, step, (asked->>'agency_id')::uuid, (change->>'property_id')::uuid, NULL, NULL,
                         (change->>'shard')::smallint, is_new, change)::ledger_item ORDER BY place, step),
           string_agg(DISTINCT asked->>'agency_id', ','),
           array_agg(DISTINCT (change->'reservation'->>'guest_id')::uuid)
               FILTER (WHERE change->'reservation'->>'guest_id' IS NOT NULL AND NOT change ? 'guest'),
           bool_or(jsonb_array_length(change->'release') > 0), bool_or(change ? 'guest'),
           bool_or(change ? 'reservation'),
           bool_or(change ?| ARRAY['property', 'block', 'hold', 'conflict', 'revision'])
    INTO v_items, v_agencies, v_guests, v_releases, v_has_guest, v_has_reservation, v_has_other
    FROM jsonb_array_elements(requests) WITH ORDINALITY AS listed (asked, place)
    CROSS JOIN LATERAL jsonb_array_elements(asked->'changes') WITH ORDINALITY AS decided (change, step)
    CROSS JOIN LATERAL (
        SELECT change ? 'reservation' AND NOT change->'reservation' ? 'created_at' AND NOT EXISTS (
                   SELECT FROM jsonb_array_elements(asked->'changes') WITH ORDINALITY AS earlier (made, nr)
                   WHERE nr < step AND made->'reservation'->'id' = change->'reservation'->'id') AS is_new) AS told;
    v_agencies := set_config('app.agency_id', v_agencies, true);

    -- Locks first, sorted, in a statement of their own: what follows reads after them. Guests after properties.
    IF waits THEN
        PERFORM pg_advisory_xact_lock(sorted.lock_key)
        FROM (SELECT DISTINCT property_lock_key(property_id) AS lock_key FROM unnest(v_items) ORDER BY 1) AS sorted;
        IF v_guests IS NOT NULL THEN
            PERFORM FROM guests WHERE id = ANY (v_guests) ORDER BY id FOR NO KEY UPDATE;
        END IF;
    ELSE
        IF EXISTS (SELECT FROM unnest(v_items)
                   WHERE step > 1 OR NOT is_new OR jsonb_array_length(change->'release') > 0
                      OR jsonb_array_length(change->'occupy') > 1)
        THEN
            RAISE EXCEPTION USING ERRCODE = 'PM010', MESSAGE = 'only requests for one new reservation are grouped';
        END IF;
        -- A key or an e-mail that another process is about to take can be waited for below: not for long by a group.
        PERFORM set_config('lock_timeout', '250ms', true);
        v_answers := busy_requests(v_items, v_guests);
    END IF;

    -- Materialized: under row security only plain columns may be compared before the policy, and so by an index.
    WITH asked AS MATERIALIZED (
        SELECT place, (request->>'agency_id')::uuid AS agency_id, request->'idempotency'->>'caller' AS caller,
               request->'idempotency'->>'key' AS key, request->'idempotency'->>'fingerprint' AS fingerprint
        FROM jsonb_array_elements(requests) WITH ORDINALITY AS listed (request, place)
        WHERE request ? 'idempotency'
    )
    SELECT v_answers || coalesce(jsonb_object_agg(place, CASE
               WHEN stored.fingerprint <> asked.fingerprint THEN '{"refused": "PM003"}'::jsonb
               ELSE jsonb_build_object('replayed', true, 'status', stored.status, 'body', stored.body) END), '{}')
    INTO v_answers
    FROM asked
    JOIN idempotency_keys AS stored
      ON stored.agency_id = asked.agency_id AND stored.caller = asked.caller AND stored.key = asked.key
     AND stored.expires_at > v_now;

    SELECT array_agg(ROW(item.request, item.step, item.agency_id, item.property_id,
                         coalesce(current.inventory_version, 0), NULL, coalesce(item.shard, current.shard),
                         item.is_new, item.change)::ledger_item ORDER BY item.request, item.step)
               FILTER (WHERE refusal IS NULL),
           v_answers || coalesce(jsonb_object_agg(item.request, jsonb_build_object('refused', refusal))
               FILTER (WHERE refusal IS NOT NULL), '{}')
    INTO v_items, v_answers
    FROM unnest(v_items) AS item
    LEFT JOIN inventory_versions AS current
           ON current.property_id = item.property_id AND current.agency_id = item.agency_id
    CROSS JOIN LATERAL (
        SELECT (requests->(item.request - 1)->'rules_versions'->>(item.property_id::text))::bigint AS judged_at
    ) AS judged
    CROSS JOIN LATERAL (
        SELECT CASE
            WHEN current.property_id IS NULL AND NOT item.change ? 'property' THEN 'PM008'
            WHEN judged_at IS NULL THEN NULL
            WHEN current.rules_version IS DISTINCT FROM judged_at THEN 'PM002'
            -- Judged without the lock: overdue holds were not expired yet.
            WHEN EXISTS (SELECT FROM inventory_ranges AS held
                         WHERE held.property_id = item.property_id AND held.state = 'active'
                           AND held.expires_at <= v_now) THEN 'PM006'
        END AS refusal
    ) AS checked
    WHERE NOT v_answers ? item.request::text;
    IF v_items IS NULL OR (waits AND v_answers <> '{}') THEN
        RETURN answers_in_order(v_answers);
    END IF;

    -- All releases come before all occupations: a conflict range may pass from one waiting stay to another.
    IF v_releases THEN
        SELECT array_agg(released.id::uuid) INTO v_release
        FROM unnest(v_items) AS item, jsonb_array_elements_text(item.change->'release') AS released (id);
        UPDATE inventory_ranges SET state = 'released', released_at = v_now
        WHERE id = ANY (v_release) AND agency_id = v_items[1].agency_id AND state = 'active';
        GET DIAGNOSTICS v_count = ROW_COUNT;
        IF v_count <> cardinality(v_release) THEN
            RAISE EXCEPTION USING ERRCODE = 'PM007', MESSAGE = 'a range to release is not active any more';
        END IF;
    END IF;

    WITH wanted AS MATERIALIZED (
        SELECT item.request, item.agency_id, item.property_id, asked.*,
               daterange(asked.occupied_start, asked.occupied_end) AS occupied
        FROM unnest(v_items) AS item,
             jsonb_to_recordset(item.change->'occupy') AS asked (
                 id uuid, kind text, source_id uuid, stay_start date, stay_end date, occupied_start date,
                 occupied_end date, expires_at timestamptz)
    ), won AS (
        INSERT INTO inventory_ranges (id, agency_id, property_id, kind, source_id, stay, occupied, expires_at,
                                      created_at)
        SELECT id, agency_id, property_id, kind, source_id, daterange(stay_start, stay_end), occupied, expires_at, v_now
        FROM wanted
        ON CONFLICT DO NOTHING
        RETURNING id
    )
    SELECT jsonb_agg(jsonb_build_object('request', request, 'property_id', property_id, 'occupied', occupied))
    INTO v_lost
    FROM wanted WHERE NOT EXISTS (SELECT FROM won WHERE won.id = wanted.id);
    IF v_lost IS NOT NULL THEN
        v_answers := v_answers || taken_nights(v_lost, waits);
        SELECT array_agg(item ORDER BY item.request, item.step) INTO v_items
        FROM unnest(v_items) AS item WHERE NOT v_answers ? item.request::text;
        IF v_items IS NULL THEN
            RETURN answers_in_order(v_answers);
        END IF;
    END IF;

    -- From here on all that is left of the call is written, or nothing.
    SELECT array_agg(ROW(request, step, agency_id, property_id, inventory_version + nr, inventory_version + changes, shard,
                         is_new, change)::ledger_item ORDER BY request, step)
    INTO v_items
    FROM (SELECT item.*, row_number() OVER (PARTITION BY property_id ORDER BY request, step) AS nr,
                 count(*) OVER (PARTITION BY property_id) AS changes
          FROM unnest(v_items) AS item) AS numbered;
    IF v_has_other THEN
        PERFORM write_property(change->'property', inventory_version, shard, v_now)
        FROM unnest(v_items) WHERE change ? 'property';
    END IF;
    UPDATE inventory_versions AS version SET inventory_version = moved.commit_version
    FROM (SELECT DISTINCT property_id, commit_version FROM unnest(v_items)) AS moved
    WHERE version.property_id = moved.property_id;

    IF v_has_guest THEN
        PERFORM write_guests(v_items, v_now);
    END IF;
    IF v_has_reservation THEN
        PERFORM write_reservations(requests, v_items, v_guests IS NOT NULL, v_now);
    END IF;
    IF v_has_other THEN
        PERFORM write_others(v_items, v_now);
    END IF;

    INSERT INTO outbox (event_id, topic, shard, key, type, subject, agency_id, occurred_at, data, traceparent,
                        tracestate)
    SELECT (change->>'event_id')::uuid, asked->>'topic', shard, property_id, change->>'event_type', change->>'subject',
           agency_id, v_now,
           change->'data' || jsonb_build_object('inventory_version', inventory_version, 'commit_version', commit_version)
               || CASE WHEN change ? 'property' THEN jsonb_build_object('rules_version', inventory_version)
                       ELSE '{}' END,
           asked->'trace'->>'traceparent', asked->'trace'->>'tracestate'
    FROM unnest(v_items) AS item CROSS JOIN LATERAL (SELECT requests->(item.request - 1) AS asked) AS origin
    ORDER BY request, step;

    SELECT v_answers || jsonb_object_agg(request, jsonb_build_object(
               'replayed', false, 'status', asked->'answer'->'status', 'versions', versions,
               'body', answer_body(asked->'answer', versions, v_now))),
           count(*) FILTER (WHERE asked ? 'idempotency')
    INTO v_answers, v_count
    FROM (SELECT request, requests->(request - 1) AS asked, jsonb_object_agg(property_id, version) AS versions
          FROM (SELECT request, property_id, max(inventory_version) AS version
                FROM unnest(v_items) GROUP BY request, property_id) AS latest
          GROUP BY request) AS written;

    -- Keys come last: a concurrent request with the same key waits here for our outcome.
    IF v_count > 0 THEN
        INSERT INTO idempotency_keys (agency_id, caller, key, fingerprint, status, body)
        SELECT (asked->>'agency_id')::uuid, used->>'caller', used->>'key', used->>'fingerprint',
               (answer->>'status')::smallint, answer->>'body'
        FROM (SELECT DISTINCT request FROM unnest(v_items)) AS written
        CROSS JOIN LATERAL (SELECT requests->(request - 1) AS asked, v_answers->(request::text) AS answer) AS origin
        CROSS JOIN LATERAL (SELECT asked->'idempotency' AS used) AS keyed
        WHERE asked ? 'idempotency'
        ORDER BY 1, 2, 3
        -- A key that ran out and was not purged yet is free again.
        ON CONFLICT (agency_id, caller, key) DO UPDATE SET
            fingerprint = excluded.fingerprint, status = excluded.status, body = excluded.body,
            created_at = excluded.created_at, expires_at = excluded.expires_at
        WHERE idempotency_keys.expires_at <= v_now;
        GET DIAGNOSTICS v_written = ROW_COUNT;
        IF v_written <> v_count THEN
            RAISE EXCEPTION USING ERRCODE = 'PM004', MESSAGE = 'idempotency key won by a concurrent request';
        END IF;
    END IF;
    RETURN answers_in_order(v_answers);
END $$;

CREATE FUNCTION answers_in_order(v_answers jsonb) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_agg(answer ORDER BY place::integer) FROM jsonb_each(v_answers) AS answered (place, answer)
$$;

-- Takes the locks of a group without waiting; answers PM009 for each request that did not get its own.
CREATE FUNCTION busy_requests(v_items ledger_item[], v_guests uuid[]) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_locked bigint[];
    v_idle   uuid[];
BEGIN
    SELECT array_agg(lock_key) FILTER (WHERE pg_try_advisory_xact_lock(lock_key)) INTO v_locked
    FROM (SELECT DISTINCT property_lock_key(property_id) AS lock_key FROM unnest(v_items)) AS wanted;
    IF v_guests IS NOT NULL THEN
        SELECT array_agg(id) INTO v_idle
        FROM (SELECT id FROM guests WHERE id = ANY (v_guests) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED) AS locked;
    END IF;
    RETURN (
        SELECT coalesce(jsonb_object_agg(request, '{"refused": "PM009"}'::jsonb), '{}')
        FROM unnest(v_items) AS item
        WHERE NOT property_lock_key(property_id) = ANY (coalesce(v_locked, '{}'))
           OR (NOT change ? 'guest' AND change->'reservation'->>'guest_id' IS NOT NULL
               AND NOT (change->'reservation'->>'guest_id')::uuid = ANY (coalesce(v_idle, '{}'))));
END $$;

-- The answers of requests that lost a range, with what is in the way; raised for a request that came alone.
CREATE FUNCTION taken_nights(v_lost jsonb, waits boolean) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_answers jsonb;
BEGIN
    SELECT jsonb_object_agg(lost.request, jsonb_build_object('refused', 'PM001', 'detail', jsonb_build_object(
               'kind', other.kind, 'start_date', lower(other.stay), 'end_date', upper(other.stay))))
    INTO v_answers
    FROM jsonb_to_recordset(v_lost) AS lost (request integer, property_id uuid, occupied daterange)
    LEFT JOIN LATERAL (
        SELECT * FROM inventory_ranges AS taken
        WHERE taken.property_id = lost.property_id AND taken.state = 'active' AND taken.occupied && lost.occupied
        ORDER BY taken.occupied LIMIT 1) AS other ON true;
    IF waits THEN
        RAISE EXCEPTION USING ERRCODE = 'PM001', MESSAGE = 'nights are taken',
            CONSTRAINT = 'inventory_ranges_no_overlap', DETAIL = (v_answers->'1'->'detail')::text;
    END IF;
    RETURN v_answers;
END $$;

-- A new guest's figures begin with the reservation it comes with: one write.
CREATE FUNCTION write_guests(v_items ledger_item[], v_now timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_count bigint;
BEGIN
    INSERT INTO guests (id, agency_id, name, email, email_normalised, phone, created_at, updated_at, total_bookings,
                        total_spent, first_booking_at, last_booking_at)
    SELECT made.id, made.agency_id, made.name, made.email, made.email_normalised, made.phone, v_now, v_now,
           counted::integer,
           CASE WHEN counted AND stay->>'total_amount_minor' IS NOT NULL
                THEN jsonb_build_object(stay->>'currency', stay->'total_amount_minor') ELSE '{}' END,
           CASE WHEN counted THEN v_now END, CASE WHEN counted THEN v_now END
    FROM unnest(v_items) AS item
    CROSS JOIN LATERAL jsonb_to_record(item.change->'guest') AS made (
        id uuid, agency_id uuid, name text, email text, email_normalised text, phone text)
    CROSS JOIN LATERAL (
        SELECT item.change->'reservation' AS stay,
               coalesce(item.is_new AND counts_for_guest(item.change->'reservation'->>'status'), false) AS counted
    ) AS figures
    WHERE item.change ? 'guest'
    ORDER BY made.agency_id, made.email_normalised
    ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    IF v_count <> (SELECT count(*) FROM unnest(v_items) WHERE change ? 'guest') THEN
        RAISE EXCEPTION USING ERRCODE = 'PM005', MESSAGE = 'a guest with this e-mail appeared meanwhile';
    END IF;
END $$;

-- New reservations with their history, and the figures of guests who were known before; then changed ones in order.
CREATE FUNCTION write_reservations(requests jsonb, v_items ledger_item[], v_known boolean, v_now timestamptz)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO reservations
    SELECT made.* FROM unnest(v_items) AS item, jsonb_populate_record(NULL::reservations,
        item.change->'reservation' || jsonb_build_object(
            'created_at', v_now, 'updated_at', v_now, 'inventory_version', item.inventory_version)) AS made
    WHERE item.is_new;
    INSERT INTO reservation_history (agency_id, reservation_id, property_id, inventory_version, action, actor,
                                     trace_id, at, before, after)
    SELECT agency_id, (change->'reservation'->>'id')::uuid, property_id, inventory_version, origin->>'action',
           origin->>'actor', origin->>'trace_id', v_now, NULL,
           jsonb_strip_nulls((change->'reservation') - ARRAY['id', 'agency_id', 'connection_id'])
    FROM unnest(v_items) AS item
    CROSS JOIN LATERAL (SELECT history_origin(requests->(item.request - 1), item.change) AS origin) AS known
    WHERE item.is_new ORDER BY request, step;
    IF v_known THEN
        PERFORM count_for_guest(stored, 1, v_now)
        FROM reservations AS stored
        WHERE stored.id = ANY (ARRAY(SELECT (change->'reservation'->>'id')::uuid FROM unnest(v_items)
                                     WHERE is_new AND NOT change ? 'guest'))
          AND stored.guest_id IS NOT NULL
        ORDER BY stored.guest_id;
    END IF;
    IF EXISTS (SELECT FROM unnest(v_items) WHERE change ? 'reservation' AND NOT is_new) THEN
        PERFORM write_reservation(change->'reservation', inventory_version, v_now,
                                  history_origin(requests->(request - 1), change))
        FROM unnest(v_items) WHERE change ? 'reservation' AND NOT is_new;
    END IF;
END $$;

-- The records that only a request which comes alone has, in order.
CREATE FUNCTION write_others(v_items ledger_item[], v_now timestamptz) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM write_block(change->'block', inventory_version, v_now) FROM unnest(v_items) WHERE change ? 'block';
    PERFORM write_hold(change->'hold', inventory_version, v_now) FROM unnest(v_items) WHERE change ? 'hold';
    PERFORM write_conflict(change->'conflict', v_now) FROM unnest(v_items) WHERE change ? 'conflict';
    INSERT INTO channel_revisions
    SELECT made.* FROM unnest(v_items) AS item, jsonb_populate_record(NULL::channel_revisions,
        item.change->'revision' || jsonb_build_object('decided_at', v_now)) AS made
    WHERE item.change ? 'revision'
    ON CONFLICT DO NOTHING;
END $$;

-- Who did what in which trace, for a reservation's history.
CREATE FUNCTION history_origin(request jsonb, change jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT jsonb_build_object('actor', request->>'actor', 'action', change->>'event_type',
                              'trace_id', split_part(request->'trace'->>'traceparent', '-', 2))
$$;

-- A changed reservation with its history; its guest's figures move when what counts for them does.
CREATE OR REPLACE FUNCTION write_reservation(v_row jsonb, v_version bigint, v_now timestamptz, v_origin jsonb)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_before reservations;
    v_after  reservations;
    v_old    jsonb;
    v_new    jsonb;
BEGIN
    SELECT * INTO v_before FROM reservations WHERE id = (v_row->>'id')::uuid;
    UPDATE reservations AS stored SET
        property_id = made.property_id, guest_id = made.guest_id, check_in = made.check_in,
        check_out = made.check_out, status = made.status, ota_name = made.ota_name, adults = made.adults,
        children = made.children, infants = made.infants, total_amount_minor = made.total_amount_minor,
        currency = made.currency, notes = made.notes, hold_expires_at = made.hold_expires_at,
        cancelled_at = made.cancelled_at, cancel_reason = made.cancel_reason, checked_in_at = made.checked_in_at,
        checked_out_at = made.checked_out_at, rating = made.rating, inventory_version = v_version, updated_at = v_now
    FROM jsonb_populate_record(NULL::reservations, v_row) AS made
    WHERE stored.id = v_before.id
    RETURNING stored.* INTO v_after;

    v_old := to_jsonb(v_before) - ARRAY['inventory_version', 'updated_at'];
    SELECT jsonb_object_agg(key, v_old->key), jsonb_object_agg(key, value) INTO v_old, v_new
    FROM jsonb_each(to_jsonb(v_after) - ARRAY['inventory_version', 'updated_at'])
    WHERE value IS DISTINCT FROM v_old->key;
    INSERT INTO reservation_history (agency_id, reservation_id, property_id, inventory_version, action, actor,
                                     trace_id, at, before, after)
    VALUES (v_after.agency_id, v_after.id, v_after.property_id, v_version, v_origin->>'action', v_origin->>'actor',
            v_origin->>'trace_id', v_now, v_old, coalesce(v_new, '{}'));

    IF (v_before.guest_id, counts_for_guest(v_before.status), v_before.total_amount_minor, v_before.currency,
        v_before.rating)
       IS DISTINCT FROM
       (v_after.guest_id, counts_for_guest(v_after.status), v_after.total_amount_minor, v_after.currency,
        v_after.rating)
    THEN
        IF v_before.guest_id IS NOT NULL THEN
            PERFORM count_for_guest(v_before, -1, v_now);
        END IF;
        IF v_after.guest_id IS NOT NULL THEN
            PERFORM count_for_guest(v_after, 1, v_now);
        END IF;
    END IF;
END $$;

-- The body of a creating request's answer: with items, each of these is stamped by its property's version.
CREATE FUNCTION answer_body(v_answer jsonb, v_versions jsonb, v_now timestamptz) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT CASE
        WHEN v_answer ? 'items' THEN
            (v_answer->'body' || jsonb_build_object('bookings', (
                SELECT jsonb_agg(stamped(item->'body', v_versions->(item->>'property_id'), v_now) ORDER BY position)
                FROM jsonb_array_elements(v_answer->'items') WITH ORDINALITY AS listed (item, position))))::text
        WHEN v_answer IS NOT NULL THEN
            stamped(v_answer->'body', v_versions->(v_answer->>'property_id'), v_now)::text
    END
$$;

DROP FUNCTION write_changes(jsonb);
DROP FUNCTION occupy_range(uuid, uuid, jsonb, timestamptz);
DROP FUNCTION write_guest(jsonb, timestamptz);

-- What bookings are judged by, for several at once and each in one snapshot: an own earlier success is replayed before
-- an overlap refuses. Each asks {agency_id, property_id, check_in, check_out, guest_id, email, caller, key,
-- rules_version}; the terms come along unless they are known as of the rules_version. SECURITY DEFINER of the system
-- role, because range operators are not leakproof and row security would keep them from the index; it filters by the
-- agency itself.
CREATE FUNCTION booking_contexts(questions jsonb) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = public, pg_temp SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
    SELECT jsonb_agg(jsonb_build_object(
        'now', suite_now(),
        'answer', (SELECT jsonb_build_object('fingerprint', stored.fingerprint, 'status', stored.status,
                                             'body', stored.body)
                   FROM idempotency_keys AS stored
                   WHERE stored.agency_id = asked.agency_id AND stored.caller = asked.caller
                     AND stored.key = asked.key AND stored.expires_at > suite_now()),
        'property', owner.record,
        'terms', CASE WHEN owner.rules_version IS DISTINCT FROM asked.rules_version THEN
                     (SELECT to_jsonb(terms) FROM property_terms AS terms
                      WHERE terms.property_id = asked.property_id AND owner.record IS NOT NULL) END,
        'guest_id', (SELECT guest.id FROM guests AS guest
                     WHERE guest.agency_id = asked.agency_id AND guest.deleted_at IS NULL
                       AND (guest.id = asked.guest_id OR guest.email_normalised = asked.email)),
        'overlap', (SELECT jsonb_build_object('kind', taken.kind, 'start_date', lower(taken.stay),
                                              'end_date', upper(taken.stay))
                    FROM inventory_ranges AS taken
                    WHERE taken.property_id = owner.property_id AND taken.state = 'active'
                      AND taken.occupied && daterange(asked.check_in, asked.check_out + owner.preparation_days)
                      AND (taken.expires_at IS NULL OR taken.expires_at > suite_now())
                    ORDER BY taken.occupied LIMIT 1)) ORDER BY place)
    FROM ROWS FROM (jsonb_to_recordset(questions) AS (
             agency_id uuid, property_id uuid, check_in date, check_out date, guest_id uuid, email text, caller text,
             key text, rules_version bigint)) WITH ORDINALITY
         AS asked (agency_id, property_id, check_in, check_out, guest_id, email, caller, key, rules_version, place)
    LEFT JOIN LATERAL (
        SELECT property.id AS property_id, property.preparation_days, version.rules_version,
               to_jsonb(property) || to_jsonb(version) AS record
        FROM properties AS property JOIN inventory_versions AS version ON version.property_id = property.id
        WHERE property.id = asked.property_id AND property.agency_id = asked.agency_id) AS owner ON true
$$;
DROP FUNCTION booking_context(uuid, uuid, date, date, uuid, text, text, text);
GRANT CREATE ON SCHEMA public TO {{system}};
ALTER FUNCTION booking_contexts OWNER TO {{system}};
REVOKE CREATE ON SCHEMA public FROM {{system}};
REVOKE ALL ON FUNCTION booking_contexts FROM PUBLIC;
GRANT EXECUTE ON FUNCTION booking_contexts TO {{app}}, {{system}};

-- A channel may sell one code over several properties, and two of its stays may be moved to the same one.
DROP INDEX reservations_ota_code;
CREATE INDEX reservations_ota_code ON reservations (connection_id, ota_reservation_code, property_id)
    WHERE connection_id IS NOT NULL;
