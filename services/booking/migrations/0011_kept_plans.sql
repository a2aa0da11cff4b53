-- Functions whose statement reads tables keep their plan: one in SQL that is not inlined is parsed and planned anew by
-- each call, which cost more than running it. One that is only an expression is inlined where it is called.

CREATE OR REPLACE FUNCTION answers_in_order(v_answers jsonb) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (SELECT jsonb_agg(answer ORDER BY place::integer) FROM jsonb_each(v_answers) AS answered (place, answer));
END $$;

CREATE OR REPLACE FUNCTION answer_body(v_answer jsonb, v_versions jsonb, v_now timestamptz)
RETURNS text LANGUAGE plpgsql STABLE AS $$
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

CREATE OR REPLACE FUNCTION history_origin(request jsonb, change jsonb) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('actor', request->>'actor', 'action', change->>'event_type',
                              'trace_id', split_part(request->'trace'->>'traceparent', '-', 2))
$$;

CREATE OR REPLACE FUNCTION booking_contexts(questions jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = public, pg_temp SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
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
