/**
 * What both sides of a slice need to agree on an owner: the gate's word, fences, progress, evidence, decisions.
 * The same text enters legacy and every service database; docs/flip.md numbers its invariants.
 */

import { LOCK_CLASS, quote } from '../postgres/sql.ts'

export interface Roles {
  /** The only role that the gates let through; used by no application. */
  readonly apply: string
  /** Reads the change stream and copies rows. */
  readonly capture: string
}

export const TABLES = `
CREATE TABLE banyan.slice (
  name text PRIMARY KEY,
  number int NOT NULL UNIQUE
);
COMMENT ON TABLE banyan.slice IS 'slices whose gates stand in this database';

CREATE TABLE banyan.relation (
  slice text NOT NULL REFERENCES banyan.slice ON DELETE CASCADE,
  relation text NOT NULL,
  PRIMARY KEY (slice, relation)
);
COMMENT ON TABLE banyan.relation IS 'the tables of each slice, as schema.table';

CREATE TABLE banyan.fence (
  slice text NOT NULL,
  epoch bigint NOT NULL,
  id uuid NOT NULL,
  taken_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  deadline timestamptz NOT NULL,
  legacy_identifier text NOT NULL,
  legacy_timeline int NOT NULL,
  service_identifier text NOT NULL,
  service_timeline int NOT NULL,
  PRIMARY KEY (slice, epoch)
);
COMMENT ON TABLE banyan.fence IS 'FENCED: after this row commits no write of the slice can; published, so it is the marker in the change stream';

CREATE TABLE banyan.progress (
  stream text PRIMARY KEY,
  epoch bigint NOT NULL DEFAULT 0,
  worker uuid NOT NULL,
  position pg_lsn NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE banyan.progress IS 'what each stream into this database has made durable; published: the first change of an applied transaction, so it marks it';

CREATE TABLE banyan.evidence (
  slice text NOT NULL,
  epoch bigint NOT NULL,
  kind text NOT NULL CHECK (kind IN ('REACHED', 'COMPARED', 'PREPARED', 'ABANDONED', 'COPIED')),
  position pg_lsn,
  detail jsonb NOT NULL DEFAULT '{}',
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (slice, epoch, kind)
);
COMMENT ON TABLE banyan.evidence IS 'what this database has proved about an epoch; evidence for itself alone';

CREATE TABLE banyan.decision (
  slice text NOT NULL,
  epoch bigint NOT NULL,
  verdict text NOT NULL CHECK (verdict IN ('PROMOTED', 'ABORTED')),
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (slice, epoch)
);

CREATE TABLE banyan.fingerprint (
  slice text NOT NULL REFERENCES banyan.slice ON DELETE CASCADE,
  object text NOT NULL,
  state text NOT NULL,
  PRIMARY KEY (slice, object)
);
COMMENT ON TABLE banyan.fingerprint IS 'what the slice''s tables, gates and publication looked like when it was last known good';
`

