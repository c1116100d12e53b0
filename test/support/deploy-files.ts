/** The examples in docs/deploy, read: which processes they run, and every command line that they name. */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parse, parseAllDocuments } from 'yaml'

/** Compiled to <package>/<output>/test/support/. */
export const DEPLOY = join(import.meta.dirname, '../../../docs/deploy')

export interface Processes {
  readonly name: string
  /** What stands behind `banyan`. */
  readonly command: readonly string[]
  readonly replicas: number
}

interface ComposeFile {
  services: Record<
    string,
    { image?: string; command?: string[]; deploy?: { replicas?: number }; profiles?: string[] }
  >
}

/** The parts of compose.yaml, in its order, and what runs once before them. */
export async function composed(): Promise<{ parts: Processes[]; once: Processes[] }> {
  const text = await readFile(join(DEPLOY, 'compose.yaml'), 'utf8')
  const { services } = parse(text, { merge: true }) as ComposeFile
  const ours = Object.entries(services).filter(([, { image }]) => image === 'banyan')
  const processes = ours.map(([name, { command = [], deploy, profiles }]) => ({
    ...{ name, command, replicas: deploy?.replicas ?? 1 },
    once: profiles !== undefined,
  }))
  return {
    parts: processes.filter(each => !each.once),
    once: processes.filter(each => each.once),
  }
}

/** The containers of kubernetes.yaml. */
export async function kubernetes(): Promise<Processes[]> {
  const text = await readFile(join(DEPLOY, 'kubernetes.yaml'), 'utf8')
  const found: Processes[] = []
  for (const { kind, metadata, spec } of (parse(text, { merge: true }) as KubernetesList).items) {
    for (const { args } of spec.template?.spec.containers ?? []) {
      found.push({ name: `${kind} ${metadata.name}`, command: args, replicas: spec.replicas ?? 1 })
    }
  }
  return found
}

interface KubernetesList {
  items: {
    kind: string
    metadata: { name: string }
    spec: { replicas?: number; template?: { spec: { containers: { args: string[] }[] } } }
  }[]
}

/** What the units start. `%i` is any of the three parts. */
export async function units(): Promise<Processes[]> {
  const folder = join(DEPLOY, 'systemd')
  const found: Processes[] = []
  for (const name of await readdir(folder)) {
    const text = await readFile(join(folder, name), 'utf8')
    const line = /^ExecStart=\S+ \S+banyan\.js (.+)$/m.exec(text)?.[1] ?? ''
    const parts = line.includes('%i') ? ['router', 'sync', 'control'] : ['']
    for (const part of parts) {
      found.push({ name, command: line.replace('%i', part).split(' '), replicas: 1 })
    }
  }
  return found
}

/** Commands between backticks, or at the head of a line of a code block. */
export function commandsIn(markdown: string): string[][] {
  const spans = [...markdown.matchAll(/`(?:npx )?banyan ([a-z][^`\n]*)`/g)].map(([, text]) => text!)
  const lines = [...markdown.matchAll(/^(?:\$ )?banyan ([a-z].*)$/gm)].map(([, text]) => text!)
  return [...spans, ...lines].map(text => text.split(/\s+(?:#|→).*$/)[0]!.split(/[\s|]+/))
}

/** Every YAML file below docs/deploy, parsed: throws where one isn't YAML. */
export async function yamlFiles(): Promise<string[]> {
  const names = await readdir(DEPLOY, { recursive: true })
  const yaml = names.filter(name => name.endsWith('.yaml'))
  for (const name of yaml) {
    const documents = parseAllDocuments(await readFile(join(DEPLOY, name), 'utf8'), { merge: true })
    for (const { errors } of documents as { errors: Error[] }[]) if (errors[0]) throw errors[0]
  }
  return yaml
}
