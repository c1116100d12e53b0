#!/usr/bin/env node
/** The command `banyan`: reads the command line, calls one file per command, and turns what it says into an exit code. */
import { existsSync, realpathSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { Command, CommanderError } from 'commander'
import { BanyanError } from '../model/errors.ts'
import { CONTROL_ERRORS } from '../model/errors-control.ts'
import { contextOf, fail, type Context, type ExitCode } from './context.ts'
import { DEMO_CONFIG } from './folders.ts'

interface Globals {
  /** A project is about to be made: what was started here before is another one. */
  readonly fresh?: boolean
  readonly config?: string
  readonly json?: boolean
}

const PROJECT = 'banyan.yaml'

type Run = (context: Context) => Promise<ExitCode>

const HELP = `Move a monolith to services, one slice at a time.
banyan <command> [--json] [--config banyan.yaml]

Learn  init  explain <METHOD> <path>
Check  lint  doctor [slice]  plan <slice>  rehearse <slice>  verify <slice>
Move   flip <slice> [stage]  back <slice>  pause  release  approve <plan>
Look   status [-w]  why <slice>  journal [slice]
Run    up  run router|sync|control  demo  migrate  uninstall

Start: banyan demo (no monolith needed) or banyan init
Exit:  0 done · 2 usage · 3 refused · 5 a person must decide
       4 not done (timed out, stopped waiting): nothing is left half done
More:  banyan <command> --help
`

/** Runs one command line; resolves to its exit code. */
export async function main(args: readonly string[]): Promise<ExitCode> {
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      if (stop.signal.aborted) process.exit(130)
      stop.abort()
    })
  }
  // Whoever read what we print has had enough: there is nobody to tell.
  process.stdout.on('error', error => {
    if ((error as NodeJS.ErrnoException).code === 'EPIPE') process.exit(0)
    throw error
  })
  // Whoever started us and watches us is gone: nobody would stop us any more.
  process.on('disconnect', () => stop.abort())
  // Listening must not keep a command alive that has nothing left to do.
  process.channel?.unref()
  let exit: ExitCode = 0
  const contextFor = (globals: Globals): Context =>
    contextOf({
      config: globals.config ?? (globals.fresh ? PROJECT : defaultConfig()),
      json: globals.json ?? false,
      signal: stop.signal,
      self: selfOf(globals.config),
    })
  const program = commands(async (globals, run) => {
    const context = contextFor(globals)
    exit = await run(context).catch((error: unknown) => fail(context, error))
  })
  program.version(await packageVersion(), '-v, --version')
  try {
    await program.parseAsync([...args], { from: 'user' })
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    if (error.exitCode === 0) return 0
    const [said = '', ...more] = error.message.replace(/^error: /, '').split('\n')
    const meant = more.map(each => each.replace(/^\((.*)\)$/, ': $1')).join('')
    const known = program.commands.find(each => args.includes(each.name()))
    const details = [`${said}${meant}`, known ? `${known.name()} ` : '']
    const json = args.includes('--json')
    return fail(contextFor({ json }), new BanyanError(CONTROL_ERRORS.USAGE, details))
  }
  return exit
}

/** The files in this folder, else those of the demo that was started here. */
function defaultConfig(): string {
  return !existsSync(PROJECT) && existsSync(DEMO_CONFIG) ? DEMO_CONFIG : PROJECT
}

function selfOf(config: string | undefined): string {
  const name = process.env['npm_command'] === undefined ? 'banyan' : 'npx banyan'
  return config === undefined ? name : `${name} --config ${relative('.', config) || config}`
}