/** `setval` of a word stands in `fence`, `set_gate` and `close_gate` alone: a bare one breaks "one owner". */
export const FUNCTIONS = `
CREATE FUNCTION banyan.number_of(slice_name text) RETURNS int
LANGUAGE plpgsql STABLE SET search_path = '' AS $$
DECLARE n int;
BEGIN
  SELECT s.number INTO n FROM banyan.slice s WHERE s.name = slice_name;
  IF n IS NULL THEN
    RAISE EXCEPTION 'slice "%" has no gate here', slice_name USING ERRCODE = 'BNY02';
  END IF;
  RETURN n;
END $$;

CREATE FUNCTION banyan.word_of(n int) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = '' AS $$
DECLARE w bigint;
BEGIN
  EXECUTE pg_catalog.format('SELECT last_value FROM banyan.gate_%s', n) INTO w;
  RETURN w;
END $$;

CREATE FUNCTION banyan.this_system(OUT identifier text, OUT timeline int)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = '' AS $$
  SELECT (SELECT c.system_identifier::text FROM pg_catalog.pg_control_system() c),
         ('x' || pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int
$$;

-- A relation as it is on record, schema.name, whatever its letters.
CREATE FUNCTION banyan.relid(relation text) RETURNS regclass
LANGUAGE sql STABLE SET search_path = '' AS $$
  SELECT pg_catalog.to_regclass(pg_catalog.format('%I.%I', pg_catalog.split_part(relation, '.', 1), pg_catalog.split_part(relation, '.', 2)))
$$;

CREATE FUNCTION banyan.read_fingerprint(slice_name text) RETURNS TABLE (object text, state text)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = '' AS $$
  WITH RECURSIVE listed AS (
    SELECT r.relation, banyan.relid(r.relation)::oid AS relid
    FROM banyan.relation r WHERE r.slice = slice_name
  ), family AS (
    SELECT relid FROM listed WHERE relid IS NOT NULL
    UNION
    SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN family f ON i.inhparent = f.relid
  ), member AS (
    SELECT c.oid, c.relfilenode, c.relkind, n.nspname || '.' || c.relname AS name
    FROM family f JOIN pg_catalog.pg_class c ON c.oid = f.relid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  )
  SELECT 'database', s.identifier || ' timeline ' || s.timeline FROM banyan.this_system() s
  UNION ALL SELECT 'table ' || relation, 'missing' FROM listed WHERE relid IS NULL
  UNION ALL SELECT 'table ' || m.name, pg_catalog.format('oid %s file %s', m.oid, m.relfilenode) FROM member m
  UNION ALL SELECT 'columns of ' || m.name, pg_catalog.string_agg(
      a.attname || ' ' || pg_catalog.format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum)
    FROM member m JOIN pg_catalog.pg_attribute a ON a.attrelid = m.oid AND a.attnum > 0 AND NOT a.attisdropped
    GROUP BY m.name
  UNION ALL SELECT 'gate on ' || m.name, CASE WHEN t.oid IS NULL THEN 'missing' ELSE pg_catalog.format('oid %s xmin %s enabled %s', t.oid, t.xmin, t.tgenabled) END
    FROM member m LEFT JOIN pg_catalog.pg_trigger t ON t.tgrelid = m.oid AND t.tgname = 'banyan_gate'
  UNION ALL SELECT 'gate function', pg_catalog.md5(p.prosrc) || ' ' || p.prosecdef
    FROM banyan.slice s JOIN pg_catalog.pg_proc p
      ON p.proname = 'gate_' || s.number AND p.pronamespace = 'banyan'::pg_catalog.regnamespace
    WHERE s.name = slice_name
  UNION ALL SELECT 'publication of ' || m.name, pg_catalog.string_agg(pr.oid::text, ' ' ORDER BY pr.oid)
    FROM member m JOIN pg_catalog.pg_publication_rel pr ON pr.prrelid = m.oid
    JOIN pg_catalog.pg_publication p ON p.oid = pr.prpubid AND p.pubname = 'banyan_' || slice_name
    GROUP BY m.name
$$;

CREATE FUNCTION banyan.accept_fingerprint(slice_name text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = '' AS $$
BEGIN
  DELETE FROM banyan.fingerprint f WHERE f.slice = slice_name;
  INSERT INTO banyan.fingerprint SELECT slice_name, f.object, f.state FROM banyan.read_fingerprint(slice_name) f;
END $$;

CREATE FUNCTION banyan.fingerprint_difference(slice_name text) RETURNS text
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = '' AS $$
  SELECT pg_catalog.format('%s: was %s, is %s', object, was, now) FROM (
    SELECT pg_catalog.max(object) AS object, pg_catalog.max(was) AS was, pg_catalog.max(now) AS now FROM (
      SELECT f.object, f.state AS was, NULL AS now FROM banyan.fingerprint f WHERE f.slice = slice_name
      UNION ALL SELECT r.object, NULL, r.state FROM banyan.read_fingerprint(slice_name) r
    ) both_sides GROUP BY object
  ) d WHERE was IS DISTINCT FROM now ORDER BY object LIMIT 1
$$;

-- Who has written to the slice's tables in a transaction that is still open. Sessions that wait at the gate hold the
-- same table lock, but they have written nothing: they will be refused.
CREATE FUNCTION banyan.writers_of(slice_name text, apply_role name)
  RETURNS TABLE (pid int, about text, since timestamptz)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = '' AS $$
  WITH RECURSIVE family AS (
    SELECT banyan.relid(r.relation)::oid AS relid FROM banyan.relation r WHERE r.slice = slice_name
    UNION
    SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN family f ON i.inhparent = f.relid
  )
  SELECT DISTINCT l.pid, CASE WHEN l.pid IS NULL THEN 'prepared transaction ' || l.virtualtransaction
    ELSE pg_catalog.format('pid %s, %s as %s, transaction open for %s: %s', l.pid, a.application_name, a.usename,
      pg_catalog.date_trunc('milliseconds', pg_catalog.clock_timestamp() - a.xact_start), pg_catalog.left(a.query, 80)) END, a.xact_start
  FROM family f
  JOIN pg_catalog.pg_locks l ON l.relation = f.relid
    AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
  LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
  WHERE l.mode = 'RowExclusiveLock' AND l.granted
    AND a.usename IS DISTINCT FROM apply_role
    AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
    AND NOT EXISTS (
      SELECT 1 FROM pg_catalog.pg_locks w
      WHERE w.pid = l.pid AND w.locktype = 'advisory' AND NOT w.granted
        AND w.classid = ${LOCK_CLASS} AND w.objid = banyan.number_of(slice_name)::oid)
$$;

CREATE FUNCTION banyan.fence(
  slice_name text, e bigint, fence_id uuid, until timestamptz,
  legacy_system text, legacy_line int, service_system text, service_line int
) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = '' AS $$
DECLARE
  n int := banyan.number_of(slice_name);
  w bigint;
  what text;
BEGIN
  PERFORM pg_catalog.pg_advisory_xact_lock(${LOCK_CLASS}, n);
  w := banyan.word_of(n);
  -- In an epoch that is decided there is nothing to fence: nobody could open it again.
  IF w % 2 = 0 OR w >= 2 * e OR EXISTS (
    SELECT 1 FROM banyan.evidence v WHERE v.slice = slice_name AND v.epoch >= e AND v.kind = 'ABANDONED') THEN
    RAISE EXCEPTION 'the gate word of "%" is %, no fence of epoch %', slice_name, w, e USING ERRCODE = 'BNY02';
  END IF;
  what := banyan.fingerprint_difference(slice_name);
  IF what IS NOT NULL THEN
    RAISE EXCEPTION '%', what USING ERRCODE = 'BNY03';
  END IF;
  -- A session between its table lock and the gate looks like a writer for some microseconds: look again before believing it.
  FOR attempt IN 1..5 LOOP
    SELECT pg_catalog.string_agg(wr.about, '; ') INTO what FROM banyan.writers_of(slice_name, session_user) wr;
    EXIT WHEN what IS NULL;
    PERFORM pg_catalog.pg_sleep(0.002);
  END LOOP;
  IF what IS NOT NULL THEN
    RAISE EXCEPTION '%', what USING ERRCODE = 'BNY04';
  END IF;
  INSERT INTO banyan.fence (slice, epoch, id, deadline, legacy_identifier, legacy_timeline, service_identifier, service_timeline)
  VALUES (slice_name, e, fence_id, until, legacy_system, legacy_line, service_system, service_line);
  -- Invariant: the word closes last. A row without a closed word can't exist; a closed word without its row is a fence that died.
  PERFORM pg_catalog.setval(pg_catalog.format('banyan.gate_%s', n)::pg_catalog.regclass, 2 * e);
END $$;

CREATE FUNCTION banyan.set_gate(slice_name text, e bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = '' AS $$
DECLARE
  n int := banyan.number_of(slice_name);
  w bigint;
BEGIN
  PERFORM pg_catalog.pg_advisory_xact_lock(${LOCK_CLASS}, n);
  w := banyan.word_of(n);
  IF w = 2 * e + 1 THEN
    RETURN;
  ELSIF w > 2 * e + 1 THEN
    RAISE EXCEPTION 'the gate word of "%" is % already', slice_name, w USING ERRCODE = 'BNY02';
  ELSIF w % 2 = 0 AND w = 2 * e THEN
    -- This side was fenced in e: it opens again only once nobody can promote the other any more.
    IF NOT EXISTS (SELECT 1 FROM banyan.decision d WHERE d.slice = slice_name AND d.epoch = e AND d.verdict = 'ABORTED') THEN
      RAISE EXCEPTION 'epoch % of "%" is not aborted', e, slice_name USING ERRCODE = 'BNY05';
    END IF;
  ELSIF w % 2 = 0 THEN
    -- This side is the new owner in e. ABANDONED is written in legacy alone (migrations/legacy/abandon.ts).
    IF NOT EXISTS (SELECT 1 FROM banyan.decision d WHERE d.slice = slice_name AND d.epoch = e AND d.verdict = 'PROMOTED')
      OR NOT EXISTS (SELECT 1 FROM banyan.evidence v WHERE v.slice = slice_name AND v.epoch = e AND v.kind IN ('PREPARED', 'ABANDONED')) THEN
      RAISE EXCEPTION 'epoch % of "%" is not promoted and prepared here', e, slice_name USING ERRCODE = 'BNY05';
    END IF;
  END IF;
  PERFORM pg_catalog.setval(pg_catalog.format('banyan.gate_%s', n)::pg_catalog.regclass, 2 * e + 1);
END $$;

CREATE FUNCTION banyan.sequences_of(slice_name text)
RETURNS TABLE (relation text, attribute text, sequence text, last_value bigint, type_max bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = '' AS $$
DECLARE found record;
BEGIN
  FOR found IN
    -- Those that a column owns, and those that its default draws from.
    SELECT r.relation AS rel, a.attname::text AS att, pg_catalog.format('%I.%I', sn.nspname, sc.relname) AS seq,
      CASE a.atttypid WHEN 21 THEN 32767 WHEN 23 THEN 2147483647 ELSE 9223372036854775807 END AS top
    FROM banyan.relation r JOIN pg_catalog.pg_class c ON c.oid = banyan.relid(r.relation)
    JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    CROSS JOIN LATERAL (
      SELECT d.objid AS oid FROM pg_catalog.pg_depend d
      WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refclassid = d.classid
        AND d.refobjid = c.oid AND d.refobjsubid = a.attnum AND d.deptype IN ('a', 'i')
      UNION
      SELECT d.refobjid FROM pg_catalog.pg_attrdef e JOIN pg_catalog.pg_depend d
        ON d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND d.objid = e.oid
        AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
      WHERE e.adrelid = c.oid AND e.adnum = a.attnum
    ) u
    JOIN pg_catalog.pg_class sc ON sc.oid = u.oid AND sc.relkind = 'S'
    JOIN pg_catalog.pg_namespace sn ON sn.oid = sc.relnamespace
    WHERE r.slice = slice_name
  LOOP
    relation := found.rel;
    attribute := found.att;
    sequence := found.seq;
    type_max := found.top;
    EXECUTE pg_catalog.format('SELECT last_value FROM %s', found.seq) INTO last_value;
    RETURN NEXT;
  END LOOP;
END $$;

-- Never backwards, and past all that is known of both sides.
CREATE FUNCTION banyan.move_sequences(sequences jsonb, headroom bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = '' AS $$
DECLARE
  s jsonb;
  here bigint;
  highest bigint;
  wanted bigint;
  ceiling bigint;
BEGIN
  FOR s IN SELECT * FROM pg_catalog.jsonb_array_elements(sequences) LOOP
    EXECUTE pg_catalog.format('SELECT last_value FROM %s', (s->>'sequence')::pg_catalog.regclass) INTO here;
    -- Of a column that holds no plain numbers, only what was drawn is known.
    highest := NULL;
    IF EXISTS (SELECT 1 FROM pg_catalog.pg_attribute a WHERE a.attrelid = banyan.relid(s->>'table')
      AND a.attname = s->>'column' AND a.atttypid IN (20, 21, 23)) THEN
      EXECUTE pg_catalog.format('SELECT pg_catalog.max(%I) FROM %s', s->>'column', banyan.relid(s->>'table')) INTO highest;
    END IF;
    SELECT q.seqmax INTO ceiling FROM pg_catalog.pg_sequence q WHERE q.seqrelid = (s->>'sequence')::pg_catalog.regclass;
    ceiling := LEAST(ceiling, (s->>'typeMax')::bigint);
    wanted := GREATEST(here, COALESCE(highest, 0), (s->>'other')::bigint) + headroom;
    IF wanted > ceiling - ceiling / 10 THEN
      RAISE EXCEPTION 'sequence % would stand at % of %', s->>'sequence', wanted, ceiling USING ERRCODE = 'BNY09';
    END IF;
    PERFORM pg_catalog.setval((s->>'sequence')::pg_catalog.regclass, wanted);
  END LOOP;
END $$;

CREATE FUNCTION banyan.prepare(slice_name text, e bigint, stream_name text, sequences jsonb, headroom bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = '' AS $$
DECLARE
  n int := banyan.number_of(slice_name);
  marker pg_lsn;
BEGIN
  -- Under the lock: of two that prepare at once, the second finds it done. ABANDONED owns from a position of its own.
  PERFORM pg_catalog.pg_advisory_xact_lock(${LOCK_CLASS}, n);
  IF EXISTS (SELECT 1 FROM banyan.evidence v WHERE v.slice = slice_name AND v.epoch = e AND v.kind IN ('PREPARED', 'ABANDONED')) THEN
    RETURN;
  END IF;
  -- A way back that was begun before the service was given up ends with it.
  IF EXISTS (SELECT 1 FROM banyan.evidence v WHERE v.slice = slice_name AND v.epoch > e AND v.kind = 'ABANDONED') THEN
    RAISE EXCEPTION 'the service of "%" was given up after epoch %', slice_name, e USING ERRCODE = 'BNY05';
  END IF;
  SELECT v.position INTO marker FROM banyan.evidence v WHERE v.slice = slice_name AND v.epoch = e AND v.kind = 'REACHED';
  IF marker IS NULL THEN
    RAISE EXCEPTION 'the stream has not reached the fence % of "%"', e, slice_name USING ERRCODE = 'BNY05';
  END IF;
  UPDATE banyan.progress p SET epoch = e, updated_at = pg_catalog.clock_timestamp()
  WHERE p.stream = stream_name AND p.position = marker AND p.epoch < e;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'the stream "%" is not at the fence %', stream_name, e USING ERRCODE = 'BNY08';
  END IF;
  PERFORM banyan.move_sequences(sequences, headroom);
  -- What commits here after this position, and only that, is a write of the new owner.
  INSERT INTO banyan.evidence (slice, epoch, kind, position, detail) VALUES (slice_name, e, 'PREPARED', marker,
    pg_catalog.jsonb_build_object('ownsAfter', pg_catalog.pg_current_wal_insert_lsn()));
END $$;
`

