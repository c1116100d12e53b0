/** Puts up the gate of a slice in one database: sequence, trigger on each table, publication. */
import type pg from 'pg'
import type { Side } from '../model/stage.ts'
import { CENSUS_PUBLICATION, COPIES } from '../model/stream.ts'
import { updatable } from './catalog-queries.ts'
import { literal, LOCK_CLASS, quote, quoteRelation } from './sql.ts'

/** Of the gate of read copies, in every service's database. */
const COPIES_NUMBER = 0

export interface GateSpec {
  readonly slice: string
  /** The second key of the slice's advisory lock and the name of its sequence; the same on both sides. */
  readonly number: number
  /** A gate in legacy begins open, one in a service closed. */
  readonly side: Side
  /** `schema.table`, each that can receive a row; their partitions and children are found here. */
  readonly relations: readonly string[]
  readonly applyRole: string
  /** Where a refused writer should go, for the hint. */
  readonly goTo: string
  /** Undefined: nothing is published (read copies have no stream out of the service). */
  readonly publication: string | undefined
}

/**
 * Puts up the gates and the publication; running it again completes what is missing. Takes short locks on each table
 * (lock_timeout is the caller's). `setup`: member of the tables' owner.
 */
export async function installGate(setup: pg.ClientBase, wanted: GateSpec): Promise<void> {
  // Whose gates stand already keeps its number: the one that is wanted may be another slice's here.
  const { rows } = await setup.query<{ number: number }>(
    `INSERT INTO banyan.slice AS s (name, number) VALUES ($1, $2)
     ON CONFLICT (name) DO UPDATE SET number = s.number RETURNING number`,
    [wanted.slice, wanted.number],
  )
  const spec = { ...wanted, number: rows[0]!.number }
  const n = spec.number
  await setup.query(
    'INSERT INTO banyan.relation (slice, relation) SELECT $1, unnest($2::text[]) ON CONFLICT DO NOTHING',
    [spec.slice, spec.relations],
  )
  const apply = quote(spec.applyRole)
  await setup.query(`
    CREATE SEQUENCE IF NOT EXISTS banyan.gate_${n} MINVALUE 0 START ${spec.side === 'legacy' ? 1 : 0};
    CREATE SEQUENCE IF NOT EXISTS banyan.refused_${n} MINVALUE 0 START 0;
    CREATE SEQUENCE IF NOT EXISTS banyan.census_${n} MINVALUE 0 START 0;
    GRANT SELECT ON SEQUENCE banyan.gate_${n}, banyan.refused_${n} TO ${apply};
    GRANT SELECT, UPDATE ON SEQUENCE banyan.census_${n} TO ${apply}`)
  await installFunction(setup, spec)
  for (const relation of await family(setup, spec.relations)) {
    await setup.query(`DO $$ BEGIN
      IF NOT EXISTS (SELECT 1 FROM pg_catalog.pg_trigger
        WHERE tgrelid = ${literal(relation)}::regclass AND tgname = 'banyan_gate') THEN
        CREATE TRIGGER banyan_gate BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON ${relation}
          FOR EACH STATEMENT EXECUTE FUNCTION banyan.gate_${n}();
        ALTER TABLE ${relation} ENABLE ALWAYS TRIGGER banyan_gate;
      END IF; END $$`)
  }
  if (spec.publication !== undefined) await publish(setup, spec.publication, spec.relations)
}

/** The gate of read copies: closed for everybody but the apply role, always. */
export async function gateCopies(
  setup: pg.ClientBase,
  relations: readonly string[],
  applyRole: string,
): Promise<void> {
  await installGate(setup, {
    slice: COPIES,
    number: COPIES_NUMBER,
    side: 'service',
    relations,
    applyRole,
    goTo: 'its owner: this is a read copy',
    publication: undefined,
  })
}

/** Makes a publication of these tables and of the protocol's own, or adds what is missing. Never takes a table out of one. */
export async function publish(
  setup: pg.ClientBase,
  publication: string,
  relations: readonly string[],
): Promise<void> {
  const wanted = [...relations, 'banyan.fence', 'banyan.progress']
  const { rows } = await setup.query<{ member: string | null }>(
    `SELECT t.schemaname || '.' || t.tablename AS member FROM pg_catalog.pg_publication p
     LEFT JOIN pg_catalog.pg_publication_tables t USING (pubname) WHERE p.pubname = $1`,
    [publication],
  )
  const members = new Set(rows.map(row => row.member))
  const missing = wanted.filter(relation => !members.has(relation)).map(quoteRelation)
  if (rows.length === 0) {
    await setup.query(
      `CREATE PUBLICATION ${quote(publication)} FOR TABLE ${missing.join(', ')} WITH (publish_via_partition_root = true)`,
    )
  } else if (missing.length > 0) {
    await setup.query(`ALTER PUBLICATION ${quote(publication)} ADD TABLE ${missing.join(', ')}`)
  }
}

