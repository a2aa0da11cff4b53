-- Which properties of all are free: $1 check-in, $2 check-out, $3 persons, $4 amenities, $5 to $8 a box of latitudes and
-- longitudes.
SELECT id FROM properties AS property
WHERE is_active AND max_occupancy >= $3::int AND amenities @> $4::text[]
  AND latitude BETWEEN $5::float8 AND $6::float8 AND longitude BETWEEN $7::float8 AND $8::float8
  AND NOT EXISTS (
      SELECT FROM ranges WHERE property_id = property.id AND occupied && daterange($1::date, $2::date + preparation_days))
