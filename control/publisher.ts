/** Gives routers their orders: one table at a time, each with a higher version, stored before anybody hears of it. */
import type { Project } from '../model/project.ts'
import type { Stage } from '../model/stage.ts'
import type { OrdersPort } from './cutover-run.ts'
import { type Lease, mustLead } from './lease.ts'
import { buildOrders, type Hold } from './orders.ts'
import { storeOrders } from './store/orders.ts'
import { readSlices, setStage } from './store/slices.ts'
import { type Store, transact } from './store/store.ts'

export class Publisher implements OrdersPort {
  readonly #store: Store
  readonly #lease: Pick<Lease, 'holder'>
  readonly #project: () => Project
  /** Slices on hold: several may be in mid-flip at once. */
  readonly #holds = new Map<string, Hold>()
  /** Tables are built from the facts, so two at a time could overtake each other. */
  #last: Promise<unknown> = Promise.resolve()

  constructor(options: { store: Store; lease: Pick<Lease, 'holder'>; project: () => Project }) {
    this.#store = options.store
    this.#lease = options.lease
    this.#project = options.project
  }

  async hold(slice: string, epoch: number, holdMs: number): Promise<number> {
    this.#holds.set(slice, { slice, epoch, holdMs })
    return this.#publish()
  }

  async release(slice: string): Promise<number> {
    this.#holds.delete(slice)
    return this.#publish()
  }

  async move(slice: string, to: Stage, percent: number, epoch: number | null): Promise<number> {
    this.#holds.delete(slice)
    return this.#publish({ slice, stage: to, percent, epoch: epoch ?? undefined })
  }

  /** The table of the files and facts as they are now. */
  async refresh(): Promise<number> {
    return this.#publish()
  }

  /** Throws LEASE_LOST: a controller that stood still would publish what was true when it stopped. */
  #publish(change?: {
    slice: string
    stage: Stage
    percent: number
    epoch: number | undefined
  }): Promise<number> {
    const next = this.#last.then(() =>
      transact(this.#store, change ? ['orders', 'slice'] : ['orders'], async client => {
        await mustLead(client, this.#lease)
        if (change) await setStage(client, change.slice, change)
        const facts = await readSlices(client)
        return storeOrders(client, buildOrders(this.#project(), facts, [...this.#holds.values()]))
      }),
    )
    this.#last = next.catch(() => undefined)
    return next
  }
}
