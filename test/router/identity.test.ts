/** Who a request speaks for: asked once, signed briefly, believed from nobody else. */
import { createRemoteJWKSet, decodeJwt, jwtVerify } from 'jose'
import t from 'tap'
import {
  IDENTITY_HEADER,
  JWKS_PATH,
  createIdentity,
  newIdentityKey,
} from '../../router/identity.ts'
import { DEFAULT_LIMITS } from '../../router/limits.ts'
import { parseWhoami } from '../../router/whoami.ts'
import type { Claims } from '../../router/whoami.ts'
import { ask, facade, origin } from '../support/facade.ts'
import type { Teardown } from '../support/facade.ts'
import { manualClock } from '../support/manual-clock.ts'
import { ordersOf, sliceOrder } from '../support/router-control.ts'

const PATH = '/api/appointments/1'
const IDENTITY = { cookie: 'clinic_sid', whoami: 'GET /internal/whoami' }

async function stand(t: Teardown, stage: 'moved' | 'canary' = 'moved', limits = {}) {
  const whoami = { status: 200, calls: 0 }
  const legacy = await origin(t, (req, res) => {
    if (req.url === '/api/login') {
      res.setHeader('set-cookie', 'clinic_sid=; Max-Age=0').end()
    } else if (req.url !== '/internal/whoami') res.end('legacy')
    else {
      whoami.calls++
      const sid = /clinic_sid=(\w+)/.exec(req.headers.cookie ?? '')?.[1]
      const status = sid === 'nobody' ? 401 : whoami.status
      res.writeHead(status).end(JSON.stringify({ sub: `user-${sid}`, role: 'nurse' }))
    }
  })
  const service = await origin(t, (_req, res) => res.end('service'))
  const slice = sliceOrder(stage, { percent: 100 })
  const orders = ordersOf(legacy.url, service.url, [slice], { identity: IDENTITY })
  const f = await facade(t, orders, { limits })
  f.freshness.watermarks.set('appointments', 1n)
  const as = (sid: string, headers = {}) =>
    ask(f.port, 'GET', PATH, { headers: { cookie: `x=1; clinic_sid=${sid}`, ...headers } })
  const tokens = () => service.seen.map(req => req.headers[IDENTITY_HEADER])
  return { f, legacy, service, whoami, as, tokens }
}

void t.test('a service gets a short-lived token that the façade’s keys verify', async t => {
  const { f, as, tokens } = await stand(t)
  await as('a')
  const [token] = tokens()
  const keys = createRemoteJWKSet(new URL(JWKS_PATH, f.router.address.url))
  const options = { issuer: 'banyan', audience: 'scheduling', algorithms: ['ES256'] }
  const { payload } = await jwtVerify(String(token), keys, options)
  t.match(payload, { sub: 'user-a', role: 'nurse' })
  t.ok((payload.exp ?? 0) - (payload.iat ?? 0) <= 60)
  await t.rejects(jwtVerify(String(token), keys, { ...options, audience: 'people' }))
  const published = await ask(f.port, 'GET', JWKS_PATH)
  t.notMatch(published.body, /"d":/, 'and no private key')
})

void t.test('the monolith is asked once per session, however many ask at once', async t => {
  const { as, whoami, tokens } = await stand(t)
  await Promise.all([as('a'), as('a'), as('a'), as('b')])
  await as('a')
  t.equal(whoami.calls, 2)
  t.equal(new Set(tokens()).size, 2)
})

void t.test('no session, no token: the service says 401 itself', async t => {
  const { f, as, tokens } = await stand(t)
  await ask(f.port, 'GET', PATH)
  await as('nobody')
  t.strictSame(tokens(), [undefined, undefined])
})

