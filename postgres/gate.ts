/** What one database knows of a slice's ownership, and the only calls that move it (docs/flip.md). */
import { randomUUID } from 'node:crypto'
import type pg from 'pg'
import { BanyanError } from '../model/errors.ts'
import { PROTOCOL_ERRORS, PROTOCOL_STATES } from '../model/errors-protocol.ts'
import { type Lsn, parseLsn, type System } from '../model/position.ts'

export type Verdict = 'PROMOTED' | 'ABORTED'
export type EvidenceKind = 'REACHED' | 'COMPARED' | 'PREPARED' | 'ABANDONED' | 'COPIED'

export interface FenceRow {
  readonly epoch: number
  readonly id: string
  /** By legacy's clock. */
  readonly deadlineMs: number
}

export interface GateState {
  readonly number: number
  /** 2·epoch + (1 if open). */
  readonly word: bigint
  readonly open: boolean
  readonly epoch: number
  /** The highest epoch in the word and in any row of this database. */
  readonly highestEpoch: number
  readonly fences: readonly FenceRow[]
  readonly evidence: readonly { epoch: number; kind: EvidenceKind; position: Lsn | null }[]
  readonly decisions: readonly { epoch: number; verdict: Verdict }[]
  /** How many statements the gate has refused. */
  readonly refused: number
}

/** Undefined where the slice has no gate here. */
export async function readGate(
  client: pg.ClientBase,
  slice: string,
): Promise<GateState | undefined> {
  const found = await client.query<{ number: string }>(
    'SELECT number::text FROM banyan.slice WHERE name = $1',
    [slice],
  )
  const number = found.rows[0]?.number
  if (number === undefined) return undefined
  const { rows } = await client.query<{ state: string }>(
    `SELECT json_build_object(
      'word', (SELECT last_value::text FROM banyan.gate_${number}),
      'refused', (SELECT CASE WHEN is_called THEN last_value + 1 ELSE 0 END FROM banyan.refused_${number}),
      'progress', (SELECT coalesce(max(epoch), 0) FROM banyan.progress WHERE split_part(stream, ':', 2) = $1),
      'fences', (SELECT coalesce(json_agg(json_build_object('epoch', epoch, 'id', id,
        'deadlineMs', extract(epoch from deadline) * 1000) ORDER BY epoch), '[]') FROM banyan.fence WHERE slice = $1),
      'evidence', (SELECT coalesce(json_agg(json_build_object('epoch', epoch, 'kind', kind, 'position', position)
        ORDER BY epoch), '[]') FROM banyan.evidence WHERE slice = $1),
      'decisions', (SELECT coalesce(json_agg(json_build_object('epoch', epoch, 'verdict', verdict)
        ORDER BY epoch), '[]') FROM banyan.decision WHERE slice = $1))::text AS state`,
    [slice],
  )
  const state = JSON.parse(rows[0]!.state) as {
    word: string
    refused: number
    progress: number
    fences: FenceRow[]
    evidence: { epoch: number; kind: EvidenceKind; position: string | null }[]
    decisions: { epoch: number; verdict: Verdict }[]
  }
  const word = BigInt(state.word)
  const epoch = Number(word / 2n)
  const rowsOfEpochs = [...state.fences, ...state.evidence, ...state.decisions]
  return {
    number: Number(number),
    word,
    open: word % 2n === 1n,
    epoch,
    highestEpoch: Math.max(epoch, state.progress, ...rowsOfEpochs.map(row => row.epoch)),
    fences: state.fences,
    evidence: state.evidence.map(row => ({
      ...row,
      position: row.position === null ? null : parseLsn(row.position),
    })),
    decisions: state.decisions,
    refused: state.refused,
  }
}

export interface Fence {
  readonly slice: string
  readonly epoch: number
  /** By legacy's clock, in both directions: legacy decides. */
  readonly deadlineMs: number
  readonly legacy: System
  readonly service: System
}

