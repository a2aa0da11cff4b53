-- The auditor's memory and findings, and the archive of past ranges. {{app}} is the API's role, {{system}} the workers'.

CREATE TABLE audit_cursor (
    is_only          boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    owner            text,
    lease_expires_at timestamptz,
    outbox_id        bigint NOT NULL DEFAULT 0,
    topic_offsets    jsonb NOT NULL DEFAULT '{}',
    cycle_property   uuid,
    cycles           bigint NOT NULL DEFAULT 0,
    cycled_at        timestamptz
);
COMMENT ON TABLE audit_cursor IS 'How far the auditor has come, so that a restart continues; one auditor works at a time.';
COMMENT ON COLUMN audit_cursor.topic_offsets IS 'Per partition the offset whose record and all after it are still to be read.';
INSERT INTO audit_cursor DEFAULT VALUES;

CREATE TABLE audit_positions (
    property_id    uuid PRIMARY KEY,
    agency_id      uuid NOT NULL,
    floor_version  bigint NOT NULL DEFAULT 0,
    outbox_version bigint NOT NULL DEFAULT 0,
    topic_version  bigint DEFAULT 0
);
COMMENT ON TABLE audit_positions IS 'The last version of each property the auditor saw in the outbox and on the topic.';
COMMENT ON COLUMN audit_positions.floor_version IS 'Up to here nothing is audited: before a restore, or before there was an auditor.';
COMMENT ON COLUMN audit_positions.topic_version IS 'Null when topic records were lost unread: the next one counts as consecutive.';
INSERT INTO audit_positions (property_id, agency_id, floor_version)
SELECT property_id, agency_id, inventory_version FROM inventory_versions;

CREATE TABLE audit_findings (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    fingerprint  text NOT NULL,
    invariant    text NOT NULL,
    kind         text NOT NULL,
    agency_id    uuid,
    property_id  uuid,
    detail       jsonb NOT NULL,
    found_at     timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL,
    resolved_at  timestamptz
);
COMMENT ON TABLE audit_findings IS 'What the auditor found wrong; overlaps resolve themselves, the rest is resolved by hand.';
CREATE UNIQUE INDEX audit_findings_open ON audit_findings (fingerprint) WHERE resolved_at IS NULL;

CREATE TABLE inventory_ranges_archive (
    LIKE inventory_ranges INCLUDING CONSTRAINTS,
    archived_at timestamptz NOT NULL,
    PRIMARY KEY (id)
);
COMMENT ON TABLE inventory_ranges_archive IS 'Ranges of the past that nobody decides by any more, moved out of the constrained table.';
CREATE INDEX inventory_ranges_archive_of_property ON inventory_ranges_archive (property_id, occupied);

-- Findings and positions are the operators': no agency reads them. The archive is read only.
SELECT protect_tenant_table('audit_positions');
SELECT protect_tenant_table('audit_findings');
SELECT protect_tenant_table('inventory_ranges_archive');
REVOKE ALL ON audit_positions, audit_findings FROM {{app}};
REVOKE INSERT, UPDATE ON inventory_ranges_archive FROM {{app}};
GRANT SELECT, UPDATE ON audit_cursor TO {{system}};
GRANT DELETE ON inventory_ranges TO {{system}};

CREATE INDEX inventory_ranges_ended ON inventory_ranges (state, upper(occupied));
CREATE INDEX outbox_quarantined ON outbox (key) WHERE quarantined IS NOT NULL;
