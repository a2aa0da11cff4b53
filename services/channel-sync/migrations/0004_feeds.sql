-- Feeds of revisions that are asked for, and revisions of bookings with several rooms.
-- {{app}} is the API's role, {{system}} that of cross-agency workers.

CREATE TABLE feeds (
    connection_id    uuid PRIMARY KEY,
    agency_id        uuid NOT NULL,
    cursor           text,
    next_poll_at     timestamptz NOT NULL,
    lease_owner      text,
    lease_epoch      bigint NOT NULL DEFAULT 0,
    lease_expires_at timestamptz,
    attempts         integer NOT NULL DEFAULT 0,
    polled_at        timestamptz,
    error            text,
    batch_id         uuid,
    task_id          uuid,
    FOREIGN KEY (agency_id, connection_id) REFERENCES connections (agency_id, id),
    CHECK ((lease_owner IS NULL) = (lease_expires_at IS NULL))
);
COMMENT ON TABLE feeds IS 'Where each connection that is asked for its revisions stands; one process polls it at a time.';
COMMENT ON COLUMN feeds.cursor IS 'Where to go on, as the channel says it; null where acknowledging is what moves the feed on.';
COMMENT ON COLUMN feeds.polled_at IS 'When the feed was last read to its end.';
COMMENT ON COLUMN feeds.task_id IS 'The synchronisation somebody asked for, with its batch, until it was tried.';
CREATE INDEX feeds_due ON feeds (next_poll_at);
ALTER TABLE feeds ENABLE ROW LEVEL SECURITY;
ALTER TABLE feeds FORCE ROW LEVEL SECURITY;
CREATE POLICY own_agency ON feeds TO {{app}}
    USING (agency_id = (SELECT nullif(current_setting('app.agency_id', true), '')::uuid));
CREATE POLICY every_agency ON feeds TO {{system}} USING (true);
GRANT SELECT, INSERT, UPDATE (next_poll_at, batch_id, task_id) ON feeds TO {{app}};
GRANT SELECT, INSERT, UPDATE ON feeds TO {{system}};

ALTER TABLE inbound_revisions
    DROP CONSTRAINT inbound_revisions_source_check,
    ADD CONSTRAINT inbound_revisions_source_check CHECK (source IN ('webhook', 'kafka', 'feed')),
    ADD COLUMN acknowledged_at timestamptz;
COMMENT ON COLUMN inbound_revisions.acknowledged_at IS 'When the channel took note that we have it; null at once for a webhook, whose answer says so.';
CREATE INDEX inbound_revisions_unacknowledged ON inbound_revisions (received_at)
    WHERE source = 'feed' AND acknowledged_at IS NULL;
CREATE INDEX inbound_revisions_troubled ON inbound_revisions (state, received_at)
    WHERE state IN ('unmapped', 'parked', 'unparseable');
