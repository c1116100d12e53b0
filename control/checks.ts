/** What can stop a flip: one small function a check, and which of them each stage asks for. */
import { BanyanError } from '../model/errors.ts'
import { ABANDON_ERRORS } from '../model/errors-abandon.ts'
import type { Stage } from '../model/stage.ts'
import type { Blocked, SliceFacts } from './facts.ts'
import { lossBlocker } from './way-back.ts'
import { shortHash } from './plan.ts'

export type Blocker = Blocked

type Check = (facts: SliceFacts, to: Stage) => Blocker | readonly Blocker[] | null

const preflight: Check = facts => facts.preflight

const inStep: Check = facts =>
  facts.streams
    .filter(stream => stream.state !== 'streaming' || stream.error !== null)
    .map(stream => ({
      code: stream.error ? stream.error.code : 'NOT_IN_STEP',
      message: stream.error
        ? `${stream.name}: ${stream.error.message}`
        : `the stream ${stream.name} is ${stream.state === 'copying' ? 'still copying' : stream.state}`,
      hint: stream.error ? `banyan why ${facts.slice}` : `wait: banyan status ${facts.slice}`,
    }))

const heard: Check = facts =>
  facts.streams
    .filter(stream => stream.silentMs === null || stream.silentMs > facts.silentMaxMs)
    .map(stream => ({
      code: 'STREAM_SILENT',
      message:
        stream.silentMs === null
          ? `nothing was ever heard of the stream ${stream.name}`
          : `nothing was heard of the stream ${stream.name} for ${seconds(stream.silentMs)}`,
      hint: 'start a worker: banyan run sync',
    }))

const lag: Check = facts =>
  facts.streams
    .filter(stream => (stream.lagMs ?? 0) > facts.limits.lagMaxMs)
    .map(stream => ({
      code: 'LAG',
      message: `${stream.name} is ${seconds(stream.lagMs ?? 0)} behind; the limit is ${seconds(facts.limits.lagMaxMs)}`,
      hint: `the pause would be that long; wait: banyan status ${facts.slice}`,
    }))

/** Only where nothing would be lost is the way back an ordinary flip. */
const whole: Check = ({ slice, wayBack }) =>
  wayBack && lossBlocker(slice, wayBack.service, wayBack.fact)

const ready: Check = facts =>
  facts.serviceReady.ok
    ? null
    : {
        code: 'SERVICE_DOWN',
        message: `the service of "${facts.slice}" isn't ready: ${facts.serviceReady.why}`,
        hint: `${facts.serviceReady.mend}, then run the same command again`,
      }

const verified: Check = ({ slice, verification, outdated, limits }) => {
  const hint = `banyan verify ${slice}`
  if (outdated !== null) {
    const message = `the last verification doesn't count any more: ${outdated}`
    return { code: 'VERIFY_STALE', message, hint }
  }
  if (verification === null) {
    return { code: 'VERIFY_MISSING', message: 'the two sides were never compared', hint }
  }
  if (verification.differences > 0) {
    const message = `the last verification found ${verification.differences} rows that differ`
    return { code: 'VERIFY_DIFFERS', message, hint }
  }
  if (verification.ageMs <= limits.verifyMaxAgeMs) return null
  const message = `the last verification is ${hours(verification.ageMs)} old; the limit is ${hours(limits.verifyMaxAgeMs)}`
  return { code: 'VERIFY_STALE', message, hint }
}

const answered: Check = facts =>
  facts.unanswered.map(one => ({
    code: one.code,
    message: `${one.message} (${one.file}:${one.line}:${one.column})`,
    hint: one.hint,
  }))

const writers: Check = facts =>
  facts.foreignWriters.map(writer => ({
    code: 'FOREIGN_WRITER',
    message: `${writer.name} writes the tables around the routes, about ${writer.perDay === 1 ? 'once' : `${writer.perDay} times`} a day; that will be refused`,
    hint: `give it another way, or say that you know: writers: { ${yamlKey(writer.name)}: waived } in slices/${facts.slice}.yaml`,
  }))

