/** Reads a change stream in the background, so that a test can wait for what it expects. */
import type { Change, StreamEvent } from '../../model/change.ts'
import type { ChangeStream } from '../../postgres/replication.ts'

export interface ReadTransaction {
  readonly commitLsn: bigint
  readonly end: bigint
  readonly changes: readonly Change[]
  readonly messages: readonly string[]
}

export class StreamReader {
  readonly events: StreamEvent[] = []
  readonly transactions: ReadTransaction[] = []
  /** How `events()` ended: what it threw, or null for an orderly end. Undefined while it runs. */
  ended: { readonly error: unknown } | undefined
  #waiters: (() => void)[] = []
  readonly #done: Promise<void>

  constructor(stream: ChangeStream, options: { onEvent?: (event: StreamEvent) => void } = {}) {
    this.#done = this.#run(stream, options.onEvent)
  }

  /** Resolves when `condition` holds, looked at after every event; throws what the stream throws. */
  async until(condition: (reader: this) => boolean, what: string): Promise<void> {
    const late = setTimeout(() => this.#fail(new Error(`never came: ${what}`)), 20_000)
    try {
      while (!condition(this)) {
        if (this.ended) throw new Error(`never came: ${what}`, { cause: this.ended.error })
        await new Promise<void>(resolve => this.#waiters.push(resolve))
      }
    } finally {
      clearTimeout(late)
    }
  }

  /** Resolves when the stream has ended, with what it threw. */
  async end(): Promise<unknown> {
    await this.#done
    return this.ended?.error
  }

  get changes(): readonly Change[] {
    return this.transactions.flatMap(each => each.changes)
  }

  async #run(stream: ChangeStream, onEvent?: (event: StreamEvent) => void): Promise<void> {
    let open: { commitLsn: bigint; changes: Change[]; messages: string[] } | undefined
    try {
      for await (const event of stream.events()) {
        this.events.push(event)
        if (event.kind === 'begin') open = { commitLsn: event.commitLsn, changes: [], messages: [] }
        if (event.kind === 'change') open?.changes.push(event)
        if (event.kind === 'message') open?.messages.push(event.content)
        if (event.kind === 'commit' && open) {
          this.transactions.push({ ...open, end: event.position })
          open = undefined
        }
        onEvent?.(event)
        this.#wake()
      }
      this.ended ??= { error: null }
    } catch (error) {
      this.ended = { error }
    }
    this.#wake()
  }

  #fail(error: unknown): void {
    this.ended ??= { error }
    this.#wake()
  }

  #wake(): void {
    const waiters = this.#waiters
    this.#waiters = []
    for (const wake of waiters) wake()
  }
}
