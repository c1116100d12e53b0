/** The end of a service database that was given up, or that comes back from a backup: closed, whatever it believes itself. */
import { LOCK_CLASS } from '../../postgres/sql.ts'

/**
 * Only in a service: closes the gate in an epoch in which legacy was promoted, read there by the caller. It asks neither
 * fingerprint nor who writes: closing is always safe, and open writers are waited for by the lock. The fence row marks
 * the place in the change stream; it is decided before it is there, so nothing reopens by it.
 */
export const CLOSE = `
CREATE FUNCTION banyan.close_gate(slice_name text, e bigint, legacy_system text, legacy_line int) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = '' AS $$
DECLARE
  n int := banyan.number_of(slice_name);
  w bigint;
BEGIN
  PERFORM pg_catalog.pg_advisory_xact_lock(${LOCK_CLASS}, n);
  w := banyan.word_of(n);
  IF w > 2 * e THEN
    RAISE EXCEPTION 'the gate word of "%" is % already', slice_name, w USING ERRCODE = 'BNY02';
  END IF;
  INSERT INTO banyan.decision (slice, epoch, verdict) VALUES (slice_name, e, 'PROMOTED') ON CONFLICT DO NOTHING;
  INSERT INTO banyan.fence (slice, epoch, id, deadline, legacy_identifier, legacy_timeline, service_identifier, service_timeline)
  SELECT slice_name, e, pg_catalog.gen_random_uuid(), pg_catalog.clock_timestamp(), legacy_system, legacy_line, s.identifier, s.timeline
  FROM banyan.this_system() s ON CONFLICT DO NOTHING;
  -- As in a fence the word closes last; a closed word without its row is closed again.
  PERFORM pg_catalog.setval(pg_catalog.format('banyan.gate_%s', n)::pg_catalog.regclass, 2 * e);
END $$;
`
