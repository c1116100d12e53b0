/** Giving a service's database up: legacy takes the tables without it, and whatever comes back of it is closed first. */
import type pg from 'pg'
import { type Lsn, parseLsn } from '../model/position.ts'
import type { Side } from '../model/stage.ts'
import { systemOf } from './connection.ts'
import {
  mustBeOnRecord,
  type Preparation,
  protocolError,
  readGate,
  setGate,
  type Verdict,
} from './gate.ts'

export interface Abandonment {
  readonly slice: string
  readonly epoch: number
  /** The reverse stream: whoever applies it stops here. Its sequences begin past all that legacy knows. */
  readonly preparation: Preparation
  /** Who said so, and why: kept with the evidence. */
  readonly said: Readonly<Record<string, unknown>>
}

/**
 * In legacy: the decision and ABANDONED, in one transaction; the gate is opened by `finishAbandon`. Safe to repeat and for
 * any number at once. ABORTED: somebody settled the epoch first, take another.
 * Throws WORD_REFUSED (legacy owns already, or the epoch is old), EVIDENCE_MISSING (a flip isn't settled), SYSTEM_CHANGED,
 * SEQUENCE_RANGE.
 */
export async function abandon(legacy: pg.ClientBase, what: Abandonment): Promise<Verdict> {
  const { stream, sequences, headroom } = what.preparation
  try {
    const { rows } = await legacy.query<{ verdict: Verdict }>(
      'SELECT banyan.abandon($1, $2, $3, $4::jsonb, $5, $6::jsonb) AS verdict',
      [
        what.slice,
        what.epoch,
        stream,
        JSON.stringify(sequences),
        headroom,
        JSON.stringify(what.said),
      ],
    )
    return rows[0]!.verdict
  } catch (error) {
    throw protocolError(error)
  }
}

export interface OwnerOfRecord {
  readonly side: Side
  /** Of the latest PROMOTED. */
  readonly epoch: number
  /** Set where legacy took the tables without the stream. */
  readonly abandoned: {
    /** How far the reverse stream had come; null where that isn't known. */
    readonly position: Lsn | null
    /** The stream has seen all of the old database up to the moment when it was closed. */
    readonly listed: boolean
    /** The service was copied anew since. */
    readonly copied: boolean
  } | null
}

/** By legacy's rows, the only record there is. Undefined: no flip of the owner was ever done, so legacy owns. */
export async function ownerOfRecord(
  legacy: pg.ClientBase,
  slice: string,
): Promise<OwnerOfRecord | undefined> {
  const { rows } = await legacy.query<{ text: string }>(
    `SELECT json_build_object('epoch', d.epoch,
       'forward', EXISTS (SELECT 1 FROM banyan.fence f WHERE f.slice = d.slice AND f.epoch = d.epoch),
       'kinds', (SELECT json_agg(v.kind) FROM banyan.evidence v WHERE v.slice = d.slice AND v.epoch = d.epoch),
       'position', (SELECT v.position FROM banyan.evidence v
         WHERE v.slice = d.slice AND v.epoch = d.epoch AND v.kind = 'ABANDONED'))::text AS text
     FROM banyan.decision d WHERE d.slice = $1 AND d.verdict = 'PROMOTED' ORDER BY d.epoch DESC LIMIT 1`,
    [slice],
  )
  if (!rows[0]) return undefined
  const { epoch, forward, kinds, position } = JSON.parse(rows[0].text) as {
    epoch: number
    forward: boolean
    kinds: string[] | null
    position: string | null
  }
  const has = (kind: string): boolean => kinds?.includes(kind) ?? false
  const abandoned = {
    position: position === null ? null : parseLsn(position),
    listed: has('REACHED'),
    copied: has('COPIED'),
  }
  const side = forward ? 'service' : 'legacy'
  return { side, epoch, abandoned: has('ABANDONED') ? abandoned : null }
}

export interface Closed {
  /** The epoch of record, in which legacy owns. */
  readonly epoch: number
  /** Both sides took writes until now. */
  readonly wasOpen: boolean
  /** Where its change stream stood when it was closed. */
  readonly position: Lsn
}

/** What became of a service's database at a contact. `newer`: its word is past the record, which must be raised first. */
export type Contact = { readonly closed: Closed } | { readonly newer: number } | undefined

/**
 * The first thing to do in a service's database: where legacy is the owner of record and this side was left behind with
 * an older word, it is closed, whatever it believes itself. Undefined: there is nothing to close. `lockMs`: the longest
 * wait for its open writers; LOCK_TIMEOUT then.
 */
export async function closeOlder(
  { slice, legacy, service }: { slice: string; legacy: pg.ClientBase; service: pg.ClientBase },
  lockMs = CLOSE_LOCK_MS,
): Promise<Contact> {
  const owner = (await hasSchema(legacy)) ? await ownerOfRecord(legacy, slice) : undefined
  if (owner?.side !== 'legacy' || !(await hasSchema(service))) return undefined
  const gate = await readGate(service, slice)
  if (!gate) return undefined
  const word = BigInt(2 * owner.epoch)
  if (gate.word > word) return gate.open ? { newer: gate.highestEpoch } : undefined
  if (gate.word === word && gate.fences.some(row => row.epoch === owner.epoch)) return undefined
  const { identifier, timeline } = await systemOf(legacy, 'legacy')
  await service.query(`SET lock_timeout = ${Math.round(lockMs)}`)
  try {
    const { rows } = await service.query<{ position: string }>(
      'SELECT pg_catalog.pg_current_wal_insert_lsn()::text AS position FROM banyan.close_gate($1, $2, $3, $4)',
      [slice, owner.epoch, identifier, timeline],
    )
    const position = parseLsn(rows[0]!.position)
    return { closed: { epoch: owner.epoch, wasOpen: gate.open, position } }
  } catch (error) {
    throw protocolError(error)
  } finally {
    await service.query('SET lock_timeout = 0').catch(() => undefined)
  }
}

const CLOSE_LOCK_MS = 2_000

/** A new database in the old one's place knows nothing of us yet; legacy may have been uninstalled. */
export async function hasSchema(client: pg.ClientBase): Promise<boolean> {
  const { rows } = await client.query<{ there: string }>(
    `SELECT (pg_catalog.to_regclass('banyan.slice') IS NOT NULL)::text AS there`,
  )
  return rows[0]?.there === 'true'
}

/**
 * After the decision of an abandonment: a service that answers is closed before legacy opens; one that doesn't is closed
 * when it is back. Safe to repeat. True: nothing is left to be done in the service.
 */
export async function finishAbandon(
  what: { slice: string; legacy: pg.ClientBase; service: pg.ClientBase | undefined },
  epoch: number,
): Promise<boolean> {
  const { slice, legacy, service } = what
  if (service) await closeOlder({ slice, legacy, service })
  const gate = await readGate(legacy, slice)
  if (gate && !gate.open && gate.word < BigInt(2 * epoch)) {
    await mustBeOnRecord(legacy, slice)
    await setGate(legacy, slice, epoch)
  }
  return service !== undefined
}
