/** `banyan up`: everything in one process tree on one machine: control database, controller, worker, router. */
import { mkdir, open } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { finished } from 'node:stream/promises'
import pc from 'picocolors'
import { Closers } from '../model/closers.ts'
import type { Project } from '../model/project.ts'
import { countOf } from './amounts.ts'
import { commandLine, type Context, type ExitCode } from './context.ts'
import { type ControlDatabase, openControlDatabase } from './control-cluster.ts'
import { foldersOf } from './folders.ts'
import { fit } from './fit.ts'
import { jsonLog } from './log.ts'
import { type Part, startPart } from './supervise.ts'
import { checkSecrets, openProject } from './wiring.ts'

/** Runs until it is told to stop. Throws what keeps a part from beginning; then nothing is left running. */
export async function runUp(context: Context, routerOnly: boolean): Promise<ExitCode> {
  return routerOnly ? facadeAlone(context) : everything(context)
}

async function facadeAlone(context: Context): Promise<ExitCode> {
  const { project } = await openProject(context.config)
  const { runRouterOnly } = await import('./run-router.ts')
  const { legacy } = project.banyan
  const { state } = foldersOf(context.config)
  await mkdir(state, { recursive: true, mode: 0o700 })
  const path = join(state, 'router.log')
  const logFile = relative('.', path)
  const file = await open(path, 'a', 0o600)
  const lines = file.createWriteStream()
  try {
    await runRouterOnly(context, {
      log: jsonLog('router', text => void lines.write(text)),
      ready({ url }) {
        if (context.json)
          return context.write(`${JSON.stringify({ router: url, legacy: legacy.url })}\n`)
        const said = fit(context, [
          `✔ façade ${url} → ${legacy.url}`,
          `  0 slices, no database touched; its log is ${logFile}; stops with Ctrl-C`,
          `next: send a part of your traffic there; then ${commandLine(context, 'lint')}`,
        ])
        context.write(`${said.join('\n')}\n`)
      },
    })
  } finally {
    lines.end()
    await finished(lines)
  }
  return 0
}

async function everything(context: Context): Promise<ExitCode> {
  const opened = await openProject(context.config)
  const { project } = opened
  // Each part would only say that something is missing, and not where.
  await checkSecrets(context.config, opened)
  await using running = await startAll(context, project)
  const { control, router } = running
  if (context.json) {
    const { cluster } = control
    const where = {
      embedded: cluster !== undefined,
      port: cluster?.port,
      dataDir: cluster?.dataDir,
    }
    context.write(`${JSON.stringify({ router: router.url, control: where })}\n`)
  } else context.write(screen(context, project, running))
  await Promise.race([stopped(context.signal), control.cluster?.exited ?? never()])
  if (context.signal.aborted) return 0
  context.write('✖ the control database ended by itself; stopping\n')
  return 4
}

export interface Running extends AsyncDisposable {
  readonly control: ControlDatabase
  /** The first of two: it has the lease until it ends. */
  readonly controller: Part
  readonly standby: Part
  readonly sync: Part
  readonly router: Part
}

/** Starts all parts, each when what it needs is there, and stops them in the opposite order. */
export async function startAll(
  context: Pick<Context, 'config'>,
  project: Project,
  /** For the worker: `--lag`. */
  lag?: string,
): Promise<Running> {
  const closers = new Closers()
  try {
    const control = await openControlDatabase(context.config, project)
    closers.defer(() => control[Symbol.asyncDispose]())
    const start = async (name: string, run: string, ...more: string[]): Promise<Part> => {
      const part = await startPart({
        name,
        script: join(import.meta.dirname, 'banyan.js'),
        args: ['run', run, '--config', context.config, ...more],
        folder: foldersOf(context.config).state,
      })
      closers.defer(() => part[Symbol.asyncDispose]())
      return part
    }
    const controller = await start('control', 'control')
    // A controller that dies in mid-flip leaves requests on hold: its successor must be there before they are given up.
    const standby = await start('standby', 'control')
    const sync = await start('sync', 'sync', ...(lag === undefined ? [] : ['--lag', lag]))
    const router = await start('router', 'router')
    return {
      control,
      controller,
      standby,
      sync,
      router,
      [Symbol.asyncDispose]: () => closers[Symbol.asyncDispose](),
    }
  } catch (error) {
    await closers[Symbol.asyncDispose]()
    throw error
  }
}

function screen(context: Context, project: Project, { control, router }: Running): string {
  const green = pc.createColors(context.color).green
  const { state } = foldersOf(context.config)
  const { cluster } = control
  const database = cluster
    ? `control database :${cluster.port} (PostgreSQL ${cluster.version})`
    : 'control database'
  const lines = [
    `${green('✔')} ${database}  ${green('✔')} control  ${green('✔')} sync`,
    `${green('✔')} façade ${router.url} → ${project.banyan.legacy.url}`,
    `  ${countOf(project.slices.length, 'slice')}; logs in ${relative('.', state) || state}; stops with Ctrl-C`,
    ...(cluster?.movedFrom
      ? [`  data in ${cluster.dataDir}: its user can't reach ${cluster.movedFrom}`]
      : []),
  ]
  return `${fit(context, lines).join('\n')}\nnext: ${commandLine(context, 'status -w')}\n`
}

/** Resolves when the signal aborts. */
export function stopped(signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    if (signal.aborted) resolve()
    signal.addEventListener('abort', () => resolve(), { once: true })
  })
}

function never(): Promise<never> {
  return new Promise(() => undefined)
}
