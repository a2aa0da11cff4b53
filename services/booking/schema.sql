-- What the migrations add up to; written by `make schema`, never by hand.

CREATE EXTENSION IF NOT EXISTS btree_gist WITH SCHEMA public;

CREATE EXTENSION IF NOT EXISTS pg_stat_statements WITH SCHEMA public;

CREATE EXTENSION IF NOT EXISTS pg_trgm WITH SCHEMA public;

CREATE TYPE public.ledger_item AS (
	request integer,
	step integer,
	agency_id uuid,
	property_id uuid,
	inventory_version bigint,
	commit_version bigint,
	shard smallint,
	is_new boolean,
	change jsonb
);

CREATE FUNCTION public.answer_body(v_answer jsonb, v_versions jsonb, v_now timestamp with time zone) RETURNS text
    LANGUAGE plpgsql STABLE
    AS $$
BEGIN
    RETURN CASE
        WHEN v_answer ? 'items' THEN
            (v_answer->'body' || jsonb_build_object('bookings', (
                SELECT jsonb_agg(stamped(item->'body', v_versions->(item->>'property_id'), v_now) ORDER BY position)
                FROM jsonb_array_elements(v_answer->'items') WITH ORDINALITY AS listed (item, position))))::text
        WHEN v_answer IS NOT NULL THEN
            stamped(v_answer->'body', v_versions->(v_answer->>'property_id'), v_now)::text
    END;
END $$;

CREATE FUNCTION public.answers_in_order(v_answers jsonb) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    AS $$
BEGIN
    RETURN (SELECT jsonb_agg(answer ORDER BY place::integer) FROM jsonb_each(v_answers) AS answered (place, answer));
END $$;

CREATE FUNCTION public.booking_contexts(questions jsonb) RETURNS jsonb
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    AS $$
BEGIN
    RETURN (
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
            WHERE property.id = asked.property_id AND property.agency_id = asked.agency_id) AS owner ON true);
END $$;

CREATE FUNCTION public.busy_requests(v_items public.ledger_item[], v_guests uuid[]) RETURNS jsonb
    LANGUAGE plpgsql
    AS $$
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

CREATE TABLE public.reservations (
    id uuid NOT NULL,
    agency_id uuid NOT NULL,
    property_id uuid NOT NULL,
    guest_id uuid,
    check_in date NOT NULL,
    check_out date NOT NULL,
    status text NOT NULL,
    source text NOT NULL,
    connection_id uuid,
    ota_name text,
    ota_reservation_code text,
    group_id uuid,
    adults smallint NOT NULL,
    children smallint NOT NULL,
    infants smallint NOT NULL,
    total_amount_minor bigint,
    currency text NOT NULL,
    notes text,
    hold_expires_at timestamp with time zone,
    cancelled_at timestamp with time zone,
    cancel_reason text,
    inventory_version bigint NOT NULL,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    checked_in_at timestamp with time zone,
    checked_out_at timestamp with time zone,
    rating smallint,
    CONSTRAINT reservations_adults_check CHECK ((adults >= 1)),
    CONSTRAINT reservations_check CHECK ((check_out > check_in)),
    CONSTRAINT reservations_children_check CHECK ((children >= 0)),
    CONSTRAINT reservations_infants_check CHECK ((infants >= 0)),
    CONSTRAINT reservations_rating_check CHECK (((rating >= 1) AND (rating <= 5))),
    CONSTRAINT reservations_source_check CHECK ((source = ANY (ARRAY['direct'::text, 'ota'::text]))),
    CONSTRAINT reservations_status_check CHECK ((status = ANY (ARRAY['inquiry'::text, 'pending'::text, 'confirmed'::text, 'checked_in'::text, 'checked_out'::text, 'declined'::text, 'cancelled'::text, 'expired'::text, 'no_show'::text, 'overbooked'::text]))),
    CONSTRAINT reservations_total_amount_minor_check CHECK ((total_amount_minor >= 0))
);

ALTER TABLE ONLY public.reservations FORCE ROW LEVEL SECURITY;

CREATE FUNCTION public.count_for_guest(v_row public.reservations, v_sign integer, v_now timestamp with time zone) RETURNS void
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION public.counts_for_guest(status text) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    AS $$ SELECT status IN ('confirmed', 'checked_in', 'checked_out') $$;

CREATE FUNCTION public.erase_guest(v_agency uuid, v_guest uuid) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
BEGIN
    UPDATE guests SET name = 'erased', email = NULL, email_normalised = NULL, phone = NULL,
                      erased_at = coalesce(erased_at, suite_now()), deleted_at = coalesce(deleted_at, suite_now()),
                      updated_at = suite_now()
    WHERE agency_id = v_agency AND id = v_guest;
    UPDATE reservation_history SET before = before - ARRAY['notes', 'cancel_reason'],
                                   after = after - ARRAY['notes', 'cancel_reason']
    WHERE agency_id = v_agency
      AND reservation_id IN (SELECT id FROM reservations WHERE agency_id = v_agency AND guest_id = v_guest)
      AND (before ?| ARRAY['notes', 'cancel_reason'] OR after ?| ARRAY['notes', 'cancel_reason']);
    UPDATE idempotency_keys SET status = 410, body = ''
    WHERE agency_id = v_agency AND strpos(body, v_guest::text) > 0;
END $$;

CREATE FUNCTION public.guests_matching(v_agency uuid, v_text text) RETURNS SETOF uuid
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
    SELECT id FROM guests
    WHERE agency_id = v_agency AND deleted_at IS NULL
      AND lower(name || ' ' || coalesce(email, '')) LIKE
          '%' || regexp_replace(lower(v_text), '([\\%_])', '\\\1', 'g') || '%'
    LIMIT 1000
$$;

CREATE FUNCTION public.history_origin(request jsonb, change jsonb) RETURNS jsonb
    LANGUAGE sql STABLE
    AS $$
    SELECT jsonb_build_object('actor', request->>'actor', 'action', change->>'event_type',
                              'trace_id', split_part(request->'trace'->>'traceparent', '-', 2))
$$;

