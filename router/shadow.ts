/**
 * Shadowing: what legacy answered, the service is asked too, and the answers are compared. It may be lost, it is never
 * felt: copies are bounded, calls are dropped rather than queued, sockets are its own, and it starts when the client has
 * its answer.
 */
import { setMaxListeners } from 'node:events'
import type { IncomingMessage } from 'node:http'
import type { Difference, Freshness } from '../model/orders.ts'
import { sleep } from './clock.ts'
import type { Clock } from './clock.ts'
import type { RawHeaders } from './headers.ts'
import { compareAnswers } from './answers.ts'
import type { Answer } from './answers.ts'
import type { Tokens } from './freshness.ts'
import type { RouterLimits } from './limits.ts'
import type { UpstreamPool } from './upstreams.ts'

export interface ShadowRequest {
  readonly slice: string
  readonly route: string
  readonly method: string
  readonly target: string
  readonly service: ShadowSide
  /** Asked a second time only where the answers differ. */
  readonly legacy: ShadowSide
}

export interface ShadowSide {
  readonly pool: UpstreamPool
  /** Asked for when the call is made. Null or a rejection: the call is dropped. */
  readonly headers: () => Promise<RawHeaders | null>
}

export interface ShadowCopy {
  /** Sees each chunk of legacy's body. */
  chunk(bytes: Buffer): void
  /** Legacy's answer has reached the client, in full or not. */
  end(whole: boolean): void
}

export type ShadowVerdict =
  | { readonly kind: 'compared'; readonly difference: Difference | null }
  | { readonly kind: 'dropped' }

export interface Shadow {
  /** Starts a copy of legacy's answer; undefined: this one isn't sampled, or there is no room (then it is counted). */
  copy(request: ShadowRequest, answer: IncomingMessage): ShadowCopy | undefined
  /** Resolves when nothing is under way. */
  idle(): Promise<void>
}

export function createShadow(deps: {
  readonly limits: RouterLimits
  readonly clock: Clock
  readonly freshness: Freshness
  readonly tokens: Tokens
  readonly signal: AbortSignal
  /** Percent of a slice's eligible requests that is shadowed, by the orders in force. */
  readonly sample: (slice: string) => number
  readonly onVerdict: (slice: string, verdict: ShadowVerdict) => void
}): Shadow {
  const { limits, onVerdict, signal } = deps
  // One for each call under way; more than so many would be a leak.
  setMaxListeners(limits.shadowConcurrent + 1, signal)
  const underWay = new Set<Promise<void>>()
  let open = 0
  const isSampled = createSample()

  const run = async (request: ShadowRequest, legacy: Answer): Promise<void> => {
    try {
      onVerdict(request.slice, await compareWithService(request, legacy, deps))
    } catch {
      onVerdict(request.slice, { kind: 'dropped' })
    } finally {
      open--
    }
  }

  return {
    copy(request, answer) {
      const percent = deps.sample(request.slice)
      if (!isSampled(`${request.slice} ${request.route}`, percent)) return undefined
      if (open >= limits.shadowConcurrent || !comparable(answer.statusCode ?? 0)) {
        onVerdict(request.slice, { kind: 'dropped' })
        return undefined
      }
      open++
      const body = createBounded(limits.shadowBodyBytes)
      return {
        chunk: bytes => body.push(bytes),
        end(whole) {
          const bytes = whole && !deps.signal.aborted ? body.take() : undefined
          if (!bytes) {
            open--
            onVerdict(request.slice, { kind: 'dropped' })
            return
          }
          const run1 = run(request, { ...headOf(answer), body: bytes })
          underWay.add(run1)
          void run1.finally(() => underWay.delete(run1))
        },
      }
    },
    async idle() {
      while (underWay.size > 0) await Promise.all(underWay)
    },
  }
}

/**
 * Evenly, and each route by itself: a client that asks for two routes in turn must not hide one of them. The first
 * request of a route is always taken, so that a small part leaves no route out. Bounded by the routes of the files.
 */