async function packageVersion(): Promise<string> {
  const text = await readFile(join(import.meta.dirname, '../../package.json'), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}

function commands(start: (globals: Globals, run: Run) => Promise<void>): Command {
  const program = new Command('banyan')
  program.exitOverride().enablePositionalOptions(false)
  // What it would print itself has neither a code nor the next command.
  program.showSuggestionAfterError().configureOutput({ writeErr: () => undefined })
  program.helpInformation = () => HELP
  /** One command; `--json` and `--config` may stand before or after its name. */
  const command = (usage: string, about: string): Command =>
    program
      .command(usage)
      .description(about)
      .option('--config <file>', 'the project (default: ./banyan.yaml, else the demo started here)')
      .option('--json', 'one JSON document instead of a text')
      .exitOverride()
  const act =
    <A extends unknown[]>(run: (context: Context, ...args: A) => Promise<ExitCode>) =>
    async (...args: unknown[]) => {
      const self = args.at(-1) as Command
      const rest = args.slice(0, -1) as A
      const fresh = self.name() === 'init'
      await start({ ...program.opts<Globals>(), ...self.opts<Globals>(), fresh }, context =>
        run(context, ...rest),
      )
    }
  program.option('--config <file>').option('--json')

  command('init', 'look at your monolith and its database, reading only, and write the first files')
    .requiredOption('--url <url>', 'where the monolith answers: http://his:8080')
    .option('--database <reference>', 'where the URL of its database is: env:HIS_URL or file:PATH')
    .option(
      '--service <name=url...>',
      'a service; its database is looked for in <NAME>_DATABASE_URL',
    )
    .option('--force', 'write over what is there; secrets keep their passwords')
    .action(
      act(async (context, options: InitOptions) =>
        (await import('./init.ts')).runInit(context, options),
      ),
    )

  command('lint', 'check banyan.yaml and slices/*.yaml; needs no database').action(
    act(async context => (await import('./lint.ts')).runLint(context)),
  )
  command('plan', 'what a flip would do now, and what stands in its way; moves nothing')
    .argument('<slice>')
    .argument('[stage]', 'default: the next one; at moved: the way back, canary')
    .action(
      act(async (context, slice: string, stage: string | undefined) =>
        (await import('./plan.ts')).runPlan(context, slice, stage),
      ),
    )
  command('flip', 'move a slice to its next stage, or to the one you name')
    .argument('<slice>')
    .argument('[stage]', 'sync, shadow, canary, moved, or a stage to go back to')
    .option('--percent <n>', 'at canary: part of the keys whose reads go to the service')
    .option('--reason <text>', 'for the journal')
    .action(
      act(async (context, slice: string, stage: string | undefined, options: FlipOptions) =>
        (await import('./flip.ts')).runFlip(context, slice, stage, options),
      ),
    )
  command('back', 'the brake: take a slice back now, whatever its file says, until it is released')
    .argument('<slice>')
    .argument('[stage]', 'default: the stage before')
    .option('--reason <text>', 'for the journal')
    .option('--abandon', 'without what its service has stored and legacy has not: asks twice')
    .option('--yes-lose-writes <slice>', 'the second answer, where nobody is there to be asked')
    .option('--proof <text>', 'how you know that its database can not come back writable')
    .action(
      act(async (context, slice: string, stage: string | undefined, options: BackOptions) =>
        options.abandon
          ? (await import('./back-abandon.ts')).runAbandon(context, slice, stage, options)
          : (await import('./back.ts')).runBack(context, slice, stage, options),
      ),
    )
  command('pause', 'keep a slice where it stands: no flip of it begins, until it is released')
    .argument('<slice>')
    .option('--reason <text>', 'for the journal')
    .action(
      act(async (context, slice: string, options: FlipOptions) =>
        (await import('./pause.ts')).runPause(context, slice, options),
      ),
    )
  command('approve', 'say yes to a plan, by the hash that plan or status shows')
    .argument('<plan>')
    .option('--reason <text>', 'for the journal')
    .action(
      act(async (context, plan: string, options: FlipOptions) =>
        (await import('./approve.ts')).runApprove(context, plan, options),
      ),
    )
  command('rehearse', 'the pause of the next flip that moves the owner, for real; nothing moves')
    .argument('<slice>')
    .option('--reason <text>', 'for the journal')
    .action(
      act(async (context, slice: string, options: FlipOptions) =>
        (await import('./rehearse.ts')).runRehearse(context, slice, options),
      ),
    )
  command('release', 'take the brake off, or end a pause: the slice follows its file again')
    .argument('<slice>')
    .action(
      act(async (context, slice: string) =>
        (await import('./release.ts')).runRelease(context, slice),
      ),
    )
  command('verify', "compare a slice's two sides row by row")
    .argument('<slice>')
    .action(
      act(async (context, slice: string) =>
        (await import('./verify.ts')).runVerify(context, slice),
      ),
    )
  command(
    'doctor',
    'look at databases, roles and tables: what keeps a slice from moving, what changed',
  )
    .argument('[slice]', 'default: all of them, and every database')
    .option('--accept', 'take what is there now as right: writes round the gate, changed tables')
    .option(
      '--rebuild-control',
      'make a lost control database again from legacy and services; for all slices',
    )
    .action(
      act(async (context, slice: string | undefined, options: DoctorOptions) =>
        (await import('./doctor.ts')).runDoctor(context, slice, options),
      ),
    )
  command('status', 'where every slice stands (want → is), its streams, and what needs you')
    .argument('[slice]')
    .option('-w, --watch', 'again every second, until Ctrl-C')
    .action(
      act(async (context, slice: string | undefined, options: { watch?: boolean }) =>
        (await import('./status.ts')).runStatus(context, slice, options.watch ?? false),
      ),
    )
  command('why', 'why a slice stands where it does: last flip, brake, streams, differences')
    .argument('<slice>')
    .action(
      act(async (context, slice: string) => (await import('./why.ts')).runWhy(context, slice)),
    )
  command('explain', 'where a request would go, and why')
    .argument('<method>')
    .argument('<path>')
    .option('-H, --header <line...>', 'as in: -H "cookie: clinic_sid=…"')
    .action(
      act(async (context, method: string, path: string, options: { header?: string[] }) =>
        (await import('./explain.ts')).runExplain(context, method, path, options.header ?? []),
      ),
    )
  command('journal', 'what was decided, by whom, why, and how it ended; newest last')
    .argument('[slice]')
    .option('-n, --lines <n>', 'so many entries', '20')
    .action(
      act(async (context, slice: string | undefined, options: { lines: string }) =>
        (await import('./journal.ts')).runJournal(context, slice, options.lines),
      ),
    )
  command('migrate', 'bring the schema `banyan` up to date in all databases')
    .option('--check', 'only say what is missing; exit 3 if anything is')
    .option('--roles <database>', 'print the SQL that makes the three roles: legacy or a service')
    .action(
      act(async (context, options: MigrateOptions) =>
        (await import('./migrate.ts')).runMigrate(context, options),
      ),
    )
  command(
    'uninstall',
    'take all of it out of legacy and the services; every slice must be at legacy',
  )
    .option('--with-control', 'and out of the control database, journal and all; no part may run')
    .action(
      act(async (context, options: UninstallOptions) =>
        (await import('./uninstall.ts')).runUninstall(context, options),
      ),
    )
  command(
    'up',
    'run everything here: router, sync, control, and a control database if none is named',
  )
    .option('--router-only', 'only the façade in front of legacy; no database is touched')
    .action(
      act(async (context, options: { routerOnly?: boolean }) =>
        (await import('./up.ts')).runUp(context, options.routerOnly ?? false),
      ),
    )
  command('run', 'run one part: router (any number), sync or control (one works, others stand by)')
    .argument('<part>', 'router, sync or control')
    .option('--lag <duration>', 'sync: apply everything this much later, to try things out')
    .action(
      act(async (context, part: string, options: { lag?: string }) =>
        (await import('./run.ts')).runPart(context, part, options.lag),
      ),
    )
  command(
    'demo',
    'a clinic of its own, three databases, live traffic; then a slice moves and comes back',
  )
    .option('--once', 'end after the report: 0 only if everything in it is clean')
    .option('--lag <duration>', 'apply everything this much later: what must hold, holds')
    .option('--sabotage <what>', 'break one thing on purpose: the report must end red')
    .option('--folder <path>', 'where it keeps its data', '.banyan-demo')
    .action(
      act(async (context, options: DemoOptions) =>
        (await import('./demo.ts')).runDemo(context, options),
      ),
    )
  return program
}

export interface InitOptions {
  readonly url: string
  readonly database?: string
  readonly service?: readonly string[]
  readonly force?: boolean
}
export interface FlipOptions {
  readonly percent?: string
  readonly reason?: string
}
export interface DoctorOptions {
  readonly accept?: boolean
  readonly rebuildControl?: boolean
}
export interface BackOptions extends FlipOptions {
  readonly abandon?: boolean
  readonly yesLoseWrites?: string
  readonly proof?: string
}
export interface UninstallOptions {
  readonly withControl?: boolean
}
export interface MigrateOptions {
  readonly check?: boolean
  readonly roles?: string
}
export interface DemoOptions {
  readonly once?: boolean
  readonly lag?: string
  readonly sabotage?: string
  readonly folder: string
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === import.meta.filename) {
  process.exitCode = await main(process.argv.slice(2))
}
