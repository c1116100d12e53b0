/** The project with its secrets resolved: what processes are made from. */
import type { LoadedProject, Project } from './project.ts'

/** One URL per role (protocol: setup does DDL, apply writes, capture reads the change stream); they may be the same. */
export interface DatabaseUrls {
  readonly setup: string
  readonly apply: string
  readonly capture: string
}

export interface Wiring {
  readonly project: Project
  readonly sources: LoadedProject['sources']
  readonly legacy: DatabaseUrls
  readonly services: Readonly<Record<string, DatabaseUrls>>
  /** The control database. */
  readonly control: string
  readonly configPath: string
}

/** The role that a URL logs in as. */
export function roleOf(url: string): string {
  return decodeURIComponent(new URL(url).username)
}

/** `appointments` → `public.appointments`; a name with a schema stays. */
export function qualified(table: string): string {
  return table.includes('.') ? table : `public.${table}`
}

/** The other way: files leave `public` out. */
export function unqualified(relation: string): string {
  return relation.startsWith('public.') ? relation.slice('public.'.length) : relation
}
