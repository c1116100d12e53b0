/** The clinic with Banyan in front of it, as `npm start` has it, small enough for a test. */
import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Test } from 'tap'
import type { Context } from '../../scripts/context.ts'
import { type Environment, openEnvironment } from '../../scripts/demo/environment.ts'
import type { EnvironmentWanted } from '../../scripts/demo/environment.ts'
import { dataRoot } from './data-root.ts'

export interface TestContext extends Context {
  /** All that was printed. */
  readonly said: () => string
}

export function testContext(config: string, options: { json?: boolean } = {}): TestContext {
  let text = ''
  return {
    ...{ config, json: options.json ?? false, color: false, columns: 80, self: 'banyan' },
    actor: 'tester@here',
    signal: new AbortController().signal,
    write: more => (text += more),
    said: () => text,
  }
}

/** Gone with the test. */
export async function clinic(
  t: Test,
  wanted: Partial<Omit<EnvironmentWanted, 'folder'>> = {},
): Promise<{ environment: Environment; context: TestContext }> {
  // Not under the project: PostgreSQL's user may have no way there.
  const folder = await mkdtemp(join(await dataRoot(), 'banyan-test-clinic-'))
  const context = testContext(join(folder, 'banyan.yaml'))
  const environment = await openEnvironment(context, {
    folder,
    size: { patients: 400, appointments: 4_000 },
    load: { reads: 60, writes: 30, seed: 1 },
    ports: 'any',
    enough: { compared: 40, canaryReads: 15 },
    ...wanted,
  })
  t.teardown(async () => {
    await environment[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })
  return { environment, context }
}