CREATE FUNCTION public.miscounted_guests() RETURNS TABLE(guest_id uuid, agency_id uuid, stored jsonb, counted jsonb)
    LANGUAGE sql STABLE
    AS $$
    WITH per_currency AS (
        SELECT reservation.guest_id, currency, count(*) AS bookings, sum(total_amount_minor) AS spent,
               min(created_at) AS first_at, max(created_at) AS last_at
        FROM reservations AS reservation
        WHERE reservation.guest_id IS NOT NULL AND counts_for_guest(status)
        GROUP BY 1, 2
    ), counted AS (
        SELECT per_currency.guest_id, sum(bookings) AS bookings, min(first_at) AS first_at, max(last_at) AS last_at,
               coalesce(jsonb_object_agg(currency, spent) FILTER (WHERE spent > 0), '{}') AS spent
        FROM per_currency GROUP BY 1
    ), rated AS (
        SELECT reservation.guest_id, sum(rating) AS rating_sum, count(rating) AS rating_count
        FROM reservations AS reservation WHERE rating IS NOT NULL GROUP BY 1
    ), both_figures AS (
        SELECT guest.id, guest.agency_id,
               jsonb_build_object(
                   'total_bookings', guest.total_bookings, 'first_booking_at', guest.first_booking_at,
                   'last_booking_at', guest.last_booking_at, 'rating_sum', guest.rating_sum,
                   'rating_count', guest.rating_count,
                   'total_spent', (SELECT coalesce(jsonb_object_agg(key, value), '{}')
                                   FROM jsonb_each(guest.total_spent) WHERE value <> '0')) AS stored,
               jsonb_build_object(
                   'total_bookings', coalesce(counted.bookings, 0), 'first_booking_at', counted.first_at,
                   'last_booking_at', counted.last_at, 'rating_sum', coalesce(rated.rating_sum, 0),
                   'rating_count', coalesce(rated.rating_count, 0),
                   'total_spent', coalesce(counted.spent, '{}')) AS counted
        FROM guests AS guest
        LEFT JOIN counted ON counted.guest_id = guest.id
        LEFT JOIN rated ON rated.guest_id = guest.id
    )
    SELECT id, both_figures.agency_id, both_figures.stored, both_figures.counted
    FROM both_figures WHERE both_figures.stored <> both_figures.counted
$$;

CREATE FUNCTION public.property_lock_key(property_id uuid) RETURNS bigint
    LANGUAGE sql IMMUTABLE STRICT
    AS $$SELECT hashtextextended(property_id::text, 0)$$;

