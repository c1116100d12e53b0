/** The demo's own project: the clinic's files as they are in the package, with its ports and its secrets. */
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { freePort } from './ports.ts'

/** Compiled to <package>/<output>/scripts/demo/. */
const EXAMPLE = join(import.meta.dirname, '../../../examples/clinic')

export interface DemoPorts {
  readonly monolith: number
  readonly scheduling: number
  readonly people: number
  readonly facade: number
}

/** The usual ports, each replaced by a free one where something else listens there; or any free ones. */
export async function choosePorts(which: 'usual' | 'any'): Promise<DemoPorts> {
  const port = (usual: number): Promise<number> => freePort(which === 'usual' ? usual : 0)
  return {
    monolith: await port(3000),
    scheduling: await port(4001),
    people: await port(4002),
    facade: await port(8080),
  }
}

const DATABASES = ['legacy', 'scheduling', 'people'] as const
export type DemoDatabase = (typeof DATABASES)[number]

export function secretFile(database: DemoDatabase, role: string): string {
  return `secrets/${database}-${role}.url`
}

/** Slices are copied once: what the flips have written into them stays. banyan.yaml is written each time, for its ports. */
export async function writeProject(folder: string, ports: DemoPorts): Promise<string> {
  const config = join(folder, 'banyan.yaml')
  let text = await readFile(join(EXAMPLE, 'banyan.yaml'), 'utf8')
  for (const [from, to] of [
    ['127.0.0.1:3000', `127.0.0.1:${ports.monolith}`],
    ['127.0.0.1:4001', `127.0.0.1:${ports.scheduling}`],
    ['127.0.0.1:4002', `127.0.0.1:${ports.people}`],
    ['127.0.0.1:8080', `127.0.0.1:${ports.facade}`],
  ] as const) {
    text = text.replace(from, to)
  }
  for (const database of DATABASES) {
    const role = (name: string): string => `${name}: file:${secretFile(database, name)}`
    const roles = `{ ${role('setup')}, ${role('apply')}, ${role('capture')} }`
    text = text.replace(`env:${database.toUpperCase()}_DATABASE_URL`, roles)
  }
  await mkdir(join(folder, 'secrets'), { recursive: true, mode: 0o700 })
  await cp(join(EXAMPLE, 'slices'), join(folder, 'slices'), { recursive: true, force: false })
  await writeFile(config, text)
  return config
}
