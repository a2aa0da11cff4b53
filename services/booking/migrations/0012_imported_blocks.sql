-- Blocks that channels' calendars tell of: they are facts like OTA reservations, and wait for nights that were sold.

ALTER TABLE blocks
    ADD COLUMN connection_id uuid,
    ADD COLUMN ota_name text,
    ADD COLUMN ota_reservation_code text,
    ADD COLUMN waiting boolean NOT NULL DEFAULT false,
    ADD CHECK (active OR NOT waiting);
COMMENT ON COLUMN blocks.waiting IS 'Other nights are in the way; an open conflict says which.';
CREATE UNIQUE INDEX blocks_ota_code ON blocks (connection_id, ota_reservation_code, property_id)
    WHERE connection_id IS NOT NULL;

ALTER TABLE conflicts
    ALTER COLUMN reservation_id DROP NOT NULL,
    ADD COLUMN block_id uuid REFERENCES blocks,
    ADD CONSTRAINT conflicts_of_one CHECK (num_nonnulls(reservation_id, block_id) = 1);

ALTER TABLE channel_revisions ADD COLUMN block_id uuid;

CREATE OR REPLACE FUNCTION write_block(v_row jsonb, v_version bigint, v_now timestamptz) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO blocks
    SELECT made.* FROM jsonb_populate_record(NULL::blocks,
        jsonb_build_object('created_at', v_now, 'waiting', false) || v_row
        || jsonb_build_object('inventory_version', v_version, 'updated_at', v_now)) AS made
    ON CONFLICT (id) DO UPDATE SET
        start_date = excluded.start_date, end_date = excluded.end_date, reason = excluded.reason,
        active = excluded.active, waiting = excluded.waiting, inventory_version = v_version, updated_at = v_now;
$$;