/**
 * Closes the old owner: after it commits, no write of the slice can. One autocommitted statement; the caller sets
 * lock_timeout. Throws WORD_REFUSED, FINGERPRINT, WRITERS_OPEN, LOCK_TIMEOUT. Whoever isn't sure of the outcome settles.
 */
export async function takeFence(client: pg.ClientBase, fence: Fence): Promise<void> {
  await ask(
    client,
    'SELECT banyan.fence($1, $2, $3, to_timestamp($4::float8 / 1000), $5, $6, $7, $8)',
    [
      fence.slice,
      fence.epoch,
      randomUUID(),
      fence.deadlineMs,
      fence.legacy.identifier,
      fence.legacy.timeline,
      fence.service.identifier,
      fence.service.timeline,
    ],
  )
}

/** Opens this side in `epoch`, or raises an open word to it. Throws WORD_REFUSED, EVIDENCE_MISSING. */
export async function setGate(client: pg.ClientBase, slice: string, epoch: number): Promise<void> {
  await ask(client, 'SELECT banyan.set_gate($1, $2)', [slice, epoch])
}

/** In legacy. Returns what was decided, which may be the other verdict. Throws EVIDENCE_MISSING, DEADLINE_PASSED, SYSTEM_CHANGED. */
export async function decide(
  legacy: pg.ClientBase,
  slice: string,
  epoch: number,
  wanted: Verdict,
): Promise<Verdict> {
  const rows = await ask<{ verdict: Verdict }>(
    legacy,
    'SELECT banyan.decide($1, $2, $3) AS verdict',
    [slice, epoch, wanted],
  )
  return rows[0]!.verdict
}

/** Undefined: nothing is decided yet. Only legacy's answer is the decision; a service has copies. */
export async function readDecision(
  client: pg.ClientBase,
  slice: string,
  epoch: number,
): Promise<Verdict | undefined> {
  const { rows } = await client.query<{ verdict: Verdict }>(
    'SELECT verdict FROM banyan.decision WHERE slice = $1 AND epoch = $2',
    [slice, epoch],
  )
  return rows[0]?.verdict
}

/** By whoever has read the decision in legacy. */
export async function copyDecision(
  service: pg.ClientBase,
  slice: string,
  epoch: number,
  verdict: Verdict,
): Promise<void> {
  await service.query(
    'INSERT INTO banyan.decision (slice, epoch, verdict) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING',
    [slice, epoch, verdict],
  )
}

/** A sequence of the new owner, and where its twin on the other side stands. */
export interface SequenceStart {
  readonly sequence: string
  readonly table: string
  readonly column: string
  /** last_value on the other side, read after the fence. */
  readonly other: string
  /** The largest value of the column's type. */
  readonly typeMax: string
}

export interface Preparation {
  readonly slice: string
  readonly epoch: number
  /** The stream that must stand at the fence. */
  readonly stream: string
  readonly sequences: readonly SequenceStart[]
  readonly headroom: number
}

/** On the new owner; may be repeated. Throws EVIDENCE_MISSING, PROGRESS_MOVED, SEQUENCE_RANGE. */
export async function prepare(client: pg.ClientBase, what: Preparation): Promise<void> {
  const sequences = JSON.stringify(what.sequences)
  await ask(client, 'SELECT banyan.prepare($1, $2, $3, $4::jsonb, $5)', [
    what.slice,
    what.epoch,
    what.stream,
    sequences,
    what.headroom,
  ])
}

/** Record what the slice's objects look like now as known good. */
export async function acceptFingerprint(client: pg.ClientBase, slice: string): Promise<void> {
  await ask(client, 'SELECT banyan.accept_fingerprint($1)', [slice])
}

