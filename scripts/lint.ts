/** `banyan lint`: everything that is wrong with the files, at once. Needs no database and changes nothing. */
import { jsonText } from './context.ts'
import { renderDiagnostics } from '../model/diagnostic.ts'
import type { Diagnostic } from '../model/diagnostic.ts'
import { readProject } from './project-files.ts'

/** What comes next where there is no slice file. */
export const FIRST_SLICE = `next: write slices/<name>.yaml for the first part that moves: service, stage,
  routes, tables (README.md has one, docs/config.md all keys), then: banyan lint`

export interface LintOptions {
  /** Path of banyan.yaml; slices/ is beside it. */
  readonly config: string
  /** One JSON document instead of a text: `{ ok, slices, diagnostics }`. */
  readonly json: boolean
  readonly color: boolean
  /** Takes the whole output, with its final newline. */
  readonly write: (text: string) => void
}

/** Reads, checks and prints. Returns the exit code: 0 nothing found, 2 something. Throws BanyanError CONFIG_MISSING. */
export async function runLint(options: LintOptions): Promise<0 | 2> {
  const { texts, diagnostics } = await readProject(options.config)
  const ok = diagnostics.length === 0
  if (options.json) {
    const found = { ok, slices: texts.slices.length, diagnostics }
    options.write(jsonText(found))
  } else if (ok) {
    const slices = countOf(texts.slices.length, 'slice')
    options.write(`✔ ${texts.banyan.file} and ${slices}: nothing wrong\n`)
    if (texts.slices.length === 0) options.write(`${FIRST_SLICE}\n`)
  } else {
    const files = new Set(diagnostics.map(one => one.file)).size
    const total = `✖ ${countOf(diagnostics.length, 'problem')} in ${countOf(files, 'file')}`
    const text = renderDiagnostics(diagnostics.map(withoutNext), options)
    options.write(`${text}\n\n${total}      next: banyan lint\n`)
  }
  return ok ? 0 : 2
}

// Every hint ends in this command. Who has just run it needs to read that once.
function withoutNext(one: Diagnostic): Diagnostic {
  return { ...one, hint: one.hint.replace(/[,;] then run `banyan lint`$/, '') }
}

function countOf(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}
