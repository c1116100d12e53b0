/** What every command is given, how it ends, and how it says that something went wrong. */
import { hostname, userInfo } from 'node:os'
import { createInterface } from 'node:readline/promises'
import { type Diagnostic, renderDiagnostics } from '../model/diagnostic.ts'
import { BanyanError } from '../model/errors.ts'
import { CONFIG_ERRORS } from '../model/errors-config.ts'
import { explain } from '../postgres/explain.ts'
import { paintOf, type Problem, problemLines } from './paint.ts'

export type { Problem }

/** 0 done · 2 usage · 3 refused · 4 not done (timed out, stopped waiting): nothing is left half done · 5 a person must decide */
export type ExitCode = 0 | 2 | 3 | 4 | 5

export interface Context {
  /** Path of banyan.yaml. */
  readonly config: string
  /** One JSON document on stdout instead of a text. */
  readonly json: boolean
  readonly color: boolean
  readonly columns: number
  /** Who is asking, for the journal: `name@host`. */
  readonly actor: string
  /** Aborts when the person has had enough (Ctrl-C). */
  readonly signal: AbortSignal
  readonly write: (text: string) => void
  /** Asks the person; only there is one: both ends are a terminal. */
  readonly ask?: ((question: string) => Promise<string>) | undefined
  /** How this command was called, for the next one that is proposed: `npx banyan` or `banyan`, with --config where given. */
  readonly self: string
}

export function contextOf(options: {
  readonly config: string
  readonly json: boolean
  readonly signal: AbortSignal
  readonly self: string
}): Context {
  const { stdin, stdout, env } = process
  return {
    ...options,
    // A pipe has no isTTY at all; undefined would leave it to the library, which paints wherever CI is set.
    color: Boolean(stdout.isTTY) && !options.json && !env['NO_COLOR'],
    columns: stdout.columns ?? 80,
    actor: env['BANYAN_ACTOR'] || `${userName()}@${hostname()}`,
    write: text => void stdout.write(text),
    ...(stdin.isTTY && stdout.isTTY && !options.json && { ask: askOn(options.signal) }),
  }
}

function askOn(signal: AbortSignal): (question: string) => Promise<string> {
  return async question => {
    const line = createInterface({ input: process.stdin, output: process.stdout })
    try {
      return (await line.question(question, { signal })).trim()
    } finally {
      line.close()
    }
  }
}

/** A container may run as a number that has no name. */
function userName(): string {
  try {
    return userInfo().username
  } catch {
    return String(process.getuid?.() ?? 'somebody')
  }
}

/** Files that can't be used, with all that is wrong in them. */
export class FilesInvalid extends BanyanError {
  readonly diagnostics: readonly Diagnostic[]

  constructor(diagnostics: readonly Diagnostic[]) {
    const count = `${diagnostics.length} problem${diagnostics.length === 1 ? '' : 's'}`
    super(CONFIG_ERRORS.CONFIG_INVALID, [count])
    this.diagnostics = diagnostics
  }
}

/** `✖ CODE  message`, and the hint under it, as every command prints what it refuses; wrapped. Ends in a newline. */
export function problemText(context: Pick<Context, 'color' | 'columns'>, problem: Problem): string {
  return `${problemLines(paintOf(context), problem).join('\n')}\n`
}

/** Prints an error and says with which code the command ends. */
export function fail(context: Context, error: unknown): ExitCode {
  const known = explain(error)
  const exit = known instanceof BanyanError ? known.rule.exit : 4
  const diagnostics = known instanceof FilesInvalid ? known.diagnostics : undefined
  const problem = problemOf(known)
  if (context.json) {
    context.write(jsonText({ error: { ...problem, exit, diagnostics } }))
  } else if (diagnostics) {
    context.write(`${renderDiagnostics(diagnostics, context)}\n\n`)
    context.write(problemText(context, problem))
  } else context.write(problemText(context, problem))
  return exit
}

function problemOf(error: Error): Problem {
  if (error instanceof BanyanError) {
    return { code: error.code, message: error.message, hint: error.hint }
  }
  return {
    code: 'UNEXPECTED',
    message: process.env['BANYAN_DEBUG'] ? (error.stack ?? error.message) : error.message,
    hint: 'this is a defect: please report it with the output of the same command under BANYAN_DEBUG=1',
  }
}

/** `banyan flip x`, as it must be typed here. */
export function commandLine(context: Pick<Context, 'self'>, rest: string): string {
  return `${context.self} ${rest}`
}

/** The one document of `--json`. */
export function jsonText(value: object): string {
  return `${JSON.stringify(value, null, 2)}\n`
}
