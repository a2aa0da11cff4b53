-- The peer of P3: what the product keeps of a property, as tables with the indexes a search by SQL wants. What holds on
-- a weekday is worked out beforehand (weekday over default), seven values each beginning with Monday.
CREATE EXTENSION IF NOT EXISTS btree_gist;
CREATE TABLE properties (
    id                  uuid NOT NULL,
    agency_id           uuid NOT NULL,
    is_active           boolean NOT NULL,
    max_occupancy       smallint NOT NULL,
    preparation_days    smallint NOT NULL,
    time_zone           text NOT NULL,
    lead_time_hours     integer NOT NULL,
    booking_window_days integer NOT NULL,
    check_in_time       time NOT NULL,
    latitude            double precision NOT NULL,
    longitude           double precision NOT NULL,
    amenities           text[] NOT NULL,
    min_stay_arrival    smallint[] NOT NULL,
    min_stay_through    smallint[] NOT NULL,
    max_stay            smallint[] NOT NULL,
    closed_to_arrival   boolean[] NOT NULL,
    closed_to_departure boolean[] NOT NULL,
    stop_sell           boolean[] NOT NULL,
    rates               bigint[] NOT NULL,
    cleaning_fee        bigint NOT NULL,
    extra_guest_fee     bigint NOT NULL,
    included_guests     smallint,
    discount_nights     smallint[] NOT NULL,
    discount_points     integer[] NOT NULL
);
CREATE TABLE ranges (property_id uuid NOT NULL, occupied daterange NOT NULL);
CREATE TABLE dated_rules (
    property_id         uuid NOT NULL,
    dates               daterange NOT NULL,
    min_stay_arrival    smallint,
    min_stay_through    smallint,
    max_stay            smallint,
    closed_to_arrival   boolean,
    closed_to_departure boolean,
    stop_sell           boolean
);
CREATE TABLE dated_rates (property_id uuid NOT NULL, dates daterange NOT NULL, rate bigint NOT NULL);
