/** Makes the service the owner of a slice, by the protocol's own functions and the slice's forward stream. */
import { copyDecision, decide, prepare, setGate, takeFence } from '../../../postgres/gate.ts'
import { preparation, type Sides, type TestSlice } from '../../postgres/gate-sides.ts'
import type { Running } from './stream-bed.ts'

/** In epoch 1. `there`: the running stream from legacy to the service. */
export async function promote(
  { legacy, service, system }: Sides,
  slice: TestSlice,
  there: Running,
): Promise<void> {
  const { name } = slice
  const deadlineMs = Date.parse('2100-01-01T00:00:00Z')
  await takeFence(legacy.apply, {
    slice: name,
    epoch: 1,
    deadlineMs,
    legacy: system,
    service: system,
  })
  await there.until('the fence', () => there.fences.includes(1))
  await prepare(service.apply, preparation('service', slice, 1))
  await decide(legacy.apply, name, 1, 'PROMOTED')
  await copyDecision(service.apply, name, 1, 'PROMOTED')
  await setGate(service.apply, name, 1)
}
