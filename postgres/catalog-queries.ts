/** The one statement that reads all facts about tables, in parts. */

const COLUMN_TYPE = `
  SELECT t.oid, t.typtype, t.typname, t.typnamespace, t.typbasetype, t.typelem, t.typcategory
  FROM pg_catalog.pg_type t`

/** Column type → the type below its domains and arrays. */
const BASES = `
  types(column_type, oid, typtype, typname, typnamespace, typbasetype, typelem, typcategory) AS (
    SELECT t.oid, t.* FROM (${COLUMN_TYPE}) t
    WHERE t.oid IN (SELECT a.atttypid FROM pg_catalog.pg_attribute a JOIN wanted w ON w.oid = a.attrelid)
    UNION ALL
    SELECT s.column_type, t.* FROM types s JOIN (${COLUMN_TYPE}) t
      ON t.oid = CASE WHEN s.typtype = 'd' THEN s.typbasetype
                      WHEN s.typcategory = 'A' AND s.typelem <> 0 THEN s.typelem END
  ), bases AS (
    SELECT s.column_type, json_build_object(
      'name', CASE WHEN n.nspname = 'pg_catalog' THEN '' ELSE n.nspname || '.' END || s.typname,
      'kind', CASE s.typtype WHEN 'b' THEN 'base' WHEN 'c' THEN 'composite' WHEN 'e' THEN 'enum'
        WHEN 'r' THEN 'range' WHEN 'm' THEN 'multirange' ELSE 'pseudo' END,
      'labels', ARRAY(SELECT e.enumlabel FROM pg_catalog.pg_enum e WHERE e.enumtypid = s.oid ORDER BY e.enumsortorder)
    ) AS base
    FROM types s JOIN pg_catalog.pg_namespace n ON n.oid = s.typnamespace
    WHERE s.typtype <> 'd' AND NOT (s.typcategory = 'A' AND s.typelem <> 0)
  )`

const COLUMNS = `ARRAY(SELECT json_build_object(
    'name', a.attname, 'type', pg_catalog.format_type(a.atttypid, a.atttypmod), 'typeOid', a.atttypid::bigint,
    'base', b.base, 'notNull', a.attnotnull,
    'default', CASE WHEN a.attgenerated = '' THEN pg_catalog.pg_get_expr(d.adbin, d.adrelid) END,
    'generated', CASE a.attgenerated WHEN 's' THEN 'stored' WHEN 'v' THEN 'virtual' END,
    'identity', CASE a.attidentity WHEN 'a' THEN 'always' WHEN 'd' THEN 'default' END)
  FROM pg_catalog.pg_attribute a LEFT JOIN bases b ON b.column_type = a.atttypid
  LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  WHERE a.attrelid = w.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum)`

const KEYS = `ARRAY(SELECT json_build_object(
    'name', x.relname, 'columns', k.columns, 'primary', i.indisprimary, 'identity', i.indisreplident,
    'usable', i.indimmediate AND i.indisvalid AND i.indpred IS NULL AND k.not_null)
  FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
  CROSS JOIN LATERAL (
    SELECT pg_catalog.array_agg(a.attname ORDER BY u.n) AS columns, pg_catalog.bool_and(a.attnotnull) AS not_null
    FROM pg_catalog.unnest(i.indkey) WITH ORDINALITY u(attnum, n)
    JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = u.attnum
    WHERE u.n <= i.indnkeyatts) k
  WHERE i.indrelid = w.oid AND i.indisunique AND i.indexprs IS NULL
  ORDER BY i.indisprimary DESC, x.relname)`

function action(column: string): string {
  return `CASE ${column} WHEN 'a' THEN 'no action' WHEN 'r' THEN 'restrict' WHEN 'c' THEN 'cascade'
    WHEN 'n' THEN 'set null' WHEN 'd' THEN 'set default' END`
}

function names(relation: string, numbers: string): string {
  return `ARRAY(SELECT a.attname FROM pg_catalog.unnest(${numbers}) WITH ORDINALITY u(attnum, n)
    JOIN pg_catalog.pg_attribute a ON a.attrelid = ${relation} AND a.attnum = u.attnum ORDER BY u.n)`
}

// A partition's copy of its parent's key is left out, and so is the copy that points at each partition.
function foreignKeys(end: 'conrelid' | 'confrelid'): string {
  return `ARRAY(SELECT json_build_object(
      'name', c.conname, 'table', ${nameOf('c.conrelid')}, 'columns', ${names('c.conrelid', 'c.conkey')},
      'parent', ${nameOf('c.confrelid')}, 'parentColumns', ${names('c.confrelid', 'c.confkey')},
      'onDelete', ${action('c.confdeltype')}, 'onUpdate', ${action('c.confupdtype')},
      'validated', c.convalidated, 'deferrable', c.condeferrable)
    FROM pg_catalog.pg_constraint c WHERE c.contype = 'f' AND c.conparentid = 0 AND c.${end} = w.oid
    ORDER BY ${nameOf('c.conrelid')}, c.conname)`
}