function createSample() {
  const seen = new Map<string, number>()
  return (route: string, percent: number): boolean => {
    const before = seen.get(route) ?? 0
    seen.set(route, before + 1)
    const taken = (requests: number): number => Math.ceil((requests * percent) / 100)
    return taken(before + 1) > taken(before)
  }
}

/** Legacy's own failures, and answers about the client's cache, say nothing about the service. */
function comparable(status: number): boolean {
  return status >= 200 && status < 500 && status !== 304 && status !== 206
}

function headOf(answer: IncomingMessage): Omit<Answer, 'body'> {
  return {
    status: answer.statusCode ?? 0,
    type: answer.headers['content-type'] ?? '',
    encoding: answer.headers['content-encoding'] ?? '',
  }
}

type Deps = Parameters<typeof createShadow>[0]

/** Data that moves between two answers makes them differ without anybody being wrong: then they are asked anew. */
const ROUNDS = 3

/**
 * A difference counts where legacy stood still around it: it gave the same answer before and after, and the service,
 * which by then had all that legacy had, gave another one. Legacy is asked again only where answers differ.
 */
async function compareWithService(
  request: ShadowRequest,
  first: Answer,
  deps: Deps,
): Promise<ShadowVerdict> {
  const bytes = deps.limits.shadowBodyBytes
  const askService = () => call(request, request.service, deps)
  let before = first
  let found = await compareAnswers(before, await askService(), bytes)
  for (let round = 0; found && round < ROUNDS; round++) {
    if (!(await caughtUp(request.slice, deps))) return { kind: 'dropped' }
    found = await compareAnswers(before, await askService(), bytes)
    if (!found) break
    const after = await call(request, request.legacy, deps)
    if ((await compareAnswers(before, after, bytes)) === null) {
      return { kind: 'compared', difference: { route: request.route, ...found } }
    }
    before = after
  }
  return found === null ? { kind: 'compared', difference: null } : { kind: 'dropped' }
}

const SETTLE_STEP_MS = 50

async function caughtUp(slice: string, deps: Deps): Promise<boolean> {
  const token = await deps.tokens.token()
  const until = deps.clock.now() + deps.limits.shadowSettleMs
  for (;;) {
    const watermark = deps.freshness.watermark(slice)
    if (watermark !== undefined && watermark >= token) return true
    if (deps.clock.now() >= until || deps.signal.aborted) return false
    await sleep(deps.clock, SETTLE_STEP_MS, deps.signal)
  }
}

async function call(request: ShadowRequest, side: ShadowSide, deps: Deps): Promise<Answer> {
  const { limits, clock, signal } = deps
  const headers = await side.headers()
  if (!headers || signal.aborted || !side.pool.hasRoom()) throw new Error('no shadow call')
  const { method, target } = request
  const call = side.pool.open({ method, target, headers }, false)
  const drop = (): void => void call.destroy(new Error('shadow call dropped'))
  const stop = clock.timer(limits.shadowMs, drop)
  signal.addEventListener('abort', drop)
  try {
    return await new Promise<Answer>((resolve, reject) => {
      call.once('close', () => reject(new Error('shadow call closed')))
      call.on('error', reject)
      call.once('response', answer => {
        const body = createBounded(limits.shadowBodyBytes)
        answer.on('data', (bytes: Buffer) => {
          if (!body.push(bytes)) drop()
        })
        answer.once('error', reject)
        answer.once('end', () => {
          const bytes = answer.complete ? body.take() : undefined
          if (bytes) resolve({ ...headOf(answer), body: bytes })
          else reject(new Error('shadow answer broke off'))
        })
      })
      call.end()
    })
  } finally {
    stop()
    signal.removeEventListener('abort', drop)
  }
}

/** Collects up to a number of bytes; one more and it holds nothing. */
function createBounded(most: number) {
  let chunks: Buffer[] | undefined = []
  let bytes = 0
  return {
    push(chunk: Buffer): boolean {
      bytes += chunk.length
      if (bytes > most) chunks = undefined
      chunks?.push(chunk)
      return chunks !== undefined
    },
    take: (): Buffer | undefined => chunks && Buffer.concat(chunks),
  }
}
