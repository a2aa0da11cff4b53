-- Guests on their own: what erasure blanks, their timeline, and figures recounted.

CREATE INDEX reservation_history_newest ON reservation_history (agency_id, id DESC);

-- Blanks a guest wherever booking stored them, at once: the record, the notes in the history of their reservations, and
-- stored answers of requests, whose keys then answer 410. SECURITY DEFINER of the system role, because the application
-- role never changes a stored answer; it filters by the agency itself. The caller holds the properties' locks.
CREATE FUNCTION erase_guest(v_agency uuid, v_guest uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
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
GRANT CREATE ON SCHEMA public TO {{system}};
ALTER FUNCTION erase_guest OWNER TO {{system}};
REVOKE CREATE ON SCHEMA public FROM {{system}};
REVOKE ALL ON FUNCTION erase_guest FROM PUBLIC;
GRANT EXECUTE ON FUNCTION erase_guest TO {{app}}, {{system}};

-- Guests whose figures differ from their reservations; empty when all is well.
CREATE FUNCTION miscounted_guests() RETURNS TABLE (guest_id uuid, agency_id uuid, stored jsonb, counted jsonb)
LANGUAGE sql STABLE AS $$
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
