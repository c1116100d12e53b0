/** Closes what was opened, last first: for functions that open several things on their way. */
export class Closers implements AsyncDisposable {
  readonly #closers: (() => unknown)[] = []

  defer(close: () => unknown): void {
    this.#closers.push(close)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const close of this.#closers.reverse()) {
      try {
        await close()
      } catch {
        // What can't be closed any more is closed.
      }
    }
  }
}