/** The first object that differs from the recorded fingerprint, as a sentence; null where all is as it was. */
export async function fingerprintDifference(
  client: pg.ClientBase,
  slice: string,
): Promise<string | null> {
  const rows = await ask<{ what: string | null }>(
    client,
    'SELECT banyan.fingerprint_difference($1) AS what',
    [slice],
  )
  return rows[0]!.what
}

/** `columns of public.visits: was id bigint, is id bigint, note text` → `columns of public.visits: + note text` */
export function shortDifference(text: string): string {
  const [, object, was = '', now = ''] = /^(columns of .*?): was (.*), is (.*)$/s.exec(text) ?? []
  if (object === undefined) return text
  const [before, after] = [was.split(', '), now.split(', ')]
  const gone = before.filter(each => !after.includes(each)).map(each => `- ${each}`)
  const came = after.filter(each => !before.includes(each)).map(each => `+ ${each}`)
  const all = [...gone, ...came]
  return `${object}: ${all.length > 0 ? all.join(', ') : 'another order'}`
}

/** Which server this is, where that isn't what the slice has on record (a restore, a failover, a copy); null where it is. */
export async function databaseChange(
  client: pg.ClientBase,
  slice: string,
): Promise<{ readonly was: string; readonly is: string } | null> {
  const rows = await ask<{ was: string; is: string }>(
    client,
    `SELECT f.state AS was, s.identifier || ' timeline ' || s.timeline AS is
     FROM banyan.fingerprint f, banyan.this_system() s
     WHERE f.slice = $1 AND f.object = 'database' AND f.state <> s.identifier || ' timeline ' || s.timeline`,
    [slice],
  )
  return rows[0] ?? null
}

/** Throws SYSTEM_CHANGED: nothing opens by itself in a database that isn't the one on record. */
export async function mustBeOnRecord(client: pg.ClientBase, slice: string): Promise<void> {
  const change = await databaseChange(client, slice)
  if (!change) return
  const said = `on record is system ${change.was}, this is system ${change.is}`
  throw new BanyanError(PROTOCOL_ERRORS.SYSTEM_CHANGED, [said])
}

/**
 * In legacy, on a person's word after a restore or failover: ends an epoch whose fence was taken with another server. The
 * new server must be accepted before. Throws SYSTEM_CHANGED. Returns what is decided, which may be PROMOTED.
 */
export async function abortAfterRestore(
  legacy: pg.ClientBase,
  slice: string,
  epoch: number,
): Promise<Verdict> {
  const rows = await ask<{ verdict: Verdict }>(
    legacy,
    'SELECT banyan.abort_after_restore($1, $2) AS verdict',
    [slice, epoch],
  )
  return rows[0]!.verdict
}

/**
 * Sessions with an open transaction that has written to the slice's tables, open for at least so many ms; looks without
 * queueing for any lock.
 */
export async function writersOf(
  client: pg.ClientBase,
  slice: string,
  applyRole: string,
  openForMs = 0,
): Promise<string[]> {
  // A prepared transaction has no session, and is never young.
  const rows = await ask<{ about: string }>(
    client,
    `SELECT w.about FROM banyan.writers_of($1, $2) w
     WHERE w.pid IS NULL OR $3 = 0 OR w.since < pg_catalog.clock_timestamp() - $3 * interval '1 ms'`,
    [slice, applyRole, openForMs],
  )
  return rows.map(row => row.about)
}

/** An answer of the protocol's functions as the error that a person reads; anything else comes back as it is. */
export function protocolError(error: unknown): unknown {
  const { code, message } = error as { code?: string; message?: string }
  const rule = code === undefined ? undefined : PROTOCOL_STATES[code]
  return rule ? new BanyanError(rule, [message ?? ''], { cause: error }) : error
}

async function ask<T extends pg.QueryResultRow>(
  client: pg.ClientBase,
  sql: string,
  values: unknown[],
): Promise<T[]> {
  try {
    return (await client.query<T>(sql, values)).rows
  } catch (error) {
    throw protocolError(error)
  }
}
