/** Acks of routers, as a flip waits for them. */
import t from 'tap'
import { acknowledged, drain } from '../../control/cutover-steps.ts'
import { pause } from '../../model/pause.ts'

/** A store in which the ack arrives while the first reading, which doesn't have it yet, is on its way. */
function worldOf() {
  const listeners = new Set<() => void>()
  let readings = 0
  const query = async (text: string): Promise<{ rows: unknown[] }> => {
    if (!text.includes('banyan.router')) return { rows: [] }
    readings += 1
    if (readings > 1) return { rows: [] }
    for (const tell of listeners) tell()
    return { rows: [{ address: 'a router', about: 'a router' }] }
  }
  const client = { query }
  return {
    readings: () => readings,
    run: {
      store: { pool: client },
      // Only a notification ends this wait.
      ear: { heard: () => new Promise<void>(resolve => listeners.add(resolve)) },
      ...{ legacy: client, service: client, from: 'legacy', applyRoles: {} },
      ...{ slice: 'visits', epoch: 1, version: 7, budget: { drainMs: 60_000, quietMs: 0 } },
      signal: new AbortController().signal,
      now: () => performance.now(),
      sleep: pause,
    },
  }
}

void t.test('an ack that comes while the acks are read is heard', async t => {
  for (const wait of [drain, (run: never) => acknowledged(run, 60_000)]) {
    const { run, readings } = worldOf()
    const late = pause(2_000).then(() => 'late')
    t.equal(await Promise.race([wait(run as never), late]), undefined)
    t.equal(readings(), 2)
  }
})
