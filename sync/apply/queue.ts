/** A bounded queue between the socket and the applier: tells "nothing more for now" from "the stream has ended". */

export class EventQueue<T> {
  readonly #limit: number
  #items: T[] = []
  #head = 0
  #closed = false
  #ended: { error: unknown } | undefined
  #wakeReader: (() => void) | undefined
  #wakeWriter: (() => void) | undefined
  readonly #pump: Promise<void>

  /** `limit`: items that wait at the most; then the source isn't read further and its server slows down. */
  constructor(source: AsyncIterable<T>, limit: number) {
    this.#limit = limit
    this.#pump = this.#fill(source)
  }

  /** True where `next` would not wait. */
  get ready(): boolean {
    return this.#head < this.#items.length
  }

  /** Undefined when the source has ended; throws what the source threw, after the last item. */
  async next(): Promise<T | undefined> {
    while (!this.ready) {
      if (this.#ended) {
        if (this.#ended.error !== undefined) throw this.#ended.error as Error
        return undefined
      }
      await new Promise<void>(resolve => (this.#wakeReader = resolve))
    }
    const item = this.#items[this.#head]
    this.#head += 1
    // What was taken is let go, also while the source stays ahead.
    if (this.#head === this.#items.length || this.#head >= this.#limit) {
      this.#items = this.#items.slice(this.#head)
      this.#head = 0
    }
    this.#wakeWriter?.()
    return item
  }

  /** Reads no further; resolves when the source has been let go. */
  async close(): Promise<void> {
    this.#closed = true
    this.#wakeWriter?.()
    await this.#pump
  }

  async #fill(source: AsyncIterable<T>): Promise<void> {
    try {
      for await (const item of source) {
        if (this.#closed) break
        this.#items.push(item)
        this.#wakeReader?.()
        while (!this.#closed && this.#items.length - this.#head >= this.#limit) {
          await new Promise<void>(resolve => (this.#wakeWriter = resolve))
        }
      }
      this.#ended = { error: undefined }
    } catch (error) {
      this.#ended = { error }
    }
    this.#wakeReader?.()
  }
}
