-- A prototype for one comparison: the write_changes of several requests as one statement and one commit. All locks first
-- and sorted, each request in a subtransaction of its own, so that a refused one leaves the others standing.
CREATE FUNCTION bench_write_group(requests jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_request jsonb;
    v_answers jsonb[] := '{}';
    v_detail  text;
BEGIN
    PERFORM pg_advisory_xact_lock(sorted.lock_key)
    FROM (SELECT DISTINCT property_lock_key((change->>'property_id')::uuid) AS lock_key
          FROM jsonb_array_elements(requests) AS request, jsonb_array_elements(request->'changes') AS change
          ORDER BY 1) AS sorted;
    FOR v_request IN SELECT * FROM jsonb_array_elements(requests)
    LOOP
        BEGIN
            v_answers := v_answers || write_changes(v_request);
        EXCEPTION WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS v_detail = PG_EXCEPTION_DETAIL;
            v_answers := v_answers || jsonb_build_object('refused', SQLSTATE, 'message', SQLERRM, 'detail', v_detail);
        END;
    END LOOP;
    RETURN to_jsonb(v_answers);
END $$;
