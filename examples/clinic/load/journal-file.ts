/**
 * Intents must be on disk before their request leaves; this file makes many of them pay for one
 * fsync.
 */
import { open } from 'node:fs/promises'
import type { JournalRecord } from '../ledger/record.ts'

/** How long an outcome may wait for the next intent's fsync before it gets one of its own. */
const NOTE_DELAY_MS = 25

export interface JournalFile {
  /**
   * Appends, and is on disk soon. For outcomes: losing one turns "ok" into "unknown", which is
   * still true.
   */
  note(record: JournalRecord): void
  /** Appends, and resolves when the record and everything before it are on disk. */
  commit(record: JournalRecord): Promise<void>
  /** Resolves when everything appended so far is on disk. */
  flush(): Promise<void>
  close(): Promise<void>
}

interface Waiter {
  resolve(): void
  reject(error: unknown): void
}

/**
 * Opens (appends to) a journal. `onError` is told once when the disk refuses: from then on nothing
 * can be committed, and a load that can't write down what it does must stop.
 */
export async function openJournal(options: {
  path: string
  onError: (error: unknown) => void
}): Promise<JournalFile> {
  const handle = await open(options.path, 'a')
  let lines: string[] = []
  let waiters: Waiter[] = []
  let timer: NodeJS.Timeout | undefined
  let draining = false
  let failure: { error: unknown } | undefined

  const drain = async (): Promise<void> => {
    draining = true
    while (lines.length > 0 || waiters.length > 0) {
      const text = lines.join('')
      const batch = waiters
      lines = []
      waiters = []
      try {
        if (failure) throw failure.error
        await handle.appendFile(text)
        await handle.datasync()
        for (const waiter of batch) waiter.resolve()
      } catch (error) {
        for (const waiter of batch) waiter.reject(error)
        if (!failure) options.onError(error)
        failure ??= { error }
      }
    }
    draining = false
  }
  const start = (): void => {
    clearTimeout(timer)
    timer = undefined
    if (!draining) void drain()
  }
  const flush = (): Promise<void> =>
    new Promise((resolve, reject) => {
      waiters.push({ resolve, reject })
      start()
    })

  return {
    note(record) {
      lines.push(JSON.stringify(record) + '\n')
      timer ??= setTimeout(start, NOTE_DELAY_MS)
    },
    commit(record) {
      lines.push(JSON.stringify(record) + '\n')
      return flush()
    },
    flush,
    async close() {
      await flush()
      await handle.close()
    },
  }
}
