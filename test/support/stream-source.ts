/** A database to read changes from; its slots and streams go with the test. */
import type { Test } from 'tap'
import { type Lsn, parseLsn } from '../../model/position.ts'
import { type ChangeStream, openStream, type StreamOptions } from '../../postgres/replication.ts'
import { createSlot } from '../../postgres/slot.ts'
import { query, type TestCluster } from './cluster.ts'

export const silent = { info() {} }
let databases = 0

export interface Source {
  readonly url: string
  readonly capture: string
  sql(text: string): Promise<Record<string, unknown>[]>
  slot(name: string): Promise<Lsn>
  open(options: Partial<StreamOptions> & { from: Lsn; slot: string }): Promise<ChangeStream>
  confirmed(slot: string): Promise<Lsn>
}

/** A new database with the table `notes` in publication `p`, `other` in `q`, and a role `capture` in the cluster. */
export async function streamSource(t: Test, cluster: TestCluster): Promise<Source> {
  const name = `d${(databases += 1)}`
  const url = await cluster.createDatabase(name)
  const capture = cluster.url(name, 'capture')
  await query(
    url,
    `CREATE TABLE notes (id bigint PRIMARY KEY, body text, n int NOT NULL DEFAULT 0);
     ALTER TABLE notes ALTER body SET STORAGE EXTERNAL;
     CREATE TABLE other (id bigint PRIMARY KEY);
     GRANT SELECT ON ALL TABLES IN SCHEMA public TO capture;
     CREATE PUBLICATION p FOR TABLE notes; CREATE PUBLICATION q FOR TABLE other`,
  )
  const stop = new AbortController()
  const slots: string[] = []
  t.teardown(async () => {
    stop.abort(new Error('the test is over'))
    for (const slot of slots) await dropWhenFree(url, slot)
  })
  return {
    url,
    capture,
    sql: text => query(url, text),
    async slot(slot) {
      slots.push(slot)
      const { consistentPoint } = await createSlot({ url: capture, slot, signal: stop.signal })
      return consistentPoint
    },
    async open(options) {
      const defaults = { url: capture, publications: ['p'], signal: stop.signal, log: silent }
      const stream = await openStream({ ...defaults, ...options })
      t.teardown(() => stream[Symbol.asyncDispose]())
      return stream
    },
    async confirmed(slot) {
      const [row] = await query<{ at: string }>(
        url,
        `SELECT confirmed_flush_lsn::text AS at FROM pg_replication_slots WHERE slot_name = $1`,
        [slot],
      )
      return parseLsn(row!.at)
    },
  }
}

async function dropWhenFree(url: string, slot: string): Promise<void> {
  await query(
    url,
    `SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = '${slot}'`,
  )
  for (;;) {
    const left = await query<{ pid: number | null }>(
      url,
      `SELECT active_pid AS pid FROM pg_replication_slots WHERE slot_name = '${slot}'`,
    )
    if (!left[0]) return
    if (left[0].pid === null) await query(url, `SELECT pg_drop_replication_slot('${slot}')`)
  }
}
