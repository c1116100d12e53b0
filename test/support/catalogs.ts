/** All that a database's catalogs say, as lines that two moments can be compared by: what somebody has left behind shows. */
import { query } from './cluster.ts'

/** Null and what it stands for are the same: a grant that was taken back leaves the latter. */
const acl = (column: string, kind: string, owner: string) =>
  `(SELECT coalesce(string_agg(a::text, ' ' ORDER BY a::text), '') FROM unnest(coalesce(${column}, acldefault('${kind}', ${owner}))) a)`
const SYSTEM = `('pg_catalog', 'information_schema', 'pg_toast')`

/** By name, never by number: objects that come back have other numbers. */
const PARTS: readonly string[] = [
  `SELECT 'schema ' || nspname || ' of ' || nspowner::regrole || ' ' || ${acl('nspacl', 'n', 'nspowner')} FROM pg_namespace
   WHERE nspname !~ '^pg_(toast_)?temp'`,
  `SELECT concat_ws(' ', 'relation', c.oid::regclass, c.relkind, 'of', c.relowner::regrole, c.relpersistence, c.relreplident, c.reloptions,
     c.relrowsecurity, CASE WHEN c.relkind IN ('r', 'p', 'v', 'm', 'f') THEN ${acl('c.relacl', 'r', 'c.relowner')}
       WHEN c.relkind = 'S' THEN ${acl('c.relacl', 's', 'c.relowner')} END)
   FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname NOT IN ${SYSTEM}`,
  `SELECT concat_ws(' ', 'column', a.attrelid::regclass, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attacl)
   FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
   WHERE a.attnum > 0 AND n.nspname NOT IN ${SYSTEM}`,
  `SELECT 'default ' || adrelid::regclass || ' ' || adnum || ' ' || pg_get_expr(adbin, adrelid) FROM pg_attrdef`,
  `SELECT concat_ws(' ', 'function', p.oid::regprocedure, 'of', p.proowner::regrole, md5(p.prosrc), p.prosecdef, ${acl('p.proacl', 'f', 'p.proowner')})
   FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname NOT IN ${SYSTEM}`,
  `SELECT concat_ws(' ', 'type', t.oid::regtype, t.typtype, 'of', t.typowner::regrole) FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
   WHERE n.nspname NOT IN ${SYSTEM}`,
  `SELECT concat_ws(' ', 'trigger', regexp_replace(tgname, '[0-9]{4,}', '…'), 'on', tgrelid::regclass, tgenabled, tgisinternal) FROM pg_trigger`,
  `SELECT concat_ws(' ', 'constraint', conname, 'on', conrelid::regclass, pg_get_constraintdef(oid), convalidated) FROM pg_constraint
   WHERE connamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname IN ${SYSTEM})`,
  `SELECT concat_ws(' ', 'index', pg_get_indexdef(indexrelid), indisvalid, indisreplident) FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
   JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname NOT IN ${SYSTEM}`,
  `SELECT concat_ws(' ', 'rule', rulename, 'on', ev_class::regclass, ev_enabled) FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class
   JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname NOT IN ${SYSTEM}`,
  `SELECT concat_ws(' ', 'sequence', seqrelid::regclass, seqtypid::regtype, seqstart, seqincrement, seqmax, seqmin, seqcache, seqcycle) FROM pg_sequence`,
  `SELECT concat_ws(' ', 'policy', polname, 'on', polrelid::regclass) FROM pg_policy`,
  `SELECT concat_ws(' ', 'publication', pubname, 'of', pubowner::regrole) FROM pg_publication`,
  `SELECT concat_ws(' ', 'published', p.pubname, r.prrelid::regclass) FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid`,
  `SELECT concat_ws(' ', 'subscription', subname) FROM pg_subscription`,
  `SELECT concat_ws(' ', 'slot', slot_name, plugin) FROM pg_replication_slots`,
  `SELECT concat_ws(' ', 'replication origin', roname) FROM pg_replication_origin`,
  `SELECT concat_ws(' ', 'prepared transaction', gid) FROM pg_prepared_xacts`,
  `SELECT concat_ws(' ', 'event trigger', evtname, evtenabled) FROM pg_event_trigger`,
  `SELECT concat_ws(' ', 'extension', extname) FROM pg_extension`,
  `SELECT concat_ws(' ', 'statistics', stxname, 'on', stxrelid::regclass) FROM pg_statistic_ext`,
  `SELECT concat_ws(' ', 'foreign server', srvname) FROM pg_foreign_server`,
  `SELECT concat_ws(' ', 'large object', oid) FROM pg_largeobject_metadata`,
  `SELECT concat_ws(' ', 'default privileges of', defaclrole::regrole, 'in', defaclnamespace::regnamespace, defaclobjtype, defaclacl) FROM pg_default_acl`,
  `SELECT concat_ws(' ', 'comment', classoid::regclass, description) FROM pg_description WHERE objoid >= 16384`,
  `SELECT concat_ws(' ', 'role', rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls) FROM pg_roles`,
  `SELECT concat_ws(' ', 'membership', roleid::regrole, member::regrole, admin_option) FROM pg_auth_members`,
  `SELECT concat_ws(' ', 'database', datname, 'of', datdba::regrole, ${acl('datacl', 'd', 'datdba')}) FROM pg_database`,
  `SELECT concat_ws(' ', 'setting', setdatabase, setrole, setconfig) FROM pg_db_role_setting`,
  // What a role has anywhere, also where it isn't looked for by name.
  `SELECT concat_ws(' ', 'dependence', s.classid::regclass, s.refobjid::regrole, s.deptype, count(*)) FROM pg_shdepend s
   WHERE s.refclassid = 'pg_authid'::regclass AND s.dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
   AND (s.deptype <> 'a' OR s.refobjid::regrole::text ~ 'banyan') GROUP BY s.classid, s.refobjid, s.deptype`,
]
const SINCE_15 = [`SELECT concat_ws(' ', 'parameter', parname, paracl) FROM pg_parameter_acl`]

/** Sorted. `url`: a superuser's. */
export async function catalogsOf(url: string): Promise<string[]> {
  const [row] = await query<{ version: number }>(
    url,
    `SELECT current_setting('server_version_num')::int AS version`,
  )
  const parts = (row?.version ?? 0) >= 150_000 ? [...PARTS, ...SINCE_15] : PARTS
  const all = parts.map(part => `(${part})`).join('\nUNION ALL\n')
  const rows = await query<{ line: string }>(url, `SELECT * FROM (${all}) x (line)`)
  return rows.map(each => each.line).sort()
}
