-- Reservations of channels whose guest was erased: nothing that names the guest is kept of them again.
-- {{app}} is the API's role, {{system}} that of cross-agency workers.

CREATE TABLE erased_reservations (
    agency_id            uuid NOT NULL,
    connection_id        uuid NOT NULL,
    ota_reservation_code text NOT NULL,
    erased_at            timestamptz NOT NULL,
    PRIMARY KEY (connection_id, ota_reservation_code),
    FOREIGN KEY (agency_id, connection_id) REFERENCES connections (agency_id, id)
);
COMMENT ON TABLE erased_reservations IS 'Later revisions of these are kept and handed over without their guest.';
ALTER TABLE erased_reservations ENABLE ROW LEVEL SECURITY;
ALTER TABLE erased_reservations FORCE ROW LEVEL SECURITY;
CREATE POLICY own_agency ON erased_reservations TO {{app}}
    USING (agency_id = (SELECT nullif(current_setting('app.agency_id', true), '')::uuid));
CREATE POLICY every_agency ON erased_reservations TO {{system}} USING (true);
GRANT SELECT ON erased_reservations TO {{app}};
GRANT SELECT, INSERT ON erased_reservations TO {{system}};