/** Migrations write these, never together with a slice's tables. */
const BOOKKEEPING = ['knex_migrations', 'knex_migrations_lock']

/**
 * Publishes, one by one, every table whose updates pass all the same, so that a stream may see what is written together.
 * Not our own schema, nor the records that migrations keep of themselves.
 */
export async function publishCensus(setup: pg.ClientBase): Promise<void> {
  const { rows } = await setup.query<{ relation: string }>(
    `SELECT format('%I.%I', n.nspname, c.relname) AS relation FROM pg_catalog.pg_class c
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND NOT c.relispartition AND ${updatable('c')}
       AND n.nspname NOT IN ('banyan', 'pg_catalog', 'information_schema') AND pg_has_role(c.relowner, 'USAGE')
       AND c.relname <> ALL ($2)
       AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_publication_rel r JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid
         WHERE p.pubname = $1 AND r.prrelid = c.oid) ORDER BY 1`,
    [CENSUS_PUBLICATION, BOOKKEEPING],
  )
  // ONLY: an heir has no key of its own.
  const tables = rows.map(row => `ONLY ${row.relation}`).join(', ')
  const there = await setup.query('SELECT 1 FROM pg_catalog.pg_publication WHERE pubname = $1', [
    CENSUS_PUBLICATION,
  ])
  if (there.rowCount === 0) await setup.query(`CREATE PUBLICATION ${CENSUS_PUBLICATION}`)
  if (tables !== '')
    await setup.query(`ALTER PUBLICATION ${CENSUS_PUBLICATION} ADD TABLE ${tables}`)
}

async function installFunction(setup: pg.ClientBase, spec: GateSpec): Promise<void> {
  const name = `gate_${spec.number}`
  const body = gateBody(spec)
  const { rows } = await setup.query<{ prosrc: string }>(
    `SELECT prosrc FROM pg_catalog.pg_proc WHERE proname = $1 AND pronamespace = 'banyan'::regnamespace`,
    [name],
  )
  if (rows[0]?.prosrc === body) return
  await setup.query(
    `CREATE OR REPLACE FUNCTION banyan.${name}() RETURNS trigger
     LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $gate$${body}$gate$`,
  )
  await setup.query(`REVOKE ALL ON FUNCTION banyan.${name}() FROM PUBLIC`)
}

/** The tables themselves, their partitions and their inheritance children: each can be written by its own name. */
async function family(setup: pg.ClientBase, relations: readonly string[]): Promise<string[]> {
  const { rows } = await setup.query<{ relation: string }>(
    `WITH RECURSIVE f AS (
       SELECT r::regclass::oid AS oid FROM unnest($1::text[]) r
       UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN f ON i.inhparent = f.oid)
     SELECT format('%I.%I', n.nspname, c.relname) AS relation FROM f
     JOIN pg_catalog.pg_class c USING (oid) JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace ORDER BY 1`,
    [relations.map(quoteRelation)],
  )
  return rows.map(row => row.relation)
}

/**
 * Invariant: the shared lock first, the word second. A sequence ignores snapshots, so an old REPEATABLE READ transaction
 * reads today's word; the lock lasts until the transaction ends, so a fence waits for it.
 */
function gateBody(spec: GateSpec): string {
  const n = spec.number
  const slice = literal(spec.slice)
  const hint = `slice "${spec.slice}" is written at ${spec.goTo}; nothing was stored, send it there`
  return `
DECLARE word bigint;
BEGIN
  IF session_user = ${literal(spec.applyRole)} THEN RETURN NULL; END IF;
  PERFORM pg_catalog.pg_advisory_xact_lock_shared(${LOCK_CLASS}, ${n});
  SELECT last_value INTO word FROM banyan.gate_${n};
  IF word % 2 = 1 THEN
    -- One message for each transaction, however many statements it sends.
    IF (SELECT last_value FROM banyan.census_${n}) % 2 = 1
      AND pg_catalog.current_setting('banyan.told_${n}', true) IS DISTINCT FROM 'yes' THEN
      PERFORM pg_catalog.set_config('banyan.told_${n}', 'yes', true);
      PERFORM pg_catalog.pg_logical_emit_message(true, 'banyan.writer', pg_catalog.json_build_object(
        'slice', ${slice}, 'role', session_user,
        'application', pg_catalog.current_setting('application_name'))::text);
    END IF;
    RETURN NULL;
  END IF;
  PERFORM pg_catalog.nextval('banyan.refused_${n}');
  PERFORM pg_catalog.pg_logical_emit_message(false, 'banyan.refused', pg_catalog.json_build_object(
    'slice', ${slice}, 'operation', TG_OP, 'table', TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME,
    'role', session_user, 'application', pg_catalog.current_setting('application_name'),
    'at', pg_catalog.clock_timestamp())::text);
  RAISE EXCEPTION 'table % is not written here: slice % has another owner', TG_TABLE_NAME, ${slice}
    USING ERRCODE = 'BNY01', HINT = ${literal(hint)};
END `
}
