-- One way to put a table under row security, for every migration that adds one with an agency_id.

CREATE FUNCTION protect_tenant_table(tenant_table text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', tenant_table);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', tenant_table);
    EXECUTE format('CREATE POLICY own_agency ON %I TO {{app}} '
                   'USING (agency_id = (SELECT nullif(current_setting(''app.agency_id'', true), '''')::uuid))',
                   tenant_table);
    EXECUTE format('CREATE POLICY every_agency ON %I TO {{system}} USING (true)', tenant_table);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE ON %I TO {{app}}, {{system}}', tenant_table);
END $$;
REVOKE ALL ON FUNCTION protect_tenant_table FROM PUBLIC;
