-- The reconciler: what listings tell otherwise, calls that are left, channels that are down.
-- {{app}} is the API's role, {{system}} that of cross-agency workers.

ALTER TABLE connections
    ADD COLUMN failures integer NOT NULL DEFAULT 0,
    ADD COLUMN open_until timestamptz,
    ADD COLUMN deleted_at timestamptz;
COMMENT ON COLUMN connections.failures IS 'Calls in a row that found no working channel; enough of them open the circuit breaker.';
COMMENT ON COLUMN connections.deleted_at IS 'Set once it is deleted: its history stays, everything else is as if it never was.';
COMMENT ON COLUMN connections.open_until IS 'Until then no push is tried; then one listing is, and the channel''s answer decides.';

ALTER TABLE listings
    ADD COLUMN closes boolean NOT NULL DEFAULT true,
    ADD COLUMN markup_percent numeric(6, 2) CHECK (markup_percent > -100),
    ADD COLUMN close_out boolean NOT NULL DEFAULT false,
    ADD COLUMN min_stay integer CHECK (min_stay >= 1),
    ADD COLUMN max_nights_sold integer CHECK (max_nights_sold >= 0),
    ADD COLUMN batch_id uuid,
    ADD COLUMN asked_for text[] NOT NULL DEFAULT '{}',
    ADD COLUMN changed_at timestamptz;
-- Values of an older shape: everything is told once more. The owner passes no policy, hence the switch.
ALTER TABLE listings NO FORCE ROW LEVEL SECURITY;
UPDATE listings SET last_accepted = NULL, pushed_version = NULL, next_attempt_at = suite_now(),
    task_id = coalesce(task_id, gen_random_uuid()), stale_since = coalesce(stale_since, suite_now());
ALTER TABLE listings FORCE ROW LEVEL SECURITY;
COMMENT ON COLUMN listings.last_accepted IS 'The nights the channel last accepted, runs as arrays; null when that is unknown.';
COMMENT ON COLUMN listings.closes IS 'A change since it became stale took nights, or may have: such listings go first.';
COMMENT ON COLUMN listings.batch_id IS 'The batch of the work since it became stale; null before the first attempt.';
COMMENT ON COLUMN listings.asked_for IS 'Operation types somebody asked for: they are explained even where nothing differs.';
COMMENT ON COLUMN listings.changed_at IS 'When the oldest change was committed that the channel was not told yet.';
COMMENT ON COLUMN listings.max_nights_sold IS 'Most nights of one calendar year this listing may sell.';
DROP INDEX listings_due;
CREATE INDEX listings_due ON listings (closes DESC, next_attempt_at) WHERE stale_since IS NOT NULL;
CREATE INDEX listings_stale_of_connection ON listings (connection_id, closes DESC, next_attempt_at)
    WHERE stale_since IS NOT NULL;

CREATE TABLE call_budgets (
    agency_id     uuid NOT NULL,
    connection_id uuid NOT NULL,
    bucket        text NOT NULL,
    full_at       timestamptz NOT NULL,
    PRIMARY KEY (connection_id, bucket),
    FOREIGN KEY (agency_id, connection_id) REFERENCES connections (agency_id, id)
);
COMMENT ON TABLE call_budgets IS 'Token buckets of calls to channels, shared by all processes.';
COMMENT ON COLUMN call_budgets.full_at IS 'When the bucket is full again, if no further call is made.';
ALTER TABLE call_budgets ENABLE ROW LEVEL SECURITY;
ALTER TABLE call_budgets FORCE ROW LEVEL SECURITY;
CREATE POLICY own_agency ON call_budgets TO {{app}}
    USING (agency_id = (SELECT nullif(current_setting('app.agency_id', true), '')::uuid));
CREATE POLICY every_agency ON call_budgets TO {{system}} USING (true);
GRANT SELECT ON call_budgets TO {{app}};
GRANT SELECT, INSERT, UPDATE, DELETE ON call_budgets TO {{system}};

CREATE TABLE sync_batches (
    id            uuid PRIMARY KEY,
    agency_id     uuid NOT NULL,
    connection_id uuid NOT NULL,
    sync_type     text NOT NULL CHECK (sync_type IN ('full', 'availability', 'pricing', 'bookings', 'changes')),
    batch_status  text NOT NULL CHECK (batch_status IN ('running', 'success', 'failed')),
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL,
    FOREIGN KEY (agency_id, connection_id) REFERENCES connections (agency_id, id)
);
COMMENT ON TABLE sync_batches IS 'Work asked for together, or changes that were told together (sync_type changes).';
COMMENT ON COLUMN sync_batches.batch_status IS 'Of the last attempts of its tasks: failed if any failed, else running if any is to come, else success.';
CREATE INDEX sync_batches_newest ON sync_batches (connection_id, created_at DESC, id DESC);
CREATE INDEX sync_batches_by_status ON sync_batches (connection_id, batch_status, created_at DESC, id DESC);
ALTER TABLE sync_batches ENABLE ROW LEVEL SECURITY;
ALTER TABLE sync_batches FORCE ROW LEVEL SECURITY;
CREATE POLICY own_agency ON sync_batches TO {{app}}
    USING (agency_id = (SELECT nullif(current_setting('app.agency_id', true), '')::uuid));
CREATE POLICY every_agency ON sync_batches TO {{system}} USING (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON sync_batches TO {{system}};
GRANT SELECT, INSERT, DELETE, UPDATE (batch_status, updated_at) ON sync_batches TO {{app}};

ALTER TABLE sync_operations
    ADD COLUMN attempt integer NOT NULL DEFAULT 1,
    ADD COLUMN error_class text,
    ADD COLUMN payload_digest text,
    ADD COLUMN staleness_ms bigint;
COMMENT ON COLUMN sync_operations.payload_digest IS 'SHA-256 of what was sent, in hexadecimal digits; null when nothing was.';
COMMENT ON COLUMN sync_operations.staleness_ms IS 'From the commit of the oldest change told to its acceptance.';
CREATE INDEX sync_operations_of_listing ON sync_operations (listing_id, created_at DESC);
CREATE INDEX sync_operations_of_task ON sync_operations (task_id, attempt);
CREATE INDEX sync_operations_of_batch ON sync_operations (batch_id, task_id, attempt DESC);
GRANT INSERT, DELETE ON sync_operations TO {{app}};
GRANT DELETE ON sync_operations TO {{system}};
GRANT UPDATE (batch_id, asked_for, task_id, stale_since, next_attempt_at, pushed_version, last_accepted, closes, traceparent)
    ON listings TO {{app}};

-- History outlives its listing.
ALTER TABLE sync_operations DROP CONSTRAINT sync_operations_listing_id_fkey;
GRANT DELETE ON listings TO {{app}};
GRANT UPDATE (markup_percent, close_out, min_stay, max_nights_sold) ON listings TO {{app}};
GRANT UPDATE (name, endpoint_url, sealed_secret, settings, enabled, updated_at, deleted_at, failures, open_until)
    ON connections TO {{app}};

ALTER TABLE inbound_revisions
    ADD COLUMN revision_status text CHECK (revision_status IN ('new', 'modified', 'cancelled')),
    ADD COLUMN check_in date,
    ADD COLUMN check_out date;
COMMENT ON COLUMN inbound_revisions.revision_status IS 'What the channel says it is; null for what was stored before this column.';