function nameOf(relation: string): string {
  return `(SELECT n.nspname || '.' || r.relname FROM pg_catalog.pg_class r
    JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace WHERE r.oid = ${relation})`
}

function kind(relkind: string): string {
  return `CASE ${relkind} WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitioned' WHEN 'f' THEN 'foreign'
    WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' ELSE 'other' END`
}

// https://github.com/postgres/postgres/blob/master/src/include/catalog/pg_trigger.h: the bits of tgtype
const TRIGGERS = `ARRAY(SELECT json_build_object(
    'name', t.tgname, 'function', fn.nspname || '.' || f.proname,
    'when', CASE WHEN t.tgtype & 2 <> 0 THEN 'before' WHEN t.tgtype & 64 <> 0 THEN 'instead of' ELSE 'after' END,
    'each', CASE WHEN t.tgtype & 1 <> 0 THEN 'row' ELSE 'statement' END,
    'events', pg_catalog.array_remove(ARRAY[CASE WHEN t.tgtype & 4 <> 0 THEN 'insert' END,
      CASE WHEN t.tgtype & 16 <> 0 THEN 'update' END, CASE WHEN t.tgtype & 8 <> 0 THEN 'delete' END,
      CASE WHEN t.tgtype & 32 <> 0 THEN 'truncate' END], NULL),
    'enabled', CASE t.tgenabled WHEN 'O' THEN 'origin' WHEN 'R' THEN 'replica' WHEN 'A' THEN 'always' ELSE 'disabled' END)
  FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc f ON f.oid = t.tgfoid
  JOIN pg_catalog.pg_namespace fn ON fn.oid = f.pronamespace
  WHERE t.tgrelid = w.oid AND NOT t.tgisinternal AND fn.nspname <> 'banyan' ORDER BY t.tgname)`

const RULES = `ARRAY(SELECT json_build_object('name', r.rulename,
    'event', CASE r.ev_type WHEN '2' THEN 'update' WHEN '3' THEN 'insert' ELSE 'delete' END)
  FROM pg_catalog.pg_rewrite r WHERE r.ev_class = w.oid AND r.ev_type IN ('2', '3', '4') ORDER BY r.rulename)`

const SEQUENCES = `ARRAY(SELECT json_build_object(
    'name', ${nameOf('s.seqrelid')}, 'column', a.attname, 'owned', pg_catalog.bool_or(u.owned),
    'type', pg_catalog.format_type(s.seqtypid, NULL),
    'lastValue', CASE WHEN pg_catalog.has_sequence_privilege(s.seqrelid, 'SELECT, USAGE')
      THEN pg_catalog.pg_sequence_last_value(s.seqrelid)::text END,
    'increment', s.seqincrement::text, 'min', s.seqmin::text, 'max', s.seqmax::text, 'cycle', s.seqcycle)
  FROM (
    SELECT d.objid AS sequence, d.refobjsubid AS attnum, true AS owned FROM pg_catalog.pg_depend d
    WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass
      AND d.refobjid = w.oid AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
    UNION ALL
    SELECT d.refobjid, e.adnum, false FROM pg_catalog.pg_attrdef e JOIN pg_catalog.pg_depend d
      ON d.classid = 'pg_catalog.pg_attrdef'::regclass AND d.objid = e.oid
      AND d.refclassid = 'pg_catalog.pg_class'::regclass
    WHERE e.adrelid = w.oid
  ) u
  JOIN pg_catalog.pg_sequence s ON s.seqrelid = u.sequence
  JOIN pg_catalog.pg_attribute a ON a.attrelid = w.oid AND a.attnum = u.attnum
  GROUP BY s.seqrelid, a.attname, a.attnum, s.seqtypid, s.seqincrement, s.seqmin, s.seqmax, s.seqcycle
  ORDER BY a.attnum, 1::text)`

// By their defaults; a partition draws in its root's name.
const DRAWN_FROM = `ARRAY(SELECT json_build_object('sequence', ${nameOf('d.refobjid')},
    'tables', pg_catalog.array_agg(DISTINCT ${nameOf('coalesce(pg_catalog.pg_partition_root(e.adrelid), e.adrelid)')}))
  FROM pg_catalog.pg_attrdef e JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_attrdef'::regclass
    AND d.objid = e.oid AND d.refclassid = 'pg_catalog.pg_class'::regclass
  JOIN pg_catalog.pg_sequence q ON q.seqrelid = d.refobjid
  GROUP BY d.refobjid HAVING pg_catalog.bool_or(e.adrelid = w.oid)
  ORDER BY ${nameOf('d.refobjid')})`

const LEAVES = `ARRAY(SELECT json_build_object('name', ${nameOf('p.relid')}, 'kind', ${kind('r.relkind')})
  FROM pg_catalog.pg_partition_tree(w.oid) p JOIN pg_catalog.pg_class r ON r.oid = p.relid
  WHERE c.relkind = 'p' AND p.isleaf AND p.relid <> w.oid ORDER BY p.relid)`

