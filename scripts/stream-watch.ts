/** Whether it still makes sense to wait for a worker: it must be heard of, and a failure must not last. */
import type { StreamRow } from '../control/store/streams.ts'
import { BanyanError } from '../model/errors.ts'
import { CONTROL_ERRORS } from '../model/errors-control.ts'

/** A worker that says nothing for this long isn't there. */
const SILENT_MS = 10_000
/** A stream tries again by itself; what still fails after this needs a person. */
const FAILED_MS = 5_000

/** To be called at each look, with the streams that are waited for. Throws STREAMS_SILENT, or what a stream failed of. */
export function streamWatch(slice: string): (streams: readonly StreamRow[]) => void {
  let heardAt = performance.now()
  let failedAt: number | undefined
  return streams => {
    const now = performance.now()
    if (streams.some(each => (each.silentMs ?? Infinity) < SILENT_MS / 2)) heardAt = now
    const broken = streams.find(each => each.error !== null)
    failedAt = broken ? (failedAt ?? now) : undefined
    if (broken?.error && failedAt !== undefined && now - failedAt > FAILED_MS) {
      const { code, message } = broken.error
      throw new BanyanError({ ...CONTROL_ERRORS.STREAM_BROKEN, code }, [broken.name, message])
    }
    if (now - heardAt > SILENT_MS) {
      throw new BanyanError(CONTROL_ERRORS.STREAMS_SILENT, [slice, SILENT_MS / 1000])
    }
  }
}
