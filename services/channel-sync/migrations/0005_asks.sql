-- What is asked of a listing while it is being pushed must not be settled by that push.

ALTER TABLE listings ADD COLUMN asks bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN listings.asks IS 'Counts changed overrides and synchronisations asked for; a push settles those it began with.';
GRANT UPDATE (asks) ON listings TO {{app}};