/** Only in legacy: the point of no return, for both directions. */
export const DECIDE = `
CREATE FUNCTION banyan.decide(slice_name text, e bigint, wanted text) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = '' AS $$
DECLARE
  found text;
  until timestamptz;
  identifier text;
  line int;
  here record;
BEGIN
  SELECT d.verdict INTO found FROM banyan.decision d WHERE d.slice = slice_name AND d.epoch = e;
  IF found IS NOT NULL THEN
    RETURN found;
  END IF;
  -- Forward the fence is here; on the way back its copy came with the stream.
  SELECT f.deadline, f.legacy_identifier, f.legacy_timeline INTO until, identifier, line
  FROM banyan.fence f WHERE f.slice = slice_name AND f.epoch = e;
  IF until IS NULL THEN
    SELECT (v.detail->>'deadline')::timestamptz, v.detail->>'legacy_identifier', (v.detail->>'legacy_timeline')::int
    INTO until, identifier, line
    FROM banyan.evidence v WHERE v.slice = slice_name AND v.epoch = e AND v.kind = 'REACHED';
    IF wanted = 'PROMOTED' AND NOT EXISTS (
      SELECT 1 FROM banyan.evidence v WHERE v.slice = slice_name AND v.epoch = e AND v.kind = 'PREPARED') THEN
      RAISE EXCEPTION 'epoch % of "%" is not prepared here', e, slice_name USING ERRCODE = 'BNY05';
    END IF;
  END IF;
  IF wanted = 'PROMOTED' AND EXISTS (
    SELECT 1 FROM banyan.evidence v WHERE v.slice = slice_name AND v.epoch > e AND v.kind = 'ABANDONED') THEN
    RAISE EXCEPTION 'the service of "%" was given up after epoch %', slice_name, e USING ERRCODE = 'BNY05';
  END IF;
  IF wanted = 'PROMOTED' AND until IS NULL THEN
    RAISE EXCEPTION 'epoch % of "%" has no fence', e, slice_name USING ERRCODE = 'BNY05';
  END IF;
  IF until IS NOT NULL THEN
    SELECT * INTO here FROM banyan.this_system();
    IF here.identifier <> identifier OR here.timeline <> line THEN
      RAISE EXCEPTION 'this is system % timeline %, the fence was taken with % timeline %',
        here.identifier, here.timeline, identifier, line USING ERRCODE = 'BNY07';
    END IF;
  END IF;
  IF wanted = 'PROMOTED' AND until <= pg_catalog.clock_timestamp() THEN
    RAISE EXCEPTION 'the deadline of epoch % of "%" passed at %', e, slice_name, until USING ERRCODE = 'BNY06';
  END IF;
  INSERT INTO banyan.decision (slice, epoch, verdict) VALUES (slice_name, e, wanted) ON CONFLICT DO NOTHING;
  SELECT d.verdict INTO found FROM banyan.decision d WHERE d.slice = slice_name AND d.epoch = e;
  RETURN found;
END $$;
`

/** What Banyan's roles may do in the schema; everybody else nothing. `copy`: this database holds copies of decisions. */
export function grants(roles: Roles, decisions: 'decide' | 'copy'): string {
  const [apply, capture] = [quote(roles.apply), quote(roles.capture)]
  const decide =
    decisions === 'decide'
      ? `REVOKE ALL ON FUNCTION banyan.decide FROM PUBLIC; GRANT EXECUTE ON FUNCTION banyan.decide TO ${apply};`
      : `GRANT INSERT ON banyan.decision TO ${apply};`
  return `
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA banyan FROM PUBLIC;
GRANT USAGE ON SCHEMA banyan TO ${apply}, ${capture};
GRANT SELECT ON ALL TABLES IN SCHEMA banyan TO ${apply}, ${capture};
GRANT INSERT, UPDATE, DELETE ON banyan.progress TO ${apply};
GRANT INSERT ON banyan.evidence TO ${apply};
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA banyan TO ${apply};
${decide}
`
}
