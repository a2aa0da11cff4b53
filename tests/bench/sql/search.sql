-- One search: $1 agency, $2 check-in, $3 check-out, $4 persons, $5 amenities, $6 latitude, $7 longitude, $8 radius in km
-- (null for anywhere), $9 and $10 bounds of the total (null for none), $11 the instant, $12 how many. OFFSET 0 keeps the
-- planner from looking at the rules of properties that are taken, and from working out a total three times.
SELECT candidate.id, price.total, candidate.metres
FROM (
    SELECT property.*,
           12742000 * asin(sqrt(least(1.0,
               power(sin(radians(latitude - $6::float8) / 2), 2)
               + cos(radians($6::float8)) * cos(radians(latitude)) * power(sin(radians(longitude - $7::float8) / 2), 2)))) AS metres
    FROM properties AS property
    WHERE agency_id = $1::uuid
      AND is_active
      AND max_occupancy >= $4::int
      AND amenities @> $5::text[]
      AND ($8::float8 IS NULL OR latitude BETWEEN $6::float8 - $8::float8 / 111.19 * 1.001 AND $6::float8 + $8::float8 / 111.19 * 1.001)
      AND $2::date >= ($11::timestamptz AT TIME ZONE time_zone)::date
      AND $3::date - 1 < ($11::timestamptz AT TIME ZONE time_zone)::date + booking_window_days
      AND (lead_time_hours = 0 OR
           ($2::date + check_in_time) AT TIME ZONE time_zone >= $11::timestamptz + make_interval(hours => lead_time_hours))
      AND NOT EXISTS (
          SELECT FROM ranges WHERE property_id = property.id AND occupied && daterange($2::date, $3::date + preparation_days))
    OFFSET 0
) AS candidate
CROSS JOIN LATERAL (
    SELECT bool_and(
               CASE WHEN day = $3::date THEN
                   NOT coalesce(rule.closed_to_departure, candidate.closed_to_departure[weekday])
               ELSE
                   NOT coalesce(rule.stop_sell, candidate.stop_sell[weekday])
                   AND $3::date - $2::date >= coalesce(rule.min_stay_through, candidate.min_stay_through[weekday])
                   AND (day > $2::date OR (
                       NOT coalesce(rule.closed_to_arrival, candidate.closed_to_arrival[weekday])
                       AND $3::date - $2::date BETWEEN coalesce(rule.min_stay_arrival, candidate.min_stay_arrival[weekday])
                                       AND coalesce(rule.max_stay, candidate.max_stay[weekday])))
               END) AS is_sold,
           (sum(coalesce(priced.rate, candidate.rates[weekday])) FILTER (WHERE day < $3::date))::bigint AS accommodation,
           bool_or(coalesce(priced.rate, candidate.rates[weekday]) IS NULL) FILTER (WHERE day < $3::date) AS has_gap
    FROM (SELECT $2::date + number AS day, extract(isodow FROM $2::date + number)::int AS weekday
          FROM generate_series(0, $3::date - $2::date) AS number) AS night
    LEFT JOIN (SELECT * FROM dated_rules WHERE property_id = candidate.id AND dates && daterange($2::date, $3::date, '[]') OFFSET 0)
        AS rule ON rule.dates @> day
    LEFT JOIN (SELECT * FROM dated_rates WHERE property_id = candidate.id AND dates && daterange($2::date, $3::date) OFFSET 0)
        AS priced ON priced.dates @> day
) AS stay
CROSS JOIN LATERAL (
    SELECT stay.accommodation
           - (stay.accommodation * coalesce((
                 SELECT points FROM unnest(discount_nights, discount_points) AS tier (nights, points)
                 WHERE nights <= $3::date - $2::date ORDER BY nights DESC, points DESC LIMIT 1), 0) + 5000) / 10000
           + cleaning_fee
           + greatest(0, $4::int - coalesce(included_guests, $4::int)) * ($3::date - $2::date) * extra_guest_fee AS total
    OFFSET 0
) AS price
WHERE stay.is_sold AND NOT stay.has_gap
  AND ($8::float8 IS NULL OR candidate.metres <= $8::float8 * 1000)
  AND ($9::bigint IS NULL OR price.total >= $9::bigint)
  AND ($10::bigint IS NULL OR price.total <= $10::bigint)
ORDER BY price.total, candidate.id
LIMIT $12::int
