/** The files of the example in docs/config.md, as texts, and small ways to load variants of them. */
import type { Diagnostic } from '../../model/diagnostic.ts'
import { loadProject } from '../../model/project.ts'
import type { LoadedProject, ProjectTexts } from '../../model/project.ts'

export const BANYAN_YAML = `# banyan.yaml
version: 1
legacy:
  url: http://127.0.0.1:3000
  database: env:LEGACY_DATABASE_URL
  aliases: express            # which spellings of a path this framework treats as one
services:
  scheduling: { url: http://127.0.0.1:4001, database: env:SCHEDULING_DATABASE_URL, copies: [patients, practitioners] }
  people:
    url: https://people.internal
    database:
      setup: file:/run/secrets/people-setup
      apply: file:/run/secrets/people-apply
      capture: file:/run/secrets/people-capture
identity: { cookie: clinic_sid, whoami: GET /internal/whoami }   # asked once per session
control: { database: embedded }          # or: env:BANYAN_DATABASE_URL
capture: direct
router:  { listen: 127.0.0.1:8080 }
`

export const APPOINTMENTS_YAML = `# slices/appointments.yaml
service: scheduling
stage: canary
routes:
  - GET /api/appointments/**
  - POST /api/appointments
  - PATCH,DELETE /api/appointments/:id
tables:
  appointments: { to: appointment, columns: { practitioner_id: doctor_id } }
foreignKeys:                             # what \`banyan lint\` asks for
  appointments.patient_id: copy
  prescriptions.appointment_id: loose
triggers: { appointments_touch: skip }
canary: { by: [header:x-tenant-id, cookie:clinic_sid], percent: 5, include: [header:x-beta=1] }
cutover: { holdMs: 2000, maxHeld: 500, maxHeldBodyBytes: 262144 }
`

export const PATIENTS_YAML = `service: people
stage: sync
routes: ['GET,POST /api/patients', 'GET,PATCH,DELETE /api/patients/:id']
tables: { patients: { to: patient } }
`

/** The example with other texts for some of its files; slices by name. */
export function texts(
  change: { readonly banyan?: string; readonly slices?: Readonly<Record<string, string>> } = {},
): ProjectTexts {
  const slices = change.slices ?? { appointments: APPOINTMENTS_YAML, patients: PATIENTS_YAML }
  return {
    banyan: { file: 'banyan.yaml', text: change.banyan ?? BANYAN_YAML },
    slices: Object.entries(slices).map(([name, text]) => ({ file: `slices/${name}.yaml`, text })),
  }
}

export function load(change: Parameters<typeof texts>[0] = {}): LoadedProject {
  return loadProject(texts(change))
}

/** `slices/appointments.yaml:3:8 VALUE_UNKNOWN`, one for each. */
export function brief(diagnostics: readonly Diagnostic[]): string[] {
  return diagnostics.map(one => `${one.file}:${one.line}:${one.column} ${one.code}`)
}

/** A text with one part replaced; the part must be there, or a test would test nothing. */
export function swap(text: string, part: string, by: string): string {
  if (!text.includes(part)) throw new Error(`not in the text: ${part}`)
  return text.replace(part, () => by)
}
