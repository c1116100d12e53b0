/** The project: banyan.yaml and all slices/*.yaml as values, or everything that is wrong with them. Takes texts, does no I/O. */
import { BanyanFile, NAME } from './banyan-file.ts'
import { diagnose } from './diagnose.ts'
import type { Diagnosed } from './diagnose.ts'
import { diagnostic, sortDiagnostics } from './diagnostic.ts'
import type { Diagnostic } from './diagnostic.ts'
import { CONFIG_ERRORS } from './errors-config.ts'
import { BanyanError } from './errors.ts'
import type { Aliases } from './orders.ts'
import { claimOf, crossFileProblems } from './project-rules.ts'
import type { CanonicalRoute } from './project-rules.ts'
import { parseRoute } from './route.ts'
import type { Route } from './route.ts'
import { SliceFile } from './slice-file.ts'
import type { Source } from './source.ts'
import { findWritesPercent } from './writes-percent.ts'

export interface FileText {
  /** As messages name it: `slices/appointments.yaml`. */
  readonly file: string
  readonly text: string
}

export interface ProjectTexts {
  readonly banyan: FileText
  /** All files of the folder slices/, in the order of their names. */
  readonly slices: readonly FileText[]
}

export interface Slice extends Omit<SliceFile, 'routes'> {
  /** The file's name without its ending. */
  readonly name: string
  readonly file: string
  readonly routes: readonly Route[]
}

export interface Project {
  readonly banyan: BanyanFile
  /** In the order of their names. */
  readonly slices: readonly Slice[]
}

export interface LoadedProject {
  /** Null where there are diagnostics. */
  readonly project: Project | null
  readonly diagnostics: readonly Diagnostic[]
  /** For whoever wants to point at a place in the files; by slice name. */
  readonly sources: { readonly banyan: Source; readonly slices: ReadonlyMap<string, Source> }
}

/**
 * Parses, validates and cross-checks a whole project. Never throws; says all problems at once.
 * `canonicalOf`: how a framework sees a route, so that lint and router find the same clashes; absent: as it is written.
 */
export function loadProject(
  texts: ProjectTexts,
  canonicalOf: (aliases: Aliases) => CanonicalRoute = () => route => route,
): LoadedProject {
  const banyan = diagnose(texts.banyan, BanyanFile)
  const files = texts.slices.map(text => ({ name: sliceName(text.file), ...readSlice(text) }))
  const claims = files.map(({ name, source }) => claimOf(name, source))
  const diagnostics = sortDiagnostics([
    ...banyan.diagnostics,
    ...files.flatMap(file => [...fileNameProblems(file.source), ...file.diagnostics]),
    ...crossFileProblems(
      banyan.source,
      claims,
      canonicalOf(banyan.value?.legacy.aliases ?? 'strict'),
    ),
  ])
  const slices: Slice[] = []
  for (const { name, source, value } of files) {
    if (!value) continue
    slices.push({ name, file: source.file, ...value, routes: value.routes.map(parseRoute) })
  }
  const whole = banyan.value && diagnostics.length === 0
  return {
    project: whole ? { banyan: banyan.value, slices } : null,
    diagnostics,
    sources: {
      banyan: banyan.source,
      slices: new Map(files.map(({ name, source }) => [name, source])),
    },
  }
}

/** The project of a load that found nothing wrong. Throws BanyanError CONFIG_INVALID. */
export function requireProject({ project, diagnostics }: LoadedProject): Project {
  if (project) return project
  const found = `${diagnostics.length} problem${diagnostics.length === 1 ? '' : 's'}`
  throw new BanyanError(CONFIG_ERRORS.CONFIG_INVALID, [found])
}

/** Parses and validates one slice file on its own. Never throws. */
export function readSlice(text: FileText): Diagnosed<SliceFile> {
  const { source, value, diagnostics } = diagnose(text, SliceFile)
  const special = findWritesPercent(source)
  const others = diagnostics.filter(
    one => !special.some(same => same.line === one.line && same.column === one.column),
  )
  const all = sortDiagnostics([...others, ...special])
  return { source, value: all.length === 0 ? value : undefined, diagnostics: all }
}

/** True where the slice moves data, so that its writes move only with the owner. */
export function ownsTables(slice: Pick<SliceFile, 'tables'>): boolean {
  return Object.keys(slice.tables).length > 0
}

/** `slices/appointments.yaml` → `appointments` */
export function sliceName(file: string): string {
  return file.replace(/^.*[/\\]/, '').replace(/\.ya?ml$/i, '')
}

function fileNameProblems(source: Source): Diagnostic[] {
  const base = source.file.replace(/^.*[/\\]/, '')
  const rule = CONFIG_ERRORS.FILE_NAME
  const at = { source, span: { line: 1, column: 1, length: 1 }, rule }
  if (!base.endsWith('.yaml')) return [diagnostic({ ...at, details: [base, 'it ends in .yaml'] })]
  if (NAME.test(sliceName(base))) return []
  const why = 'a to z, 0 to 9 and _, a letter first, at most 31; not `legacy`, not `copies…`'
  return [diagnostic({ ...at, details: [base, why] })]
}
