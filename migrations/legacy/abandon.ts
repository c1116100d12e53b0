/** The way back without the service: legacy takes a slice's tables although the stream hasn't brought all of its writes. */
import { LOCK_CLASS } from '../../postgres/sql.ts'

/**
 * Only in legacy, only for a person's word. It writes the decision and its own kind of evidence; the word is raised by
 * `set_gate` in a statement of its own, as after every decision: a setval outlives the rollback of its transaction, and
 * legacy must never be open in an epoch that nobody has decided.
 */
export const ABANDON = `
CREATE FUNCTION banyan.abandon(
  slice_name text, e bigint, stream_name text, sequences jsonb, headroom bigint, said jsonb
) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = '' AS $$
DECLARE
  n int := banyan.number_of(slice_name);
  w bigint;
  found text;
  latest bigint;
  ours boolean;
  at pg_lsn;
BEGIN
  PERFORM pg_catalog.pg_advisory_xact_lock(${LOCK_CLASS}, n);
  SELECT d.verdict INTO found FROM banyan.decision d WHERE d.slice = slice_name AND d.epoch = e;
  IF found = 'ABORTED' THEN
    RETURN found;
  ELSIF found IS NOT NULL THEN
    IF NOT EXISTS (SELECT 1 FROM banyan.evidence v WHERE v.slice = slice_name AND v.epoch = e AND v.kind = 'ABANDONED') THEN
      RAISE EXCEPTION 'epoch % of "%" was promoted by a flip', e, slice_name USING ERRCODE = 'BNY05';
    END IF;
    RETURN found;
  END IF;
  -- The service owns, or an earlier abandonment does, whose epoch the old database turned out to be past.
  SELECT d.epoch, NOT EXISTS (SELECT 1 FROM banyan.fence f WHERE f.slice = d.slice AND f.epoch = d.epoch) INTO latest, ours
  FROM banyan.decision d WHERE d.slice = slice_name AND d.verdict = 'PROMOTED' ORDER BY d.epoch DESC LIMIT 1;
  IF latest IS NULL OR ours AND NOT EXISTS (
    SELECT 1 FROM banyan.evidence v WHERE v.slice = slice_name AND v.epoch = latest AND v.kind = 'ABANDONED') THEN
    RAISE EXCEPTION 'legacy owns "%" already', slice_name USING ERRCODE = 'BNY02';
  END IF;
  w := banyan.word_of(n);
  IF w >= 2 * e OR latest >= e OR (w % 2 = 1 AND NOT ours) THEN
    RAISE EXCEPTION 'the gate word of "%" is %, no abandonment in epoch %', slice_name, w, e USING ERRCODE = 'BNY02';
  END IF;
  -- Whatever was begun is settled first: it could still be promoted.
  SELECT pg_catalog.string_agg(o.epoch::text, ', ') INTO found FROM (
    SELECT f.epoch FROM banyan.fence f WHERE f.slice = slice_name
    UNION SELECT v.epoch FROM banyan.evidence v WHERE v.slice = slice_name AND (v.epoch <> e OR v.kind = 'PREPARED')
  ) o WHERE NOT EXISTS (SELECT 1 FROM banyan.decision d WHERE d.slice = slice_name AND d.epoch = o.epoch);
  IF found IS NOT NULL THEN
    RAISE EXCEPTION 'epoch % of "%" is not settled', found, slice_name USING ERRCODE = 'BNY05';
  END IF;
  SELECT s.identifier || ' timeline ' || s.timeline INTO found FROM banyan.this_system() s;
  IF NOT EXISTS (SELECT 1 FROM banyan.fingerprint f WHERE f.slice = slice_name AND f.object = 'database' AND f.state = found) THEN
    RAISE EXCEPTION 'this is system %, not the one on record', found USING ERRCODE = 'BNY07';
  END IF;
  -- Invariant: whoever applied the reverse stream until now is a zombie from here on. What it has in flight ends first.
  UPDATE banyan.progress p SET worker = pg_catalog.gen_random_uuid(), updated_at = pg_catalog.clock_timestamp()
  WHERE p.stream = stream_name RETURNING p.position INTO at;
  PERFORM banyan.move_sequences(sequences, headroom);
  INSERT INTO banyan.evidence (slice, epoch, kind, position, detail) VALUES (slice_name, e, 'ABANDONED', at,
    said || pg_catalog.jsonb_build_object('ownsAfter', pg_catalog.pg_current_wal_insert_lsn()));
  INSERT INTO banyan.decision (slice, epoch, verdict) VALUES (slice_name, e, 'PROMOTED');
  RETURN 'PROMOTED';
END $$;
`

/** Only in legacy, only for a person's word: `decide` accepts no verdict for a fence that another server took. */
export const ABORT_AFTER_RESTORE = `
CREATE FUNCTION banyan.abort_after_restore(slice_name text, e bigint) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = '' AS $$
DECLARE
  here text;
  found text;
BEGIN
  SELECT s.identifier || ' timeline ' || s.timeline INTO here FROM banyan.this_system() s;
  IF NOT EXISTS (SELECT 1 FROM banyan.fingerprint f WHERE f.slice = slice_name AND f.object = 'database' AND f.state = here) THEN
    RAISE EXCEPTION 'nobody has accepted system %', here USING ERRCODE = 'BNY07';
  END IF;
  INSERT INTO banyan.decision (slice, epoch, verdict) VALUES (slice_name, e, 'ABORTED') ON CONFLICT DO NOTHING;
  SELECT d.verdict INTO found FROM banyan.decision d WHERE d.slice = slice_name AND d.epoch = e;
  RETURN found;
END $$;
`
