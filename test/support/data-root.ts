/** Where the data of test clusters lie: in memory where there is room, since making and removing files is most of their cost. */
import { statfs } from 'node:fs/promises'

const MEMORY = '/dev/shm'
/** Two test files at a time, with three clusters each, some with a WAL of 100 MB. */
const ROOM_BYTES = 4 * 1024 ** 3

let root: Promise<string> | undefined

/** A folder that everybody may write to: memory, or the disk where that is short. */
export function dataRoot(): Promise<string> {
  root ??= choose()
  return root
}

/** Where a test that was killed may have left something. */
export const DATA_ROOTS = [MEMORY, '/var/tmp'] as const

async function choose(): Promise<string> {
  const found = await statfs(MEMORY).catch(() => null)
  const room = found ? Math.min(found.bavail * found.bsize, process.availableMemory()) : 0
  return room >= ROOM_BYTES ? MEMORY : '/var/tmp'
}