void t.test('a client’s own identity is worth nothing, in any spelling', async t => {
  const { as, service } = await stand(t)
  const evil = 'eyJhbGciOiJub25lIn0.e30.'
  await as('a', {
    'X-Banyan-Identity': evil,
    x_banyan_identity: evil,
    'X-Banyan_Identity': evil,
    connection: `${IDENTITY_HEADER}, keep-alive`,
  })
  const [seen] = service.seen
  const ours = seen?.rawHeaders.filter((_, i, all) => /banyan/i.test(all[i - (i % 2)] ?? ''))
  t.equal(ours?.length, 2, 'one header, ours')
  t.equal(decodeJwt(String(ours?.[1])).sub, 'user-a')
})

void t.test('where nobody can say who it is, a service isn’t asked', async t => {
  const { as, whoami, service } = await stand(t)
  whoami.status = 500
  t.match(await as('a'), { status: 503, headers: { 'x-banyan': 'identity-unavailable' } })
  t.equal(service.seen.length, 0)
  whoami.status = 200
  t.match(await as('a'), { status: 200 }, 'and a failure isn’t remembered')
})

void t.test('at canary legacy answers instead, which needs no token', async t => {
  const { as, whoami } = await stand(t, 'canary')
  whoami.status = 500
  t.match(await as('a'), { status: 200, body: 'legacy' })
})

void t.test('a monolith that doesn’t answer is waited for briefly', async t => {
  const silent = await origin(t, () => {})
  const slice = sliceOrder('moved')
  const orders = ordersOf(silent.url, silent.url, [slice], { identity: IDENTITY })
  const f = await facade(t, orders, { limits: { whoamiMs: 30 } })
  const reply = await ask(f.port, 'GET', PATH, { headers: { cookie: 'clinic_sid=a' } })
  t.match(reply, { status: 503, headers: { 'x-banyan': 'identity-unavailable' } })
})

void t.test('a login or logout is noticed at once', async t => {
  const { f, as, whoami } = await stand(t)
  await as('a')
  await ask(f.port, 'POST', '/api/login', { headers: { cookie: 'clinic_sid=a' } })
  await as('a')
  t.equal(whoami.calls, 2)
})

void t.test('whoami answers that say too much, or nothing, are no identity', async t => {
  const bodies = ['{}', '{"sub":""}', '{"sub":{}}', '[]', 'null', 'x', `"${'x'.repeat(100_000)}"`]
  let next = ''
  const legacy = await origin(t, (_req, res) => res.end(next))
  const orders = ordersOf(legacy.url, legacy.url, [sliceOrder('moved')], { identity: IDENTITY })
  const f = await facade(t, orders)
  for (const [i, body] of bodies.entries()) {
    next = body
    const reply = await ask(f.port, 'GET', PATH, { headers: { cookie: `clinic_sid=s${i}` } })
    t.equal(reply.status, 503, body.slice(0, 20))
  }
  t.throws(() => parseWhoami('whoami'), { code: 'WHOAMI_INVALID' })
})

void t.test('answers and tokens are remembered for their time, and no longer', async t => {
  const clock = manualClock()
  let claims: Claims | null = { sub: 'a' }
  let calls = 0
  const identity = await createIdentity({
    key: await newIdentityKey(),
    ask: async () => {
      calls++
      return claims
    },
    clock,
    limits: { ...DEFAULT_LIMITS, sessionMs: 40_000 },
  })
  const orders = ordersOf('http://l', 'http://s', [], { identity: IDENTITY })
  const token = () => identity.token(orders, 's', 'scheduling')
  const first = await token()
  clock.advance(29_000)
  t.equal(await token(), first)
  clock.advance(2_000)
  t.not(await token(), first, 'a new token long before the old one expires')
  t.equal(calls, 1)
  claims = null
  clock.advance(10_000)
  t.equal(await token(), null)
  t.equal(calls, 2)
  clock.advance(500)
  await token()
  t.equal(calls, 2, '“nobody” is remembered')
  clock.advance(501)
  await token()
  t.equal(calls, 3, 'briefly')
})
