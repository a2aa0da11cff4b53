-- What the migrations add up to; written by `make schema`, never by hand.

CREATE EXTENSION IF NOT EXISTS btree_gist WITH SCHEMA public;

CREATE EXTENSION IF NOT EXISTS pg_stat_statements WITH SCHEMA public;

CREATE FUNCTION public.suite_now() RETURNS timestamp with time zone
    LANGUAGE sql STABLE
    AS $$SELECT now()$$;

CREATE TABLE public.calendar_nights (
    listing_id uuid NOT NULL,
    start_date date NOT NULL,
    end_date date NOT NULL,
    agency_id uuid NOT NULL,
    first_told_at timestamp with time zone NOT NULL,
    told_at timestamp with time zone NOT NULL,
    CONSTRAINT calendar_nights_check CHECK ((end_date > start_date))
);

ALTER TABLE ONLY public.calendar_nights FORCE ROW LEVEL SECURITY;

CREATE TABLE public.calendars (
    listing_id uuid NOT NULL,
    agency_id uuid NOT NULL,
    cursor text,
    events jsonb DEFAULT '{}'::jsonb NOT NULL
);

ALTER TABLE ONLY public.calendars FORCE ROW LEVEL SECURITY;

CREATE TABLE public.call_budgets (
    agency_id uuid NOT NULL,
    connection_id uuid NOT NULL,
    bucket text NOT NULL,
    full_at timestamp with time zone NOT NULL
);

ALTER TABLE ONLY public.call_budgets FORCE ROW LEVEL SECURITY;

CREATE TABLE public.connections (
    id uuid NOT NULL,
    agency_id uuid NOT NULL,
    name text NOT NULL,
    adapter text NOT NULL,
    endpoint_url text NOT NULL,
    sealed_secret bytea NOT NULL,
    settings jsonb NOT NULL,
    enabled boolean DEFAULT true NOT NULL,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    failures integer DEFAULT 0 NOT NULL,
    open_until timestamp with time zone,
    deleted_at timestamp with time zone
);

ALTER TABLE ONLY public.connections FORCE ROW LEVEL SECURITY;

CREATE TABLE public.erased_reservations (
    agency_id uuid NOT NULL,
    connection_id uuid NOT NULL,
    ota_reservation_code text NOT NULL,
    erased_at timestamp with time zone NOT NULL
);

ALTER TABLE ONLY public.erased_reservations FORCE ROW LEVEL SECURITY;

CREATE TABLE public.feeds (
    connection_id uuid NOT NULL,
    agency_id uuid NOT NULL,
    cursor text,
    next_poll_at timestamp with time zone NOT NULL,
    lease_owner text,
    lease_epoch bigint DEFAULT 0 NOT NULL,
    lease_expires_at timestamp with time zone,
    attempts integer DEFAULT 0 NOT NULL,
    polled_at timestamp with time zone,
    error text,
    batch_id uuid,
    task_id uuid,
    CONSTRAINT feeds_check CHECK (((lease_owner IS NULL) = (lease_expires_at IS NULL)))
);

ALTER TABLE ONLY public.feeds FORCE ROW LEVEL SECURITY;

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

CREATE TABLE public.inbound_revisions (
    id uuid NOT NULL,
    agency_id uuid NOT NULL,
    connection_id uuid NOT NULL,
    source text NOT NULL,
    raw bytea NOT NULL,
    received_at timestamp with time zone NOT NULL,
    trace_id text,
    revision_id text NOT NULL,
    ota_reservation_code text,
    ota_listing_id text,
    published_at timestamp with time zone,
    revision_no bigint,
    property_id uuid,
    state text NOT NULL,
    reason text,
    handed_over_at timestamp with time zone,
    reservation_id uuid,
    settled_at timestamp with time zone,
    revision_status text,
    check_in date,
    check_out date,
    acknowledged_at timestamp with time zone,
    block_id uuid,
    CONSTRAINT inbound_revisions_check CHECK (((state <> 'published'::text) OR ((property_id IS NOT NULL) AND (handed_over_at IS NOT NULL)))),
    CONSTRAINT inbound_revisions_revision_status_check CHECK ((revision_status = ANY (ARRAY['new'::text, 'modified'::text, 'cancelled'::text]))),
    CONSTRAINT inbound_revisions_source_check CHECK ((source = ANY (ARRAY['webhook'::text, 'kafka'::text, 'feed'::text]))),
    CONSTRAINT inbound_revisions_state_check CHECK ((state = ANY (ARRAY['published'::text, 'applied'::text, 'duplicate'::text, 'superseded'::text, 'parked'::text, 'unmapped'::text, 'unparseable'::text, 'echo'::text, 'dead_lettered'::text])))
);

