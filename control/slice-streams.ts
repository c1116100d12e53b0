/** The streams of one slice, on record or not yet. */
import type { Slice } from '../model/project.ts'
import { COPIES, formatStream } from '../model/stream.ts'
import type { StreamRow } from './store/streams.ts'

/** Forward, reverse, and the read copies of its service. One that no worker has begun counts as `new`, never heard of. */
export function streamsOf(
  slice: Pick<Slice, 'name' | 'service'>,
  all: readonly StreamRow[],
  services: Readonly<Record<string, { readonly copies: readonly string[] }>>,
): StreamRow[] {
  const { name, service } = slice
  const copies = (services[service]?.copies.length ?? 0) > 0
  return [
    { from: 'legacy', to: service, what: name },
    { from: service, to: 'legacy', what: name },
    ...(copies ? [{ from: 'legacy', to: service, what: COPIES }] : []),
  ]
    .map(formatStream)
    .map(stream => all.find(each => each.name === stream) ?? unborn(stream, name))
}

function unborn(name: string, slice: string): StreamRow {
  const nothing = {
    ...{ rowsCopied: 0, rowsTotal: 0, position: null, watermark: null },
    ...{ heardAtMs: null, unheardMs: null },
  }
  return { name, slice, state: 'new', lagMs: null, silentMs: null, error: null, ...nothing }
}