CREATE FUNCTION public.protect_tenant_table(tenant_table text) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', tenant_table);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', tenant_table);
    EXECUTE format('CREATE POLICY own_agency ON %I TO booking_app '
                   'USING (agency_id = (SELECT nullif(current_setting(''app.agency_id'', true), '''')::uuid))',
                   tenant_table);
    EXECUTE format('CREATE POLICY every_agency ON %I TO booking_system USING (true)', tenant_table);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE ON %I TO booking_app, booking_system', tenant_table);
END $$;

CREATE FUNCTION public.rfc3339(instant timestamp with time zone) RETURNS text
    LANGUAGE sql STABLE
    AS $$ SELECT to_char(instant AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') $$;

CREATE FUNCTION public.stamped(body jsonb, version jsonb, v_now timestamp with time zone) RETURNS jsonb
    LANGUAGE sql STABLE
    AS $$
    SELECT body || jsonb_build_object('inventory_version', coalesce(version, '0'), 'updated_at', rfc3339(v_now),
                                      'created_at', rfc3339(v_now))
$$;

CREATE FUNCTION public.suite_now() RETURNS timestamp with time zone
    LANGUAGE sql STABLE
    AS $$SELECT now()$$;

CREATE FUNCTION public.taken_nights(v_lost jsonb, waits boolean) RETURNS jsonb
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION public.write_block(v_row jsonb, v_version bigint, v_now timestamp with time zone) RETURNS void
    LANGUAGE sql
    AS $$
    INSERT INTO blocks
    SELECT made.* FROM jsonb_populate_record(NULL::blocks,
        jsonb_build_object('created_at', v_now, 'waiting', false) || v_row
        || jsonb_build_object('inventory_version', v_version, 'updated_at', v_now)) AS made
    ON CONFLICT (id) DO UPDATE SET
        start_date = excluded.start_date, end_date = excluded.end_date, reason = excluded.reason,
        active = excluded.active, waiting = excluded.waiting, inventory_version = v_version, updated_at = v_now;
$$;

CREATE FUNCTION public.write_conflict(v_row jsonb, v_now timestamp with time zone) RETURNS void
    LANGUAGE sql
    AS $$
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

CREATE FUNCTION public.write_guests(v_items public.ledger_item[], v_now timestamp with time zone) RETURNS void
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION public.write_hold(v_row jsonb, v_version bigint, v_now timestamp with time zone) RETURNS void
    LANGUAGE sql
    AS $$
    INSERT INTO holds
    SELECT made.* FROM jsonb_populate_record(NULL::holds,
        jsonb_build_object('created_at', v_now) || v_row
        || jsonb_build_object('inventory_version', v_version, 'updated_at', v_now)) AS made
    ON CONFLICT (id) DO UPDATE SET
        state = excluded.state, hold_expires_at = excluded.hold_expires_at, inventory_version = v_version,
        updated_at = v_now;
$$;

CREATE FUNCTION public.write_others(v_items public.ledger_item[], v_now timestamp with time zone) RETURNS void
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION public.write_property(v_row jsonb, v_version bigint, v_shard smallint, v_now timestamp with time zone) RETURNS void
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION public.write_requests(requests jsonb, waits boolean) RETURNS jsonb
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    AS $$
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

CREATE FUNCTION public.write_reservation(v_row jsonb, v_version bigint, v_now timestamp with time zone, v_origin jsonb) RETURNS void
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION public.write_reservations(requests jsonb, v_items public.ledger_item[], v_known boolean, v_now timestamp with time zone) RETURNS void
    LANGUAGE plpgsql
    AS $$
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

CREATE TABLE public.agencies (
    agency_id uuid NOT NULL,
    name text NOT NULL,
    created_at timestamp with time zone NOT NULL
);

ALTER TABLE ONLY public.agencies FORCE ROW LEVEL SECURITY;

CREATE TABLE public.api_keys (
    id uuid NOT NULL,
    agency_id uuid NOT NULL,
    name text NOT NULL,
    prefix text NOT NULL,
    secret_hash bytea NOT NULL,
    roles text[] NOT NULL,
    property_ids uuid[],
    created_by uuid,
    created_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    revoked_at timestamp with time zone,
    last_used_at timestamp with time zone,
    CONSTRAINT api_keys_property_ids_check CHECK ((cardinality(property_ids) > 0)),
    CONSTRAINT api_keys_roles_check CHECK (((cardinality(roles) > 0) AND (roles <@ ARRAY['admin'::text, 'manager'::text, 'staff'::text, 'owner'::text])))
);

ALTER TABLE ONLY public.api_keys FORCE ROW LEVEL SECURITY;

CREATE TABLE public.audit_cursor (
    is_only boolean DEFAULT true NOT NULL,
    owner text,
    lease_expires_at timestamp with time zone,
    outbox_id bigint DEFAULT 0 NOT NULL,
    topic_offsets jsonb DEFAULT '{}'::jsonb NOT NULL,
    cycle_property uuid,
    cycles bigint DEFAULT 0 NOT NULL,
    cycled_at timestamp with time zone,
    CONSTRAINT audit_cursor_is_only_check CHECK (is_only)
);

CREATE TABLE public.audit_findings (
    id bigint NOT NULL,
    fingerprint text NOT NULL,
    invariant text NOT NULL,
    kind text NOT NULL,
    agency_id uuid,
    property_id uuid,
    detail jsonb NOT NULL,
    found_at timestamp with time zone NOT NULL,
    last_seen_at timestamp with time zone NOT NULL,
    resolved_at timestamp with time zone
);

ALTER TABLE ONLY public.audit_findings FORCE ROW LEVEL SECURITY;

ALTER TABLE public.audit_findings ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.audit_findings_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.audit_positions (
    property_id uuid NOT NULL,
    agency_id uuid NOT NULL,
    floor_version bigint DEFAULT 0 NOT NULL,
    outbox_version bigint DEFAULT 0 NOT NULL,
    topic_version bigint DEFAULT 0
);

ALTER TABLE ONLY public.audit_positions FORCE ROW LEVEL SECURITY;

CREATE TABLE public.blocks (
    id uuid NOT NULL,
    agency_id uuid NOT NULL,
    property_id uuid NOT NULL,
    start_date date NOT NULL,
    end_date date NOT NULL,
    reason text,
    source text NOT NULL,
    active boolean NOT NULL,
    inventory_version bigint NOT NULL,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    connection_id uuid,
    ota_name text,
    ota_reservation_code text,
    waiting boolean DEFAULT false NOT NULL,
    CONSTRAINT blocks_check CHECK ((end_date > start_date)),
    CONSTRAINT blocks_check1 CHECK ((active OR (NOT waiting)))
);

ALTER TABLE ONLY public.blocks FORCE ROW LEVEL SECURITY;

CREATE TABLE public.channel_revisions (
    connection_id uuid NOT NULL,
    ota_reservation_code text NOT NULL,
    property_id uuid NOT NULL,
    revision_no bigint NOT NULL,
    agency_id uuid NOT NULL,
    revision_id text NOT NULL,
    ota_name text NOT NULL,
    reservation_id uuid,
    outcome text NOT NULL,
    reason text,
    decided_at timestamp with time zone NOT NULL,
    block_id uuid
);

ALTER TABLE ONLY public.channel_revisions FORCE ROW LEVEL SECURITY;

CREATE TABLE public.conflicts (
    id uuid NOT NULL,
    agency_id uuid NOT NULL,
    property_id uuid NOT NULL,
    reservation_id uuid,
    state text NOT NULL,
    check_in date NOT NULL,
    check_out date NOT NULL,
    competing_source_ids jsonb NOT NULL,
    resolution text,
    opened_at timestamp with time zone NOT NULL,
    closed_at timestamp with time zone,
    block_id uuid,
    CONSTRAINT conflicts_check CHECK (((state = 'closed'::text) = (closed_at IS NOT NULL))),
    CONSTRAINT conflicts_of_one CHECK ((num_nonnulls(reservation_id, block_id) = 1)),
    CONSTRAINT conflicts_state_check CHECK ((state = ANY (ARRAY['open'::text, 'closed'::text])))
);

ALTER TABLE ONLY public.conflicts FORCE ROW LEVEL SECURITY;

CREATE TABLE public.credentials (
    user_id uuid NOT NULL,
    agency_id uuid,
    password_hash text NOT NULL,
    changed_at timestamp with time zone NOT NULL
);

ALTER TABLE ONLY public.credentials FORCE ROW LEVEL SECURITY;

CREATE TABLE public.guests (
    id uuid NOT NULL,
    agency_id uuid NOT NULL,
    name text NOT NULL,
    email text,
    email_normalised text,
    phone text,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    total_bookings integer DEFAULT 0 NOT NULL,
    total_spent jsonb DEFAULT '{}'::jsonb NOT NULL,
    first_booking_at timestamp with time zone,
    last_booking_at timestamp with time zone,
    rating_sum integer DEFAULT 0 NOT NULL,
    rating_count integer DEFAULT 0 NOT NULL,
    average_rating numeric(3,2) GENERATED ALWAYS AS (
CASE
    WHEN (rating_count > 0) THEN ((rating_sum)::numeric / (rating_count)::numeric)
    ELSE NULL::numeric
END) STORED,
    deleted_at timestamp with time zone,
    erased_at timestamp with time zone
);

ALTER TABLE ONLY public.guests FORCE ROW LEVEL SECURITY;

CREATE TABLE public.holds (
    id uuid NOT NULL,
    agency_id uuid NOT NULL,
    property_id uuid NOT NULL,
    check_in date NOT NULL,
    check_out date NOT NULL,
    state text NOT NULL,
    hold_expires_at timestamp with time zone NOT NULL,
    inventory_version bigint NOT NULL,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT holds_check CHECK ((check_out > check_in)),
    CONSTRAINT holds_state_check CHECK ((state = ANY (ARRAY['active'::text, 'released'::text, 'expired'::text, 'consumed'::text])))
);

ALTER TABLE ONLY public.holds FORCE ROW LEVEL SECURITY;

CREATE TABLE public.idempotency_keys (
    agency_id uuid NOT NULL,
    caller text NOT NULL,
    key text NOT NULL,
    fingerprint text NOT NULL,
    status smallint NOT NULL,
    body text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone DEFAULT (now() + '48:00:00'::interval) NOT NULL
);

ALTER TABLE ONLY public.idempotency_keys FORCE ROW LEVEL SECURITY;

CREATE TABLE public.inbox (
    consumer text NOT NULL,
    event_id uuid NOT NULL,
    processed_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.inventory_ranges (
    id uuid NOT NULL,
    agency_id uuid NOT NULL,
    property_id uuid NOT NULL,
    kind text NOT NULL,
    state text DEFAULT 'active'::text NOT NULL,
    source_id uuid NOT NULL,
    stay daterange NOT NULL,
    occupied daterange NOT NULL,
    expires_at timestamp with time zone,
    created_at timestamp with time zone NOT NULL,
    released_at timestamp with time zone,
    CONSTRAINT inventory_ranges_check CHECK ((occupied @> stay)),
    CONSTRAINT inventory_ranges_check1 CHECK (((state = 'released'::text) = (released_at IS NOT NULL))),
    CONSTRAINT inventory_ranges_kind_check CHECK ((kind = ANY (ARRAY['reservation'::text, 'block'::text, 'hold'::text, 'conflict'::text]))),
    CONSTRAINT inventory_ranges_state_check CHECK ((state = ANY (ARRAY['active'::text, 'released'::text]))),
    CONSTRAINT inventory_ranges_stay_check CHECK ((NOT isempty(stay)))
);

ALTER TABLE ONLY public.inventory_ranges FORCE ROW LEVEL SECURITY;

CREATE TABLE public.inventory_ranges_archive (
    id uuid CONSTRAINT inventory_ranges_id_not_null NOT NULL,
    agency_id uuid CONSTRAINT inventory_ranges_agency_id_not_null NOT NULL,
    property_id uuid CONSTRAINT inventory_ranges_property_id_not_null NOT NULL,
    kind text CONSTRAINT inventory_ranges_kind_not_null NOT NULL,
    state text CONSTRAINT inventory_ranges_state_not_null NOT NULL,
    source_id uuid CONSTRAINT inventory_ranges_source_id_not_null NOT NULL,
    stay daterange CONSTRAINT inventory_ranges_stay_not_null NOT NULL,
    occupied daterange CONSTRAINT inventory_ranges_occupied_not_null NOT NULL,
    expires_at timestamp with time zone,
    created_at timestamp with time zone CONSTRAINT inventory_ranges_created_at_not_null NOT NULL,
    released_at timestamp with time zone,
    archived_at timestamp with time zone NOT NULL,
    CONSTRAINT inventory_ranges_check CHECK ((occupied @> stay)),
    CONSTRAINT inventory_ranges_check1 CHECK (((state = 'released'::text) = (released_at IS NOT NULL))),
    CONSTRAINT inventory_ranges_kind_check CHECK ((kind = ANY (ARRAY['reservation'::text, 'block'::text, 'hold'::text, 'conflict'::text]))),
    CONSTRAINT inventory_ranges_state_check CHECK ((state = ANY (ARRAY['active'::text, 'released'::text]))),
    CONSTRAINT inventory_ranges_stay_check CHECK ((NOT isempty(stay)))
);

ALTER TABLE ONLY public.inventory_ranges_archive FORCE ROW LEVEL SECURITY;

CREATE TABLE public.inventory_versions (
    property_id uuid NOT NULL,
    agency_id uuid NOT NULL,
    shard smallint NOT NULL,
    inventory_version bigint NOT NULL,
    rules_version bigint NOT NULL,
    published_version bigint DEFAULT 0 NOT NULL,
    published_at timestamp with time zone
)
WITH (fillfactor='70');

ALTER TABLE ONLY public.inventory_versions FORCE ROW LEVEL SECURITY;

CREATE TABLE public.login_failures (
    email_hash bytea NOT NULL,
    failures integer NOT NULL,
    last_at timestamp with time zone,
    locked_until timestamp with time zone
);

CREATE TABLE public.one_time_links (
    token_hash bytea NOT NULL,
    agency_id uuid,
    user_id uuid NOT NULL,
    purpose text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    used_at timestamp with time zone,
    CONSTRAINT one_time_links_purpose_check CHECK ((purpose = ANY (ARRAY['invitation'::text, 'password_reset'::text])))
);

ALTER TABLE ONLY public.one_time_links FORCE ROW LEVEL SECURITY;

CREATE TABLE public.outbox (
    id bigint NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    event_id uuid NOT NULL,
    topic text NOT NULL,
    shard smallint NOT NULL,
    key text NOT NULL,
    type text NOT NULL,
    subject text NOT NULL,
    agency_id uuid NOT NULL,
    occurred_at timestamp with time zone NOT NULL,
    data jsonb NOT NULL,
    traceparent text,
    tracestate text,
    sent_at timestamp with time zone,
    quarantined text
);

ALTER TABLE ONLY public.outbox FORCE ROW LEVEL SECURITY;

ALTER TABLE public.outbox ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.outbox_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.properties (
    id uuid NOT NULL,
    agency_id uuid NOT NULL,
    name text NOT NULL,
    time_zone text NOT NULL,
    currency text NOT NULL,
    max_occupancy smallint NOT NULL,
    location jsonb,
    amenities jsonb DEFAULT '[]'::jsonb NOT NULL,
    preparation_days smallint NOT NULL,
    lead_time_hours smallint NOT NULL,
    booking_window_days smallint NOT NULL,
    check_in_time text NOT NULL,
    check_out_time text NOT NULL,
    active boolean DEFAULT true NOT NULL,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    deleted_at timestamp with time zone,
    CONSTRAINT properties_booking_window_days_check CHECK (((booking_window_days >= 1) AND (booking_window_days <= 730))),
    CONSTRAINT properties_lead_time_hours_check CHECK ((lead_time_hours >= 0)),
    CONSTRAINT properties_max_occupancy_check CHECK ((max_occupancy >= 1)),
    CONSTRAINT properties_preparation_days_check CHECK ((preparation_days >= 0))
);

ALTER TABLE ONLY public.properties FORCE ROW LEVEL SECURITY;

CREATE TABLE public.property_terms (
    property_id uuid NOT NULL,
    agency_id uuid NOT NULL,
    stay_rules jsonb NOT NULL,
    rates jsonb NOT NULL,
    fees jsonb NOT NULL
);

ALTER TABLE ONLY public.property_terms FORCE ROW LEVEL SECURITY;

CREATE TABLE public.quotes (
    id uuid NOT NULL,
    agency_id uuid NOT NULL,
    property_id uuid NOT NULL,
    hold_id uuid,
    check_in date NOT NULL,
    check_out date NOT NULL,
    adults smallint NOT NULL,
    children smallint NOT NULL,
    infants smallint NOT NULL,
    currency text NOT NULL,
    total_minor bigint,
    created_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    CONSTRAINT quotes_check CHECK ((check_out > check_in))
);

ALTER TABLE ONLY public.quotes FORCE ROW LEVEL SECURITY;

CREATE TABLE public.refresh_tokens (
    family_id uuid NOT NULL,
    agency_id uuid,
    user_id uuid NOT NULL,
    token_hash bytea NOT NULL,
    started_at timestamp with time zone NOT NULL,
    rotated_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    revoked_at timestamp with time zone
);

ALTER TABLE ONLY public.refresh_tokens FORCE ROW LEVEL SECURITY;

CREATE TABLE public.relay_leases (
    shard smallint NOT NULL,
    owner text NOT NULL,
    expires_at timestamp with time zone NOT NULL
);

CREATE TABLE public.reservation_history (
    id bigint NOT NULL,
    agency_id uuid NOT NULL,
    reservation_id uuid NOT NULL,
    property_id uuid NOT NULL,
    inventory_version bigint NOT NULL,
    action text NOT NULL,
    actor text NOT NULL,
    trace_id text,
    at timestamp with time zone NOT NULL,
    before jsonb,
    after jsonb NOT NULL
);

ALTER TABLE ONLY public.reservation_history FORCE ROW LEVEL SECURITY;

ALTER TABLE public.reservation_history ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.reservation_history_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.schema_migrations (
    set_name text NOT NULL,
    version text NOT NULL,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.users (
    id uuid NOT NULL,
    agency_id uuid,
    email text NOT NULL,
    email_normalised text NOT NULL,
    roles text[] NOT NULL,
    property_ids uuid[],
    active boolean DEFAULT true NOT NULL,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    accepted_at timestamp with time zone,
    last_login_at timestamp with time zone,
    CONSTRAINT users_check CHECK (((agency_id IS NULL) = ('platform'::text = ANY (roles)))),
    CONSTRAINT users_property_ids_check CHECK ((cardinality(property_ids) > 0)),
    CONSTRAINT users_roles_check CHECK (((cardinality(roles) > 0) AND (roles <@ ARRAY['admin'::text, 'manager'::text, 'staff'::text, 'owner'::text, 'platform'::text])))
);

ALTER TABLE ONLY public.users FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY public.agencies
    ADD CONSTRAINT agencies_pkey PRIMARY KEY (agency_id);

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_prefix_key UNIQUE (prefix);

ALTER TABLE ONLY public.audit_cursor
    ADD CONSTRAINT audit_cursor_pkey PRIMARY KEY (is_only);

ALTER TABLE ONLY public.audit_findings
    ADD CONSTRAINT audit_findings_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.audit_positions
    ADD CONSTRAINT audit_positions_pkey PRIMARY KEY (property_id);

ALTER TABLE ONLY public.blocks
    ADD CONSTRAINT blocks_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.channel_revisions
    ADD CONSTRAINT channel_revisions_pkey PRIMARY KEY (connection_id, ota_reservation_code, property_id, revision_no);

ALTER TABLE ONLY public.conflicts
    ADD CONSTRAINT conflicts_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.credentials
    ADD CONSTRAINT credentials_pkey PRIMARY KEY (user_id);

ALTER TABLE ONLY public.guests
    ADD CONSTRAINT guests_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.holds
    ADD CONSTRAINT holds_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.idempotency_keys
    ADD CONSTRAINT idempotency_keys_pkey PRIMARY KEY (agency_id, caller, key);

ALTER TABLE ONLY public.inbox
    ADD CONSTRAINT inbox_pkey PRIMARY KEY (consumer, event_id);

ALTER TABLE ONLY public.inventory_ranges_archive
    ADD CONSTRAINT inventory_ranges_archive_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.inventory_ranges
    ADD CONSTRAINT inventory_ranges_no_overlap EXCLUDE USING gist (property_id WITH =, occupied WITH &&) WHERE ((state = 'active'::text));

ALTER TABLE ONLY public.inventory_ranges
    ADD CONSTRAINT inventory_ranges_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.inventory_versions
    ADD CONSTRAINT inventory_versions_pkey PRIMARY KEY (property_id);

ALTER TABLE ONLY public.login_failures
    ADD CONSTRAINT login_failures_pkey PRIMARY KEY (email_hash);

ALTER TABLE ONLY public.one_time_links
    ADD CONSTRAINT one_time_links_pkey PRIMARY KEY (token_hash);

ALTER TABLE ONLY public.outbox
    ADD CONSTRAINT outbox_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.properties
    ADD CONSTRAINT properties_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.property_terms
    ADD CONSTRAINT property_terms_pkey PRIMARY KEY (property_id);

ALTER TABLE ONLY public.quotes
    ADD CONSTRAINT quotes_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.refresh_tokens
    ADD CONSTRAINT refresh_tokens_pkey PRIMARY KEY (family_id);

ALTER TABLE ONLY public.relay_leases
    ADD CONSTRAINT relay_leases_pkey PRIMARY KEY (shard);

ALTER TABLE ONLY public.reservation_history
    ADD CONSTRAINT reservation_history_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.reservations
    ADD CONSTRAINT reservations_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.schema_migrations
    ADD CONSTRAINT schema_migrations_pkey PRIMARY KEY (set_name, version);

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (id);

CREATE INDEX api_keys_newest ON public.api_keys USING btree (agency_id, created_at DESC, id DESC);

CREATE UNIQUE INDEX audit_findings_open ON public.audit_findings USING btree (fingerprint) WHERE (resolved_at IS NULL);

CREATE INDEX blocks_newest ON public.blocks USING btree (agency_id, created_at DESC, id DESC);

CREATE UNIQUE INDEX blocks_ota_code ON public.blocks USING btree (connection_id, ota_reservation_code, property_id) WHERE (connection_id IS NOT NULL);

CREATE INDEX conflicts_oldest ON public.conflicts USING btree (agency_id, opened_at, id);

CREATE INDEX conflicts_open ON public.conflicts USING btree (property_id) WHERE (state = 'open'::text);

CREATE UNIQUE INDEX guests_email ON public.guests USING btree (agency_id, email_normalised) WHERE (deleted_at IS NULL);

CREATE INDEX guests_first_booking ON public.guests USING btree (agency_id, first_booking_at);

CREATE INDEX guests_last_booking ON public.guests USING btree (agency_id, last_booking_at);

CREATE INDEX guests_newest ON public.guests USING btree (agency_id, created_at DESC, id DESC) WHERE (deleted_at IS NULL);

CREATE INDEX guests_text ON public.guests USING gin (lower(((name || ' '::text) || COALESCE(email, ''::text))) public.gin_trgm_ops) WHERE (deleted_at IS NULL);

CREATE INDEX guests_updated ON public.guests USING btree (agency_id, updated_at);

CREATE INDEX holds_overdue ON public.holds USING btree (property_id, hold_expires_at) WHERE (state = 'active'::text);

CREATE INDEX idempotency_keys_expires_at ON public.idempotency_keys USING btree (expires_at);

CREATE INDEX inbox_processed_at ON public.inbox USING btree (processed_at);

CREATE INDEX inventory_ranges_archive_of_property ON public.inventory_ranges_archive USING btree (property_id, occupied);

CREATE INDEX inventory_ranges_ended ON public.inventory_ranges USING btree (state, upper(occupied));

CREATE INDEX inventory_ranges_expiring ON public.inventory_ranges USING btree (expires_at) WHERE ((state = 'active'::text) AND (expires_at IS NOT NULL));

CREATE INDEX login_failures_last_at ON public.login_failures USING btree (last_at);

CREATE INDEX one_time_links_expires_at ON public.one_time_links USING btree (expires_at);

CREATE INDEX one_time_links_of_user ON public.one_time_links USING btree (user_id);

CREATE INDEX outbox_feed ON public.outbox USING btree (agency_id, xid, id);

CREATE INDEX outbox_quarantined ON public.outbox USING btree (key) WHERE (quarantined IS NOT NULL);

CREATE INDEX outbox_unsent ON public.outbox USING btree (shard, id) WHERE (sent_at IS NULL);

CREATE INDEX properties_newest ON public.properties USING btree (agency_id, created_at DESC, id DESC);

CREATE INDEX quotes_live ON public.quotes USING btree (property_id, expires_at);

CREATE INDEX quotes_over ON public.quotes USING btree (expires_at);

CREATE INDEX refresh_tokens_expires_at ON public.refresh_tokens USING btree (expires_at);

CREATE INDEX refresh_tokens_of_user ON public.refresh_tokens USING btree (user_id);

CREATE INDEX reservation_history_newest ON public.reservation_history USING btree (agency_id, id DESC);

CREATE INDEX reservation_history_of ON public.reservation_history USING btree (reservation_id, id);

CREATE INDEX reservations_newest ON public.reservations USING btree (agency_id, created_at DESC, id DESC);

CREATE INDEX reservations_of_group ON public.reservations USING btree (group_id) WHERE (group_id IS NOT NULL);

CREATE INDEX reservations_of_guest ON public.reservations USING btree (guest_id, created_at) WHERE (guest_id IS NOT NULL);

CREATE INDEX reservations_of_property ON public.reservations USING btree (property_id, check_in);

CREATE INDEX reservations_ota_code ON public.reservations USING btree (connection_id, ota_reservation_code, property_id) WHERE (connection_id IS NOT NULL);

CREATE INDEX reservations_overdue ON public.reservations USING btree (property_id, hold_expires_at) WHERE (status = 'pending'::text);

CREATE INDEX reservations_updated ON public.reservations USING btree (agency_id, updated_at, id);

CREATE INDEX users_email ON public.users USING btree (email_normalised);

CREATE UNIQUE INDEX users_email_of_agency ON public.users USING btree (agency_id, email_normalised);

CREATE UNIQUE INDEX users_email_of_platform ON public.users USING btree (email_normalised) WHERE (agency_id IS NULL);

CREATE INDEX users_newest ON public.users USING btree (agency_id, created_at DESC, id DESC);

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_agency_id_fkey FOREIGN KEY (agency_id) REFERENCES public.agencies(agency_id);

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_created_by_fkey FOREIGN KEY (created_by) REFERENCES public.users(id);

ALTER TABLE ONLY public.blocks
    ADD CONSTRAINT blocks_property_id_fkey FOREIGN KEY (property_id) REFERENCES public.properties(id);

ALTER TABLE ONLY public.channel_revisions
    ADD CONSTRAINT channel_revisions_property_id_fkey FOREIGN KEY (property_id) REFERENCES public.properties(id);

ALTER TABLE ONLY public.conflicts
    ADD CONSTRAINT conflicts_block_id_fkey FOREIGN KEY (block_id) REFERENCES public.blocks(id);

ALTER TABLE ONLY public.conflicts
    ADD CONSTRAINT conflicts_property_id_fkey FOREIGN KEY (property_id) REFERENCES public.properties(id);

ALTER TABLE ONLY public.conflicts
    ADD CONSTRAINT conflicts_reservation_id_fkey FOREIGN KEY (reservation_id) REFERENCES public.reservations(id);

ALTER TABLE ONLY public.credentials
    ADD CONSTRAINT credentials_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id);

ALTER TABLE ONLY public.holds
    ADD CONSTRAINT holds_property_id_fkey FOREIGN KEY (property_id) REFERENCES public.properties(id);

ALTER TABLE ONLY public.inventory_ranges
    ADD CONSTRAINT inventory_ranges_property_id_fkey FOREIGN KEY (property_id) REFERENCES public.inventory_versions(property_id);

ALTER TABLE ONLY public.inventory_versions
    ADD CONSTRAINT inventory_versions_property_id_fkey FOREIGN KEY (property_id) REFERENCES public.properties(id);

ALTER TABLE ONLY public.one_time_links
    ADD CONSTRAINT one_time_links_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id);

ALTER TABLE ONLY public.property_terms
    ADD CONSTRAINT property_terms_property_id_fkey FOREIGN KEY (property_id) REFERENCES public.properties(id);

ALTER TABLE ONLY public.quotes
    ADD CONSTRAINT quotes_property_id_fkey FOREIGN KEY (property_id) REFERENCES public.properties(id);

ALTER TABLE ONLY public.refresh_tokens
    ADD CONSTRAINT refresh_tokens_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id);

ALTER TABLE ONLY public.reservations
    ADD CONSTRAINT reservations_guest_id_fkey FOREIGN KEY (guest_id) REFERENCES public.guests(id);

ALTER TABLE ONLY public.reservations
    ADD CONSTRAINT reservations_property_id_fkey FOREIGN KEY (property_id) REFERENCES public.inventory_versions(property_id);

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_agency_id_fkey FOREIGN KEY (agency_id) REFERENCES public.agencies(agency_id);

ALTER TABLE public.agencies ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.api_keys ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.audit_findings ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.audit_positions ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.blocks ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.channel_revisions ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.conflicts ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.credentials ENABLE ROW LEVEL SECURITY;

CREATE POLICY every_agency ON public.agencies TO booking_system USING (true);

CREATE POLICY every_agency ON public.api_keys TO booking_system USING (true);

CREATE POLICY every_agency ON public.audit_findings TO booking_system USING (true);

CREATE POLICY every_agency ON public.audit_positions TO booking_system USING (true);

CREATE POLICY every_agency ON public.blocks TO booking_system USING (true);

CREATE POLICY every_agency ON public.channel_revisions TO booking_system USING (true);

CREATE POLICY every_agency ON public.conflicts TO booking_system USING (true);

CREATE POLICY every_agency ON public.credentials TO booking_system USING (true);

CREATE POLICY every_agency ON public.guests TO booking_system USING (true);

CREATE POLICY every_agency ON public.holds TO booking_system USING (true);

CREATE POLICY every_agency ON public.idempotency_keys TO booking_system USING (true);

CREATE POLICY every_agency ON public.inventory_ranges TO booking_system USING (true);

CREATE POLICY every_agency ON public.inventory_ranges_archive TO booking_system USING (true);

CREATE POLICY every_agency ON public.inventory_versions TO booking_system USING (true);

CREATE POLICY every_agency ON public.one_time_links TO booking_system USING (true);

CREATE POLICY every_agency ON public.outbox TO booking_system USING (true);

CREATE POLICY every_agency ON public.properties TO booking_system USING (true);

CREATE POLICY every_agency ON public.property_terms TO booking_system USING (true);

CREATE POLICY every_agency ON public.quotes TO booking_system USING (true);

CREATE POLICY every_agency ON public.refresh_tokens TO booking_system USING (true);

CREATE POLICY every_agency ON public.reservation_history TO booking_system USING (true);

CREATE POLICY every_agency ON public.reservations TO booking_system USING (true);

CREATE POLICY every_agency ON public.users TO booking_system USING (true);

ALTER TABLE public.guests ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.holds ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.idempotency_keys ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.inventory_ranges ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.inventory_ranges_archive ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.inventory_versions ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.one_time_links ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.outbox ENABLE ROW LEVEL SECURITY;

CREATE POLICY own_agency ON public.agencies TO booking_app USING ((agency_id = ( SELECT (NULLIF(current_setting('app.agency_id'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY own_agency ON public.api_keys TO booking_app USING ((agency_id = ( SELECT (NULLIF(current_setting('app.agency_id'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY own_agency ON public.audit_findings TO booking_app USING ((agency_id = ( SELECT (NULLIF(current_setting('app.agency_id'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY own_agency ON public.audit_positions TO booking_app USING ((agency_id = ( SELECT (NULLIF(current_setting('app.agency_id'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY own_agency ON public.blocks TO booking_app USING ((agency_id = ( SELECT (NULLIF(current_setting('app.agency_id'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY own_agency ON public.channel_revisions TO booking_app USING ((agency_id = ( SELECT (NULLIF(current_setting('app.agency_id'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY own_agency ON public.conflicts TO booking_app USING ((agency_id = ( SELECT (NULLIF(current_setting('app.agency_id'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY own_agency ON public.credentials TO booking_app USING ((agency_id = ( SELECT (NULLIF(current_setting('app.agency_id'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY own_agency ON public.guests TO booking_app USING ((agency_id = ANY ((( SELECT string_to_array(NULLIF(current_setting('app.agency_id'::text, true), ''::text), ','::text) AS string_to_array))::uuid[])));

CREATE POLICY own_agency ON public.holds TO booking_app USING ((agency_id = ( SELECT (NULLIF(current_setting('app.agency_id'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY own_agency ON public.idempotency_keys TO booking_app USING ((agency_id = ANY ((( SELECT string_to_array(NULLIF(current_setting('app.agency_id'::text, true), ''::text), ','::text) AS string_to_array))::uuid[])));

CREATE POLICY own_agency ON public.inventory_ranges TO booking_app USING ((agency_id = ANY ((( SELECT string_to_array(NULLIF(current_setting('app.agency_id'::text, true), ''::text), ','::text) AS string_to_array))::uuid[])));

CREATE POLICY own_agency ON public.inventory_ranges_archive TO booking_app USING ((agency_id = ( SELECT (NULLIF(current_setting('app.agency_id'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY own_agency ON public.inventory_versions TO booking_app USING ((agency_id = ANY ((( SELECT string_to_array(NULLIF(current_setting('app.agency_id'::text, true), ''::text), ','::text) AS string_to_array))::uuid[])));

CREATE POLICY own_agency ON public.one_time_links TO booking_app USING ((agency_id = ( SELECT (NULLIF(current_setting('app.agency_id'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY own_agency ON public.outbox TO booking_app USING ((agency_id = ANY ((( SELECT string_to_array(NULLIF(current_setting('app.agency_id'::text, true), ''::text), ','::text) AS string_to_array))::uuid[])));

CREATE POLICY own_agency ON public.properties TO booking_app USING ((agency_id = ( SELECT (NULLIF(current_setting('app.agency_id'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY own_agency ON public.property_terms TO booking_app USING ((agency_id = ( SELECT (NULLIF(current_setting('app.agency_id'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY own_agency ON public.quotes TO booking_app USING ((agency_id = ( SELECT (NULLIF(current_setting('app.agency_id'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY own_agency ON public.refresh_tokens TO booking_app USING ((agency_id = ( SELECT (NULLIF(current_setting('app.agency_id'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY own_agency ON public.reservation_history TO booking_app USING ((agency_id = ANY ((( SELECT string_to_array(NULLIF(current_setting('app.agency_id'::text, true), ''::text), ','::text) AS string_to_array))::uuid[])));

CREATE POLICY own_agency ON public.reservations TO booking_app USING ((agency_id = ANY ((( SELECT string_to_array(NULLIF(current_setting('app.agency_id'::text, true), ''::text), ','::text) AS string_to_array))::uuid[])));

CREATE POLICY own_agency ON public.users TO booking_app USING ((agency_id = ( SELECT (NULLIF(current_setting('app.agency_id'::text, true), ''::text))::uuid AS "nullif")));

ALTER TABLE public.properties ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.property_terms ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.quotes ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.refresh_tokens ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.reservation_history ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.reservations ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.users ENABLE ROW LEVEL SECURITY;

REVOKE USAGE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO booking_app;
GRANT USAGE ON SCHEMA public TO booking_system;

REVOKE ALL ON FUNCTION public.booking_contexts(questions jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION public.booking_contexts(questions jsonb) TO booking_app;

GRANT SELECT,INSERT,UPDATE ON TABLE public.reservations TO booking_app;
GRANT SELECT,INSERT,UPDATE ON TABLE public.reservations TO booking_system;

REVOKE ALL ON FUNCTION public.erase_guest(v_agency uuid, v_guest uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION public.erase_guest(v_agency uuid, v_guest uuid) TO booking_app;

REVOKE ALL ON FUNCTION public.guests_matching(v_agency uuid, v_text text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.guests_matching(v_agency uuid, v_text text) TO booking_app;

REVOKE ALL ON FUNCTION public.protect_tenant_table(tenant_table text) FROM PUBLIC;

GRANT SELECT ON TABLE public.agencies TO booking_app;
GRANT SELECT,INSERT,UPDATE ON TABLE public.agencies TO booking_system;

GRANT UPDATE(name) ON TABLE public.agencies TO booking_app;

GRANT INSERT ON TABLE public.api_keys TO booking_app;
GRANT SELECT,INSERT,UPDATE ON TABLE public.api_keys TO booking_system;

GRANT SELECT(id) ON TABLE public.api_keys TO booking_app;

GRANT SELECT(agency_id) ON TABLE public.api_keys TO booking_app;

GRANT SELECT(name) ON TABLE public.api_keys TO booking_app;

GRANT SELECT(prefix) ON TABLE public.api_keys TO booking_app;

GRANT SELECT(roles) ON TABLE public.api_keys TO booking_app;

GRANT SELECT(property_ids) ON TABLE public.api_keys TO booking_app;

GRANT SELECT(created_by) ON TABLE public.api_keys TO booking_app;

GRANT SELECT(created_at) ON TABLE public.api_keys TO booking_app;

GRANT SELECT(expires_at) ON TABLE public.api_keys TO booking_app;

GRANT SELECT(revoked_at),UPDATE(revoked_at) ON TABLE public.api_keys TO booking_app;

GRANT SELECT(last_used_at) ON TABLE public.api_keys TO booking_app;

GRANT SELECT,UPDATE ON TABLE public.audit_cursor TO booking_system;

GRANT SELECT,INSERT,UPDATE ON TABLE public.audit_findings TO booking_system;

GRANT SELECT,INSERT,UPDATE ON TABLE public.audit_positions TO booking_system;

GRANT SELECT,INSERT,UPDATE ON TABLE public.blocks TO booking_app;
GRANT SELECT,INSERT,UPDATE ON TABLE public.blocks TO booking_system;

GRANT SELECT,INSERT,UPDATE ON TABLE public.channel_revisions TO booking_app;
GRANT SELECT,INSERT,UPDATE ON TABLE public.channel_revisions TO booking_system;

GRANT SELECT,INSERT,UPDATE ON TABLE public.conflicts TO booking_app;
GRANT SELECT,INSERT,UPDATE ON TABLE public.conflicts TO booking_system;

GRANT SELECT,INSERT,UPDATE ON TABLE public.credentials TO booking_system;

GRANT SELECT,INSERT,UPDATE ON TABLE public.guests TO booking_app;
GRANT SELECT,INSERT,UPDATE ON TABLE public.guests TO booking_system;

GRANT SELECT,INSERT,UPDATE ON TABLE public.holds TO booking_app;
GRANT SELECT,INSERT,UPDATE ON TABLE public.holds TO booking_system;

GRANT SELECT,INSERT,UPDATE ON TABLE public.idempotency_keys TO booking_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.idempotency_keys TO booking_system;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.inbox TO booking_system;

GRANT SELECT,INSERT,UPDATE ON TABLE public.inventory_ranges TO booking_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.inventory_ranges TO booking_system;

GRANT SELECT ON TABLE public.inventory_ranges_archive TO booking_app;
GRANT SELECT,INSERT,UPDATE ON TABLE public.inventory_ranges_archive TO booking_system;

GRANT SELECT,INSERT,UPDATE ON TABLE public.inventory_versions TO booking_app;
GRANT SELECT,INSERT,UPDATE ON TABLE public.inventory_versions TO booking_system;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.login_failures TO booking_system;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.one_time_links TO booking_system;
GRANT INSERT ON TABLE public.one_time_links TO booking_app;

GRANT SELECT,INSERT ON TABLE public.outbox TO booking_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.outbox TO booking_system;

GRANT SELECT,INSERT,UPDATE ON TABLE public.properties TO booking_app;
GRANT SELECT,INSERT,UPDATE ON TABLE public.properties TO booking_system;

GRANT SELECT,INSERT,UPDATE ON TABLE public.property_terms TO booking_app;
GRANT SELECT,INSERT,UPDATE ON TABLE public.property_terms TO booking_system;

GRANT SELECT,INSERT ON TABLE public.quotes TO booking_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.quotes TO booking_system;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.refresh_tokens TO booking_system;

GRANT SELECT(agency_id) ON TABLE public.refresh_tokens TO booking_app;

GRANT SELECT(user_id) ON TABLE public.refresh_tokens TO booking_app;

GRANT SELECT(revoked_at),UPDATE(revoked_at) ON TABLE public.refresh_tokens TO booking_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.relay_leases TO booking_system;

GRANT SELECT,INSERT,UPDATE ON TABLE public.reservation_history TO booking_app;
GRANT SELECT,INSERT,UPDATE ON TABLE public.reservation_history TO booking_system;

GRANT SELECT,INSERT,UPDATE ON TABLE public.users TO booking_app;
GRANT SELECT,INSERT,UPDATE ON TABLE public.users TO booking_system;
