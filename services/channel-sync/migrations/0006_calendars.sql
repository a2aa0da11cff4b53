-- Channels that are calendars: theirs is read and compared, ours is read by them; nothing is pushed.

ALTER TABLE listings ADD COLUMN calendar_token uuid UNIQUE;
COMMENT ON COLUMN listings.calendar_token IS 'The unguessable part of the address of our calendar; null where the channel is told.';
DROP INDEX listings_due;
CREATE INDEX listings_due ON listings (closes DESC, next_attempt_at)
    WHERE stale_since IS NOT NULL AND calendar_token IS NULL;

CREATE TABLE calendars (
    listing_id uuid PRIMARY KEY REFERENCES listings ON DELETE CASCADE,
    agency_id  uuid NOT NULL,
    cursor     text,
    events     jsonb NOT NULL DEFAULT '{}'
);
COMMENT ON TABLE calendars IS 'What is known of the calendar of a listing; written with the revisions made of it.';
COMMENT ON COLUMN calendars.cursor IS 'What the next conditional request says.';
COMMENT ON COLUMN calendars.events IS 'By the digest of its UID each event as it was last believed.';

CREATE TABLE calendar_nights (
    listing_id    uuid NOT NULL REFERENCES listings ON DELETE CASCADE,
    start_date    date NOT NULL,
    end_date      date NOT NULL CHECK (end_date > start_date),
    agency_id     uuid NOT NULL,
    first_told_at timestamptz NOT NULL,
    told_at       timestamptz NOT NULL,
    PRIMARY KEY (listing_id, start_date, end_date)
);
COMMENT ON TABLE calendar_nights IS 'The closed nights our calendar showed, and when first and last.';

DO $$
DECLARE
    tenant_table text;
BEGIN
    FOREACH tenant_table IN ARRAY ARRAY['calendars', 'calendar_nights']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format('CREATE POLICY own_agency ON %I TO {{app}} '
                       'USING (agency_id = (SELECT nullif(current_setting(''app.agency_id'', true), '''')::uuid))',
                       tenant_table);
        EXECUTE format('CREATE POLICY every_agency ON %I TO {{system}} USING (true)', tenant_table);
        EXECUTE format('GRANT SELECT ON %I TO {{app}}', tenant_table);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO {{system}}', tenant_table);
    END LOOP;
END $$;

ALTER TABLE inbound_revisions ADD COLUMN block_id uuid;
COMMENT ON COLUMN inbound_revisions.block_id IS 'The block booking keeps for an event of a calendar.';
CREATE INDEX inbound_revisions_of_block ON inbound_revisions (connection_id, block_id) WHERE block_id IS NOT NULL;