function inherits(from: 'inhrelid' | 'inhparent', to: 'inhrelid' | 'inhparent'): string {
  return `ARRAY(SELECT ${nameOf(`i.${to}`)} FROM pg_catalog.pg_inherits i
    JOIN pg_catalog.pg_class k ON k.oid = i.inhrelid AND NOT k.relispartition
    WHERE i.${from} = w.oid ORDER BY 1)`
}

const PUBLICATIONS = `ARRAY(SELECT t.pubname FROM pg_catalog.pg_publication_tables t
  WHERE t.schemaname || '.' || t.tablename = w.name ORDER BY t.pubname)`

const SUBSCRIPTIONS = `ARRAY(SELECT s.subname FROM pg_catalog.pg_subscription_rel r
  JOIN pg_catalog.pg_subscription s ON s.oid = r.srsubid WHERE r.srrelid = w.oid ORDER BY s.subname)`

function may(privilege: string): string {
  return `'${privilege}', pg_catalog.has_table_privilege(w.oid, '${privilege}')`
}

/**
 * SQL: whether the application's UPDATE of the table `c` (a row of pg_class) passes once the table is published. The
 * server asks for a replica identity that is sent: a key that is valid and immediate, or the whole row, and without
 * generated columns (CheckCmdReplicaIdentity; PostgreSQL 18 refuses those, older ones leave them out).
 */
export function updatable(c: string): string {
  const generated = (also: string) => `EXISTS (SELECT FROM pg_catalog.pg_attribute g
    WHERE g.attrelid = ${c}.oid AND g.attgenerated <> '' AND NOT g.attisdropped ${also})`
  return `(CASE ${c}.relreplident WHEN 'f' THEN NOT ${generated('')}
    ELSE EXISTS (SELECT FROM pg_catalog.pg_index x
      WHERE x.indrelid = ${c}.oid AND x.indisvalid AND x.indimmediate
        AND CASE ${c}.relreplident WHEN 'd' THEN x.indisprimary WHEN 'i' THEN x.indisreplident ELSE false END
        AND NOT ${generated('AND g.attnum = ANY (x.indkey)')}) END)`
}

// Of a partitioned table the partition that holds the row is asked.
const FROZEN = `ARRAY(SELECT ${nameOf('f.oid')} FROM pg_catalog.pg_class f
  WHERE f.relkind = 'r' AND NOT ${updatable('f')} AND (f.oid = w.oid OR c.relkind = 'p' AND f.oid IN
    (SELECT p.relid FROM pg_catalog.pg_partition_tree(w.oid) p)) ORDER BY f.oid)`

/** $1: names as `schema.table`. One row, `facts`: a JSON array (as text) of what postgres/catalog.ts calls TableFacts. */
export const CATALOG = `
WITH RECURSIVE wanted AS MATERIALIZED (
  SELECT c.oid, n.nspname || '.' || c.relname AS name
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname || '.' || c.relname = ANY ($1::text[])
    AND c.relkind IN ('r', 'p', 'f', 'v', 'm')
), ${BASES}
SELECT pg_catalog.json_agg(json_build_object(
  'name', w.name, 'oid', w.oid::bigint, 'relfilenode', c.relfilenode::bigint, 'kind', ${kind('c.relkind')},
  'persistence', CASE c.relpersistence WHEN 'p' THEN 'permanent' WHEN 'u' THEN 'unlogged' ELSE 'temporary' END,
  'bytes', coalesce(pg_catalog.pg_relation_size(w.oid), 0), 'rows', nullif(c.reltuples, -1)::bigint,
  'partitionOf', CASE WHEN c.relispartition THEN
    ${nameOf('(SELECT i.inhparent FROM pg_catalog.pg_inherits i WHERE i.inhrelid = w.oid)')} END,
  'leaves', ${LEAVES},
  'inheritsFrom', ${inherits('inhrelid', 'inhparent')}, 'inheritedBy', ${inherits('inhparent', 'inhrelid')},
  'replicaIdentity', CASE c.relreplident WHEN 'd' THEN 'default' WHEN 'i' THEN 'index' WHEN 'f' THEN 'full' ELSE 'nothing' END,
  'frozen', ${FROZEN},
  'rowSecurity', c.relrowsecurity, 'rowSecurityForced', c.relforcerowsecurity,
  'columns', ${COLUMNS}, 'keys', ${KEYS},
  'foreignKeys', ${foreignKeys('conrelid')}, 'referencedBy', ${foreignKeys('confrelid')},
  'triggers', ${TRIGGERS}, 'rules', ${RULES}, 'sequences', ${SEQUENCES}, 'drawnFrom', ${DRAWN_FROM},
  'publications', ${PUBLICATIONS}, 'subscriptions', ${SUBSCRIPTIONS},
  'may', json_build_object(${['select', 'insert', 'update', 'delete', 'truncate'].map(may).join(', ')})
) ORDER BY w.name)::text AS facts
FROM wanted w JOIN pg_catalog.pg_class c ON c.oid = w.oid`
