/** `banyan run router`: the façade as a process. It goes on by its last orders while the control database is away. */
import { ordersByLegacy } from '../control/orders-by-legacy.ts'
import { RouterLink, StreamFreshness } from '../control/router-link.ts'
import { keepIdentityKey } from '../control/store/identity.ts'
import { buildOrders } from '../control/orders.ts'
import { BanyanError } from '../model/errors.ts'
import { POSTGRES_ERRORS } from '../model/errors-postgres.ts'
import { pool } from '../postgres/connection.ts'
import { newIdentityKey } from '../router/identity.ts'
import { createRouter, type Router, type RouterOptions } from '../router/server.ts'
import { staticControl } from '../router/static-control.ts'
import type { Context } from './context.ts'
import { askControl, openStore } from './control-store.ts'
import type { PartOptions } from './run.ts'
import { openProject, wiringOfPart } from './wiring.ts'

/** Sessions that ask legacy how far it has come, for read-your-writes. */
const TOKEN_SESSIONS = 4

export async function runRouter(context: Context, { log, ready }: PartOptions): Promise<void> {
  const wiring = await wiringOfPart(context.config, log)
  await askControl(wiring.control)
  await using opened = openStore(wiring.control)
  const { store, ear } = opened
  let address = ''
  const url = wiring.legacy.capture
  const legacy = pool({ url, applicationName: 'banyan router', max: TOKEN_SESSIONS })
  const before = () => ordersByLegacy(legacy, wiring.project)
  await using link = new RouterLink({ store, ear, address: () => address, before })
  try {
    const freshness = new StreamFreshness(store, legacy)
    const identityKey = await keepIdentityKey(store, newIdentityKey)
    // A port that answers 503 to everything would be sent clients by whatever balances the load.
    const first = await link.first(context.signal)
    if (!first) return
    // A control database that was made anew gets the key back from whoever still has it.
    ear.on(topic => {
      if (topic !== 'all' && topic !== 'orders') return
      void keepIdentityKey(store, () => Promise.resolve(identityKey)).catch(() => undefined)
    })
    const listen = listenOf(wiring.project.banyan.router.listen)
    await using router = await openRouter({
      ...{ control: link, first, freshness, identityKey, log, listen },
    })
    address = router.address.url
    ready({ url: address })
    const reading = freshness.run(() => link.current, context.signal)
    await router.run(context.signal)
    await reading
  } finally {
    await legacy.end()
  }
}

/** The façade alone, every slice at legacy: no database is asked anything. */
export async function runRouterOnly(
  context: Context,
  { log, ready }: Pick<PartOptions, 'log' | 'ready'>,
): Promise<void> {
  const { project } = await openProject(context.config)
  const orders = { version: 1, ...buildOrders(project, [], []) }
  const nothing = {
    token: () => Promise.reject(new Error('no database')),
    watermark: () => undefined,
  }
  await using router = await openRouter({
    control: staticControl(orders),
    first: orders,
    freshness: nothing,
    identityKey: await newIdentityKey(),
    log,
    listen: listenOf(project.banyan.router.listen),
  })
  ready({ url: router.address.url })
  await router.run(context.signal)
}

async function openRouter(options: RouterOptions): Promise<Router> {
  try {
    return await createRouter(options)
  } catch (error) {
    const { host, port } = options.listen
    if ((error as { code?: string }).code !== 'EADDRINUSE') throw error
    throw new BanyanError(POSTGRES_ERRORS.PORT_IN_USE, [port, host], { cause: error })
  }
}

function listenOf(text: string): { host: string; port: number } {
  const colon = text.lastIndexOf(':')
  const host = text.slice(0, colon).replace(/^\[(.*)\]$/, '$1')
  return { host, port: Number(text.slice(colon + 1)) }
}
