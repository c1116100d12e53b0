/** Writes source transactions into the target, each whole, with the progress row as its first statement. */
import type pg from 'pg'
import { BanyanError } from '../../model/errors.ts'
import { APPLY_ERRORS } from '../../model/errors-apply.ts'
import { formatLsn, type Lsn, parseLsn } from '../../model/position.ts'
import type { Statement } from './statements.ts'

/** Statements on the wire whose answers haven't been read: bounds memory in a huge transaction. */
const OUTSTANDING_MAX = 512

export class Writer {
  readonly #target: pg.Client
  readonly #stream: string
  readonly #worker: string
  #position: Lsn
  #next: Lsn
  #outstanding: Promise<unknown>[] = []
  /** Statement text → its name on this connection: prepared once. Bounded by tables × sets of sent columns. */
  readonly #names = new Map<string, string>()

  private constructor(target: pg.Client, stream: string, worker: string, position: Lsn) {
    this.#target = target
    this.#stream = stream
    this.#worker = worker
    this.#position = position
    this.#next = position
  }

  /**
   * Takes the stream over, in a transaction of its own: from here on its last worker writes nothing more. `target`:
   * the apply role, pipelined, its own session. Throws STREAM_UNKNOWN.
   */
  static async takeOver(target: pg.Client, stream: string, worker: string): Promise<Writer> {
    // Foreign keys and triggers have acted at the source already; what they did arrives as changes of its own.
    await target.query('SET session_replication_role = replica')
    const { rows } = await target.query<{ position: string }>(
      'UPDATE banyan.progress SET worker = $2 WHERE stream = $1 RETURNING position::text',
      [stream, worker],
    )
    if (!rows[0]) throw new BanyanError(APPLY_ERRORS.STREAM_UNKNOWN, [stream])
    return new Writer(target, stream, worker, parseLsn(rows[0].position))
  }

  /** Every transaction whose commit record starts at or before this is durable in the target. */
  get position(): Lsn {
    return this.#position
  }

  /**
   * Opens a target transaction that will stand for everything up to `position`.
   * Invariant: this is its first statement. Compare-and-set: whoever isn't the worker at the expected position is a
   * zombie, and nothing that it sends after this commits.
   */
  begin(position: Lsn): void {
    this.#next = position
    this.#expect(this.#target.query('BEGIN'))
    const moved = this.#target.query(
      `UPDATE banyan.progress SET position = $4, updated_at = clock_timestamp()
       WHERE stream = $1 AND worker = $2 AND position = $3`,
      [this.#stream, this.#worker, formatLsn(this.#position), formatLsn(position)],
    )
    this.#expect(
      moved.then(result => {
        if (result.rowCount !== 1) throw new BanyanError(APPLY_ERRORS.STREAM_TAKEN, [this.#stream])
      }),
    )
  }

  async write(statement: Statement): Promise<void> {
    const answer = this.#target
      .query({
        name: this.#nameOf(statement.text),
        text: statement.text,
        values: [...statement.values],
      })
      .then(
        result => {
          if (statement.rows !== null && result.rowCount !== statement.rows) {
            throw diverged(this.#stream, statement)
          }
        },
        (error: unknown) => {
          throw isDataError(error) ? diverged(this.#stream, statement, error) : error
        },
      )
    this.#expect(answer)
    if (this.#outstanding.length >= OUTSTANDING_MAX) await this.#answers()
  }

  /** Throws DIVERGED, and then nothing of the transaction is there. */
  async commit(): Promise<void> {
    try {
      await this.#answers()
    } catch (error) {
      await this.rollback()
      throw error
    }
    await this.#target.query('COMMIT')
    this.#position = this.#next
  }

  async rollback(): Promise<void> {
    await Promise.allSettled(this.#outstanding)
    this.#outstanding = []
    await this.#target.query('ROLLBACK').catch(() => undefined)
  }

  /** Its failure is heard by `commit` (or the next full `write`). */
  #expect(answer: Promise<unknown>): void {
    answer.catch(() => undefined)
    this.#outstanding.push(answer)
  }

  #nameOf(text: string): string {
    const name = this.#names.get(text) ?? `a${this.#names.size}`
    this.#names.set(text, name)
    return name
  }

  async #answers(): Promise<void> {
    const answers = this.#outstanding
    this.#outstanding = []
    await settled(answers)
  }
}

/** Throws the first failure, but only after all have ended: none is left behind unheard. */
async function settled(promises: readonly Promise<unknown>[]): Promise<void> {
  const results = await Promise.allSettled(promises)
  const failed = results.find(result => result.status === 'rejected')
  if (failed) throw failed.reason
}

/** Integrity (23) and data (22) errors say that the rows differ; all others say something of the world. */
function isDataError(error: unknown): boolean {
  const code = (error as { code?: unknown }).code
  return typeof code === 'string' && /^2[23]...$/.test(code)
}

function diverged(stream: string, { about }: Statement, cause?: unknown): BanyanError {
  const verbs = { c: 'insert', u: 'update', d: 'delete', t: 'truncate' }
  return new BanyanError(
    APPLY_ERRORS.DIVERGED,
    [stream, verbs[about.op], about.table, about.key],
    cause === undefined ? undefined : { cause },
  )
}