const routers: Check = facts => {
  if (facts.routers.length === 0) {
    return {
      code: 'ROUTER_MISSING',
      message: 'no router is there: nobody could hold the requests',
      hint: 'banyan run router',
    }
  }
  return facts.routers
    .filter(router => router.version < facts.ordersVersion)
    .map(router => ({
      code: 'ROUTER_BEHIND',
      message: `the router ${router.address} is on table ${router.version}, not ${facts.ordersVersion}`,
      hint: 'wait a moment; if it stays so, restart it: banyan run router',
    }))
}

const noRogue: Check = facts =>
  facts.rogueWrites === 0
    ? null
    : {
        code: 'ROGUE_WRITES',
        message: `${facts.rogueWrites === 1 ? '1 write' : `${facts.rogueWrites} writes`} went round the gate on the side that isn't the owner`,
        hint: `look at them: banyan status ${facts.slice}; then banyan doctor --accept ${facts.slice}`,
      }

const fingerprint: Check = facts =>
  facts.fingerprints
    .filter(one => one.difference !== null)
    .map(one => ({
      code: 'FINGERPRINT',
      message: `in ${one.side}: ${one.difference}`,
      hint: `look at it; if it is right: banyan doctor --accept ${facts.slice}`,
    }))

const approved: Check = ({ slice, approval }, to) => {
  if (approval === null || approval.by.length >= approval.needed) return null
  const { plan, needed, others, by, own } = approval
  const persons = `${needed} ${others ? 'other ' : ''}${needed === 1 ? 'person' : 'persons'}`
  const far = by.length === 0 ? 'nobody has' : `so far only ${by.join(', ')}`
  const yours = own ? "; one's own approval doesn't count" : ''
  return {
    code: 'APPROVAL',
    message: `${persons} must approve plan ${shortHash(plan)} (cutover.approvals): ${far}${yours}`,
    hint: `they look at it: banyan plan ${slice} ${to}; and say so: banyan approve ${shortHash(plan)}`,
  }
}

const sameDatabases: Check = facts =>
  facts.changedDatabases.map(({ side, was, is }) => {
    const details = [side, was, is, facts.slice]
    const { code, message, hint } = new BanyanError(ABANDON_ERRORS.DATABASE_CHANGED, details)
    return { code, message, hint }
  })

/** A slice that owns no tables has no data to wait for. */
const owning =
  (...checks: Check[]): Check =>
  (facts, to) =>
    facts.ownsTables ? checks.flatMap(check => check(facts, to) ?? []) : null

// prettier-ignore
const TO_OWN: Check[] = [ready, routers, owning(sameDatabases, inStep, heard, lag, verified, answered, writers, noRogue, fingerprint), approved]
const BACK_FROM_MOVED: Check[] = [
  routers,
  owning(sameDatabases, whole, inStep, heard, lag, noRogue, fingerprint),
  approved,
]

const listed: Check = ({ slice, abandoned }) => {
  if (!abandoned) return null
  const details = [slice, abandoned.service, abandoned.why]
  const { code, message, hint } = new BanyanError(ABANDON_ERRORS.ABANDONED, details)
  return { code, message, hint }
}

export const CHECKS: Readonly<Record<Stage, readonly Check[]>> = {
  legacy: [owning(listed)],
  sync: [forwardFrom('legacy', owning(preflight))],
  shadow: [forwardFrom('sync', ready, owning(sameDatabases, inStep, heard))],
  canary: [
    forwardFrom('shadow', ready, owning(sameDatabases, inStep, heard)),
    forwardFrom('moved', ...BACK_FROM_MOVED),
  ],
  moved: TO_OWN,
  retired: [],
}

/** The same stage is reached from both sides, and the ways back ask for less. */
function forwardFrom(from: Stage, ...checks: Check[]): Check {
  return (facts, to) =>
    facts.stage === from ? checks.flatMap(check => check(facts, to) ?? []) : null
}

function seconds(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`
}

function hours(ms: number): string {
  return ms < 3_600_000 ? `${Math.round(ms / 60_000)} min` : `${Math.round(ms / 3_600_000)} h`
}

/** An application may call itself anything. */
function yamlKey(name: string): string {
  return /^[a-z_][\w.*-]*$/i.test(name) ? name : JSON.stringify(name)
}
