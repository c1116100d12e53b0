/** The gates of a slice as `banyan doctor` sees them: whether they stand, what changed under them, and who is open. */
import type pg from 'pg'
import { BanyanError } from '../model/errors.ts'
import { ABANDON_ERRORS } from '../model/errors-abandon.ts'
import { CONTROL_ERRORS } from '../model/errors-control.ts'
import { PROTOCOL_ERRORS } from '../model/errors-protocol.ts'
import { type Side, type Stage, STAGES } from '../model/stage.ts'
import { COPIES } from '../model/stream.ts'
import { unqualified } from '../model/wiring.ts'
import { type GateState, readGate, shortDifference } from '../postgres/gate.ts'
import { quoteRelation } from '../postgres/sql.ts'
import { type Check, check, problem, unknown } from './doctor-checks.ts'
import { asProblem, type SideSeen } from './doctor-side.ts'

/** An object that isn't as it was when the slice was last known good; null: it wasn't, or isn't, there. */
export interface Changed {
  readonly object: string
  readonly was: string | null
  readonly now: string | null
}

export interface GateSeen {
  readonly state: GateState
  /** `schema.table`, as the gate was put up for. */
  readonly relations: readonly string[]
  /** Undefined: nothing is recorded yet, since the first copy isn't complete. */
  readonly changed: readonly Changed[] | undefined
  /** Null where the service has no read copies. */
  readonly copies: GateState | null | undefined
}

export interface GateLook {
  readonly checks: readonly Check[]
  readonly gate: GateSeen | undefined
}

/** `stage`: undefined where the control database couldn't be asked. */
export async function lookAtGate(
  slice: string,
  stage: Stage | undefined,
  { wanted, sessions }: SideSeen,
): Promise<GateLook> {
  const { name } = wanted
  const moving = stage !== undefined && STAGES[stage].stream !== 'off'
  // Only apply and setup may read the fingerprint.
  const client = sessions.apply ?? sessions.setup
  if (!client) return { gate: undefined, checks: unknown(name, QUESTIONS) }
  try {
    const gate = await readGateOf(client, slice, wanted)
    // At rest, legacy may change its tables as it likes: the next copy begins with what is there then.
    if (!moving) return { gate: gate && { ...gate, changed: undefined }, checks: [] }
    const missing = missingGates(slice, gate, wanted)
    const checks = [check(name, 'gates', missing.map(problem))]
    if (gate?.changed) checks.push(check(name, 'unchanged', changedProblems(slice, name, gate)))
    else checks.push(...unknown(name, [['unchanged', []]]))
    return { gate, checks }
  } catch (error) {
    const failed = check(name, 'gates', [asProblem(error, wanted.urls)])
    return { gate: undefined, checks: [failed] }
  }
}

const QUESTIONS = [
  ['gates', []],
  ['unchanged', []],
] as const

async function readGateOf(
  client: pg.Client,
  slice: string,
  { side, copies }: SideSeen['wanted'],
): Promise<GateSeen | undefined> {
  const there = await client.query<{ there: boolean }>(
    `SELECT pg_catalog.to_regclass('banyan.slice') IS NOT NULL AS there`,
  )
  if (!there.rows[0]?.there) return undefined
  const state = await readGate(client, slice)
  if (!state) return undefined
  const { rows } = await client.query<{ relation: string }>(
    'SELECT relation FROM banyan.relation WHERE slice = $1 ORDER BY 1',
    [slice],
  )
  const hasCopies = side === 'service' && copies.length > 0
  return {
    state,
    relations: rows.map(row => row.relation),
    changed: await readChanged(client, slice),
    copies: hasCopies ? await readGate(client, COPIES) : null,
  }
}

/** Every object that differs, not only the first that a fence would name. Undefined where nothing is recorded. */
async function readChanged(client: pg.Client, slice: string): Promise<Changed[] | undefined> {
  const recorded = await client.query('SELECT 1 FROM banyan.fingerprint WHERE slice = $1 LIMIT 1', [
    slice,
  ])
  if (recorded.rowCount === 0) return undefined
  const { rows } = await client.query<Changed>(
    `SELECT object, f.state AS was, r.state AS now
     FROM (SELECT object, state FROM banyan.fingerprint WHERE slice = $1) f
     FULL JOIN banyan.read_fingerprint($1) r USING (object)
     WHERE f.state IS DISTINCT FROM r.state ORDER BY object`,
    [slice],
  )
  return rows
}