ALTER TABLE ONLY public.inbound_revisions FORCE ROW LEVEL SECURITY;

CREATE TABLE public.inbox (
    consumer text NOT NULL,
    event_id uuid NOT NULL,
    processed_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.listings (
    id uuid NOT NULL,
    agency_id uuid NOT NULL,
    connection_id uuid NOT NULL,
    property_id uuid NOT NULL,
    ota_listing_id text NOT NULL,
    ota_rate_plan_id text,
    created_at timestamp with time zone NOT NULL,
    dirty_version bigint NOT NULL,
    stale_since timestamp with time zone,
    task_id uuid,
    traceparent text,
    next_attempt_at timestamp with time zone NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    lease_owner text,
    lease_epoch bigint DEFAULT 0 NOT NULL,
    lease_expires_at timestamp with time zone,
    sent_version bigint DEFAULT 0 NOT NULL,
    pushed_version bigint,
    last_accepted jsonb,
    accepted_at timestamp with time zone,
    unsettled_until timestamp with time zone,
    closes boolean DEFAULT true NOT NULL,
    markup_percent numeric(6,2),
    close_out boolean DEFAULT false NOT NULL,
    min_stay integer,
    max_nights_sold integer,
    batch_id uuid,
    asked_for text[] DEFAULT '{}'::text[] NOT NULL,
    changed_at timestamp with time zone,
    asks bigint DEFAULT 0 NOT NULL,
    calendar_token uuid,
    CONSTRAINT listings_check CHECK (((stale_since IS NULL) OR (task_id IS NOT NULL))),
    CONSTRAINT listings_check1 CHECK (((lease_owner IS NULL) = (lease_expires_at IS NULL))),
    CONSTRAINT listings_markup_percent_check CHECK ((markup_percent > ('-100'::integer)::numeric)),
    CONSTRAINT listings_max_nights_sold_check CHECK ((max_nights_sold >= 0)),
    CONSTRAINT listings_min_stay_check CHECK ((min_stay >= 1))
);

ALTER TABLE ONLY public.listings FORCE ROW LEVEL SECURITY;

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

CREATE TABLE public.relay_leases (
    shard smallint NOT NULL,
    owner text NOT NULL,
    expires_at timestamp with time zone NOT NULL
);

CREATE TABLE public.schema_migrations (
    set_name text NOT NULL,
    version text NOT NULL,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.sync_batches (
    id uuid NOT NULL,
    agency_id uuid NOT NULL,
    connection_id uuid NOT NULL,
    sync_type text NOT NULL,
    batch_status text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT sync_batches_batch_status_check CHECK ((batch_status = ANY (ARRAY['running'::text, 'success'::text, 'failed'::text]))),
    CONSTRAINT sync_batches_sync_type_check CHECK ((sync_type = ANY (ARRAY['full'::text, 'availability'::text, 'pricing'::text, 'bookings'::text, 'changes'::text])))
);

ALTER TABLE ONLY public.sync_batches FORCE ROW LEVEL SECURITY;

CREATE TABLE public.sync_operations (
    log_id uuid NOT NULL,
    agency_id uuid NOT NULL,
    connection_id uuid NOT NULL,
    listing_id uuid,
    batch_id uuid,
    task_id uuid NOT NULL,
    operation_type text NOT NULL,
    direction text NOT NULL,
    status text NOT NULL,
    inventory_version bigint,
    error text,
    duration_ms integer,
    trace_id text,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    attempt integer DEFAULT 1 NOT NULL,
    error_class text,
    payload_digest text,
    staleness_ms bigint,
    CONSTRAINT sync_operations_direction_check CHECK ((direction = ANY (ARRAY['inbound'::text, 'outbound'::text]))),
    CONSTRAINT sync_operations_operation_type_check CHECK ((operation_type = ANY (ARRAY['availability_update'::text, 'pricing_update'::text, 'bookings_sync'::text]))),
    CONSTRAINT sync_operations_status_check CHECK ((status = ANY (ARRAY['triggered'::text, 'running'::text, 'success'::text, 'failed'::text])))
);

ALTER TABLE ONLY public.sync_operations FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY public.calendar_nights
    ADD CONSTRAINT calendar_nights_pkey PRIMARY KEY (listing_id, start_date, end_date);

ALTER TABLE ONLY public.calendars
    ADD CONSTRAINT calendars_pkey PRIMARY KEY (listing_id);

ALTER TABLE ONLY public.call_budgets
    ADD CONSTRAINT call_budgets_pkey PRIMARY KEY (connection_id, bucket);

ALTER TABLE ONLY public.connections
    ADD CONSTRAINT connections_of_agency UNIQUE (agency_id, id);

ALTER TABLE ONLY public.connections
    ADD CONSTRAINT connections_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.erased_reservations
    ADD CONSTRAINT erased_reservations_pkey PRIMARY KEY (connection_id, ota_reservation_code);

ALTER TABLE ONLY public.feeds
    ADD CONSTRAINT feeds_pkey PRIMARY KEY (connection_id);

ALTER TABLE ONLY public.idempotency_keys
    ADD CONSTRAINT idempotency_keys_pkey PRIMARY KEY (agency_id, caller, key);

ALTER TABLE ONLY public.inbound_revisions
    ADD CONSTRAINT inbound_revisions_in_order UNIQUE (connection_id, ota_reservation_code, revision_no);

ALTER TABLE ONLY public.inbound_revisions
    ADD CONSTRAINT inbound_revisions_once UNIQUE (connection_id, revision_id);

ALTER TABLE ONLY public.inbound_revisions
    ADD CONSTRAINT inbound_revisions_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.inbox
    ADD CONSTRAINT inbox_pkey PRIMARY KEY (consumer, event_id);

ALTER TABLE ONLY public.listings
    ADD CONSTRAINT listings_calendar_token_key UNIQUE (calendar_token);

ALTER TABLE ONLY public.listings
    ADD CONSTRAINT listings_mapped_once UNIQUE (connection_id, ota_listing_id);

ALTER TABLE ONLY public.listings
    ADD CONSTRAINT listings_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.outbox
    ADD CONSTRAINT outbox_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.relay_leases
    ADD CONSTRAINT relay_leases_pkey PRIMARY KEY (shard);

ALTER TABLE ONLY public.schema_migrations
    ADD CONSTRAINT schema_migrations_pkey PRIMARY KEY (set_name, version);

ALTER TABLE ONLY public.sync_batches
    ADD CONSTRAINT sync_batches_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.sync_operations
    ADD CONSTRAINT sync_operations_pkey PRIMARY KEY (log_id);

CREATE INDEX connections_newest ON public.connections USING btree (agency_id, created_at DESC, id DESC);

CREATE INDEX feeds_due ON public.feeds USING btree (next_poll_at);

CREATE INDEX idempotency_keys_expires_at ON public.idempotency_keys USING btree (expires_at);

CREATE INDEX inbound_revisions_newest ON public.inbound_revisions USING btree (agency_id, received_at DESC, id DESC);

CREATE INDEX inbound_revisions_of_block ON public.inbound_revisions USING btree (connection_id, block_id) WHERE (block_id IS NOT NULL);

CREATE INDEX inbound_revisions_of_connection ON public.inbound_revisions USING btree (connection_id, received_at DESC, id DESC);

CREATE INDEX inbound_revisions_troubled ON public.inbound_revisions USING btree (state, received_at) WHERE (state = ANY (ARRAY['unmapped'::text, 'parked'::text, 'unparseable'::text]));

CREATE INDEX inbound_revisions_unacknowledged ON public.inbound_revisions USING btree (received_at) WHERE ((source = 'feed'::text) AND (acknowledged_at IS NULL));

CREATE INDEX inbound_revisions_unmapped ON public.inbound_revisions USING btree (connection_id, ota_listing_id) WHERE (state = 'unmapped'::text);

CREATE INDEX inbound_revisions_waiting ON public.inbound_revisions USING btree (handed_over_at) WHERE (state = 'published'::text);

CREATE INDEX inbox_processed_at ON public.inbox USING btree (processed_at);

CREATE INDEX listings_clean ON public.listings USING btree (accepted_at) WHERE (stale_since IS NULL);

CREATE INDEX listings_due ON public.listings USING btree (closes DESC, next_attempt_at) WHERE ((stale_since IS NOT NULL) AND (calendar_token IS NULL));

CREATE INDEX listings_newest ON public.listings USING btree (connection_id, created_at DESC, id DESC);

CREATE INDEX listings_of_property ON public.listings USING btree (property_id);

CREATE INDEX listings_stale_of_connection ON public.listings USING btree (connection_id, closes DESC, next_attempt_at) WHERE (stale_since IS NOT NULL);

CREATE INDEX outbox_feed ON public.outbox USING btree (agency_id, xid, id);

CREATE INDEX outbox_unsent ON public.outbox USING btree (shard, id) WHERE (sent_at IS NULL);

CREATE INDEX sync_batches_by_status ON public.sync_batches USING btree (connection_id, batch_status, created_at DESC, id DESC);

CREATE INDEX sync_batches_newest ON public.sync_batches USING btree (connection_id, created_at DESC, id DESC);

CREATE INDEX sync_operations_newest ON public.sync_operations USING btree (connection_id, created_at DESC, log_id DESC);

CREATE INDEX sync_operations_of_batch ON public.sync_operations USING btree (batch_id, task_id, attempt DESC);

CREATE INDEX sync_operations_of_listing ON public.sync_operations USING btree (listing_id, created_at DESC);

CREATE INDEX sync_operations_of_task ON public.sync_operations USING btree (task_id, attempt);

ALTER TABLE ONLY public.calendar_nights
    ADD CONSTRAINT calendar_nights_listing_id_fkey FOREIGN KEY (listing_id) REFERENCES public.listings(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.calendars
    ADD CONSTRAINT calendars_listing_id_fkey FOREIGN KEY (listing_id) REFERENCES public.listings(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.call_budgets
    ADD CONSTRAINT call_budgets_agency_id_connection_id_fkey FOREIGN KEY (agency_id, connection_id) REFERENCES public.connections(agency_id, id);

ALTER TABLE ONLY public.erased_reservations
    ADD CONSTRAINT erased_reservations_agency_id_connection_id_fkey FOREIGN KEY (agency_id, connection_id) REFERENCES public.connections(agency_id, id);

ALTER TABLE ONLY public.feeds
    ADD CONSTRAINT feeds_agency_id_connection_id_fkey FOREIGN KEY (agency_id, connection_id) REFERENCES public.connections(agency_id, id);

ALTER TABLE ONLY public.inbound_revisions
    ADD CONSTRAINT inbound_revisions_agency_id_connection_id_fkey FOREIGN KEY (agency_id, connection_id) REFERENCES public.connections(agency_id, id);

ALTER TABLE ONLY public.listings
    ADD CONSTRAINT listings_agency_id_connection_id_fkey FOREIGN KEY (agency_id, connection_id) REFERENCES public.connections(agency_id, id);

ALTER TABLE ONLY public.sync_batches
    ADD CONSTRAINT sync_batches_agency_id_connection_id_fkey FOREIGN KEY (agency_id, connection_id) REFERENCES public.connections(agency_id, id);

ALTER TABLE ONLY public.sync_operations
    ADD CONSTRAINT sync_operations_agency_id_connection_id_fkey FOREIGN KEY (agency_id, connection_id) REFERENCES public.connections(agency_id, id);

ALTER TABLE public.calendar_nights ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.calendars ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.call_budgets ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.connections ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.erased_reservations ENABLE ROW LEVEL SECURITY;

CREATE POLICY every_agency ON public.calendar_nights TO channel_sync_system USING (true);

CREATE POLICY every_agency ON public.calendars TO channel_sync_system USING (true);

CREATE POLICY every_agency ON public.call_budgets TO channel_sync_system USING (true);

CREATE POLICY every_agency ON public.connections TO channel_sync_system USING (true);

CREATE POLICY every_agency ON public.erased_reservations TO channel_sync_system USING (true);

CREATE POLICY every_agency ON public.feeds TO channel_sync_system USING (true);

CREATE POLICY every_agency ON public.idempotency_keys TO channel_sync_system USING (true);

CREATE POLICY every_agency ON public.inbound_revisions TO channel_sync_system USING (true);

CREATE POLICY every_agency ON public.listings TO channel_sync_system USING (true);

CREATE POLICY every_agency ON public.outbox TO channel_sync_system USING (true);

CREATE POLICY every_agency ON public.sync_batches TO channel_sync_system USING (true);

CREATE POLICY every_agency ON public.sync_operations TO channel_sync_system USING (true);

ALTER TABLE public.feeds ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.idempotency_keys ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.inbound_revisions ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.listings ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.outbox ENABLE ROW LEVEL SECURITY;

CREATE POLICY own_agency ON public.calendar_nights TO channel_sync_app USING ((agency_id = ( SELECT (NULLIF(current_setting('app.agency_id'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY own_agency ON public.calendars TO channel_sync_app USING ((agency_id = ( SELECT (NULLIF(current_setting('app.agency_id'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY own_agency ON public.call_budgets TO channel_sync_app USING ((agency_id = ( SELECT (NULLIF(current_setting('app.agency_id'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY own_agency ON public.connections TO channel_sync_app USING ((agency_id = ( SELECT (NULLIF(current_setting('app.agency_id'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY own_agency ON public.erased_reservations TO channel_sync_app USING ((agency_id = ( SELECT (NULLIF(current_setting('app.agency_id'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY own_agency ON public.feeds TO channel_sync_app USING ((agency_id = ( SELECT (NULLIF(current_setting('app.agency_id'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY own_agency ON public.idempotency_keys TO channel_sync_app USING ((agency_id = (NULLIF(current_setting('app.agency_id'::text, true), ''::text))::uuid));

CREATE POLICY own_agency ON public.inbound_revisions TO channel_sync_app USING ((agency_id = ( SELECT (NULLIF(current_setting('app.agency_id'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY own_agency ON public.listings TO channel_sync_app USING ((agency_id = ( SELECT (NULLIF(current_setting('app.agency_id'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY own_agency ON public.outbox TO channel_sync_app USING ((agency_id = (NULLIF(current_setting('app.agency_id'::text, true), ''::text))::uuid));

CREATE POLICY own_agency ON public.sync_batches TO channel_sync_app USING ((agency_id = ( SELECT (NULLIF(current_setting('app.agency_id'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY own_agency ON public.sync_operations TO channel_sync_app USING ((agency_id = ( SELECT (NULLIF(current_setting('app.agency_id'::text, true), ''::text))::uuid AS "nullif")));

ALTER TABLE public.sync_batches ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.sync_operations ENABLE ROW LEVEL SECURITY;

REVOKE USAGE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO channel_sync_app;
GRANT USAGE ON SCHEMA public TO channel_sync_system;

GRANT SELECT ON TABLE public.calendar_nights TO channel_sync_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.calendar_nights TO channel_sync_system;

GRANT SELECT ON TABLE public.calendars TO channel_sync_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.calendars TO channel_sync_system;

GRANT SELECT ON TABLE public.call_budgets TO channel_sync_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.call_budgets TO channel_sync_system;

GRANT SELECT,INSERT,UPDATE ON TABLE public.connections TO channel_sync_system;
GRANT SELECT,INSERT ON TABLE public.connections TO channel_sync_app;

GRANT UPDATE(name) ON TABLE public.connections TO channel_sync_app;

GRANT UPDATE(endpoint_url) ON TABLE public.connections TO channel_sync_app;

GRANT UPDATE(sealed_secret) ON TABLE public.connections TO channel_sync_app;

GRANT UPDATE(settings) ON TABLE public.connections TO channel_sync_app;

GRANT UPDATE(enabled) ON TABLE public.connections TO channel_sync_app;

GRANT UPDATE(updated_at) ON TABLE public.connections TO channel_sync_app;

GRANT UPDATE(failures) ON TABLE public.connections TO channel_sync_app;

GRANT UPDATE(open_until) ON TABLE public.connections TO channel_sync_app;

GRANT UPDATE(deleted_at) ON TABLE public.connections TO channel_sync_app;

GRANT SELECT ON TABLE public.erased_reservations TO channel_sync_app;
GRANT SELECT,INSERT ON TABLE public.erased_reservations TO channel_sync_system;

GRANT SELECT,INSERT ON TABLE public.feeds TO channel_sync_app;
GRANT SELECT,INSERT,UPDATE ON TABLE public.feeds TO channel_sync_system;

GRANT UPDATE(next_poll_at) ON TABLE public.feeds TO channel_sync_app;

GRANT UPDATE(batch_id) ON TABLE public.feeds TO channel_sync_app;

GRANT UPDATE(task_id) ON TABLE public.feeds TO channel_sync_app;

GRANT SELECT,INSERT ON TABLE public.idempotency_keys TO channel_sync_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.idempotency_keys TO channel_sync_system;

GRANT SELECT,INSERT,UPDATE ON TABLE public.inbound_revisions TO channel_sync_system;
GRANT SELECT,INSERT,UPDATE ON TABLE public.inbound_revisions TO channel_sync_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.inbox TO channel_sync_system;

GRANT SELECT,INSERT,UPDATE ON TABLE public.listings TO channel_sync_system;
GRANT SELECT,INSERT,DELETE ON TABLE public.listings TO channel_sync_app;

GRANT UPDATE(stale_since) ON TABLE public.listings TO channel_sync_app;

GRANT UPDATE(task_id) ON TABLE public.listings TO channel_sync_app;

GRANT UPDATE(traceparent) ON TABLE public.listings TO channel_sync_app;

GRANT UPDATE(next_attempt_at) ON TABLE public.listings TO channel_sync_app;

GRANT UPDATE(pushed_version) ON TABLE public.listings TO channel_sync_app;

GRANT UPDATE(last_accepted) ON TABLE public.listings TO channel_sync_app;

GRANT UPDATE(closes) ON TABLE public.listings TO channel_sync_app;

GRANT UPDATE(markup_percent) ON TABLE public.listings TO channel_sync_app;

GRANT UPDATE(close_out) ON TABLE public.listings TO channel_sync_app;

GRANT UPDATE(min_stay) ON TABLE public.listings TO channel_sync_app;

GRANT UPDATE(max_nights_sold) ON TABLE public.listings TO channel_sync_app;

GRANT UPDATE(batch_id) ON TABLE public.listings TO channel_sync_app;

GRANT UPDATE(asked_for) ON TABLE public.listings TO channel_sync_app;

GRANT UPDATE(asks) ON TABLE public.listings TO channel_sync_app;

GRANT SELECT,INSERT ON TABLE public.outbox TO channel_sync_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.outbox TO channel_sync_system;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.relay_leases TO channel_sync_system;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.sync_batches TO channel_sync_system;
GRANT SELECT,INSERT,DELETE ON TABLE public.sync_batches TO channel_sync_app;

GRANT UPDATE(batch_status) ON TABLE public.sync_batches TO channel_sync_app;

GRANT UPDATE(updated_at) ON TABLE public.sync_batches TO channel_sync_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.sync_operations TO channel_sync_system;
GRANT SELECT,INSERT,DELETE ON TABLE public.sync_operations TO channel_sync_app;
