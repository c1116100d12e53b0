/** Orders that never change: for a façade without a control plane. */
import { once } from 'node:events'
import type { Orders, RouterControl } from '../model/orders.ts'

export function staticControl(orders: Orders): RouterControl {
  return {
    async *orders(signal) {
      yield orders
      if (!signal.aborted) await once(signal, 'abort')
    },
    async ack() {},
    async report() {},
  }
}