function missingGates(
  slice: string,
  gate: GateSeen | undefined,
  { name, tables }: SideSeen['wanted'],
): BanyanError[] {
  const again = `take it back to legacy, then forward again: banyan back ${slice} legacy`
  const missing = (what: string) =>
    new BanyanError(CONTROL_ERRORS.GATE_MISSING, [name, what, again])
  if (!gate) return [missing(`no gate of "${slice}" is there: nothing refuses a write`)]
  const found = tables
    .filter(table => !gate.relations.includes(table))
    .map(table => missing(`${unqualified(table)} came into the slice's file after its gates`))
  if (gate.copies === undefined) found.push(missing('no gate protects the read copies'))
  return found
}

function changedProblems(slice: string, name: string, gate: GateSeen) {
  return (gate.changed ?? []).map(changed => {
    const remedy = remedyOf(slice, changed, gate.state.number)
    const text = changedText(changed)
    if (remedy !== undefined) {
      return problem(new BanyanError(CONTROL_ERRORS.GATE_MISSING, [name, text, remedy]))
    }
    if (changed.object === 'database') {
      const details = [name, changed.was ?? '?', changed.now ?? '?', slice]
      return problem(new BanyanError(ABANDON_ERRORS.DATABASE_CHANGED, details))
    }
    const { code } = PROTOCOL_ERRORS.FINGERPRINT
    const hint = `nobody but you can say whether that was right; if it was: banyan doctor ${slice} --accept`
    return { code, message: `${name}: ${text}`, hint }
  })
}

/** `columns of public.visits: + note text` */
export function changedText({ object, was, now }: Changed): string {
  return shortDifference(`${object}: was ${was ?? 'not there'}, is ${now ?? 'not there'}`)
}

/**
 * How to put back what nobody can accept: without it a write would pass, or a change would not be seen. Undefined for a
 * change that may be right.
 */
export function remedyOf(
  slice: string,
  { object, now }: Changed,
  number: number,
): string | undefined {
  const [, kind = '', relation = ''] = /^(table|gate on|publication of) (.*)$/.exec(object) ?? []
  const table = relation === '' ? '' : quoteRelation(relation)
  if (kind === 'table' && now === 'missing') {
    return `put ${relation} back, or take the slice back to legacy and begin again: banyan back ${slice} legacy`
  }
  if (kind === 'gate on' && now !== null && !now.endsWith('enabled A')) {
    const enable = `ALTER TABLE ${table} ENABLE ALWAYS TRIGGER banyan_gate`
    if (now !== 'missing') return `there, as setup: ${enable}`
    return (
      'there, as setup: CREATE TRIGGER banyan_gate BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ' +
      `ON ${table} FOR EACH STATEMENT EXECUTE FUNCTION banyan.gate_${number}(); ${enable}`
    )
  }
  if (kind === 'publication of' && now === null) {
    return `there, as setup: ALTER PUBLICATION "banyan_${slice}" ADD TABLE ${table}; then banyan verify ${slice}`
  }
  if (object === 'gate function' && now === null) {
    return `take the slice back to legacy and begin again: banyan back ${slice} legacy`
  }
  return undefined
}

/** Whether the words say what the stage says; `flipping`: both may be closed for a moment. */
export function wordChecks(
  slice: { readonly name: string; readonly service: string },
  stage: Stage | undefined,
  gates: Readonly<Record<Side, GateSeen | undefined>>,
  flipping: boolean,
): Check[] {
  const { legacy, service } = gates
  if (!legacy || !service) return []
  const [here, there] = [legacy.state.open, service.state.open]
  const owner = stage && STAGES[stage].owner
  const right =
    owner === undefined ? !(here && there) : (owner === 'legacy') === here && here !== there
  if (right || (flipping && !(here && there))) return [check(slice.name, 'one owner', [])]
  const names = { legacy: 'legacy', service: slice.service }
  const is =
    here && there
      ? 'both sides do'
      : here || there
        ? `only ${here ? 'legacy' : slice.service} does`
        : 'neither does'
  const hint =
    here && there
      ? `stop whoever writes on one of the two sides at once; how it came about: banyan journal ${slice.name}`
      : `a flip that isn't settled settles by itself once a controller runs: banyan run control`
  const details = [
    slice.name,
    stage ?? 'a stage that is not known',
    owner ? names[owner] : 'one side',
    is,
    hint,
  ]
  return [
    check(slice.name, 'one owner', [
      problem(new BanyanError(CONTROL_ERRORS.GATES_DISAGREE, details)),
    ]),
  ]
}
