/** Clients that write to the clinic-like tables of a copy test, at random but by a seed, until they are told to stop. */
import pg from 'pg'

export const WRITTEN_TABLES = `
  CREATE TABLE notes (id bigint PRIMARY KEY, body text, n int NOT NULL DEFAULT 0);
  ALTER TABLE notes ALTER body SET STORAGE EXTERNAL;
  CREATE TABLE places (code text, part uuid, v numeric, at timestamptz, PRIMARY KEY (code, part));
  CREATE TABLE marks (id uuid PRIMARY KEY, note_id bigint REFERENCES notes ON DELETE CASCADE, tags text[])`

export interface Writers {
  /** Resolves with the number of committed transactions. */
  stop(): Promise<number>
}

export async function startWriters(url: string, count: number, seed: number): Promise<Writers> {
  let stopped = false
  const running = Array.from({ length: count }, async (_, i) => {
    const random = randomFrom(seed * 100 + i)
    const client = new pg.Client(url)
    await client.connect()
    let committed = 0
    while (!stopped) {
      const statements = Array.from({ length: 1 + Math.floor(random() * 3) }, () => write(random))
      const end = random() < 0.1 ? 'ROLLBACK' : 'COMMIT'
      // Two writers that meet the same rows in another order: one of them is turned away, as in life.
      const done = await client.query(`BEGIN; ${statements.join('; ')}; ${end}`).then(
        () => true,
        () => client.query('ROLLBACK').then(() => false),
      )
      if (done && end === 'COMMIT') committed += 1
    }
    await client.end()
    return committed
  })
  return {
    async stop() {
      stopped = true
      const counts = await Promise.all(running)
      return counts.reduce((sum, each) => sum + each, 0)
    },
  }
}

const uuid = (n: number) => `'00000000-0000-4000-8000-${n.toString(16).padStart(12, '0')}'`

function write(random: () => number): string {
  const any = (limit: number) => Math.floor(random() * limit)
  const id = any(30_000)
  const choices = [
    `INSERT INTO notes VALUES (${id + 9_007_199_254_740_993}, 'new ${id} \\N', 1) ON CONFLICT DO NOTHING`,
    `INSERT INTO notes SELECT ${100_000 + any(1e9)}, repeat('long ', 2000) ON CONFLICT DO NOTHING`,
    `UPDATE notes SET n = n + 1 WHERE id = ${id}`,
    `UPDATE notes SET body = NULL WHERE id = ${id}`,
    `UPDATE notes SET id = ${1_000_000 + any(1e9)} WHERE id = ${id}`,
    `DELETE FROM notes WHERE id = ${id}`,
    `INSERT INTO marks SELECT ${uuid(any(1e9))}, id, '{"a,b",NULL}' FROM notes WHERE id = ${id} ON CONFLICT DO NOTHING`,
    `INSERT INTO places VALUES ('', ${uuid(any(1e9))}, 1.10, 'infinity') ON CONFLICT DO NOTHING`,
    `UPDATE places SET code = code || 'x', v = v * 10 WHERE part = ${uuid(any(2000))}`,
    `DELETE FROM places WHERE part = ${uuid(any(2000))}`,
  ]
  return choices[any(choices.length)]!
}

/** mulberry32 */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}
