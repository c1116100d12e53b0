/** A project folder for a moving slice, and commands run against it as a person runs them. */
import { readFile, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { resolve } from 'node:path'
import type { Test } from 'tap'
import type { Context, ExitCode } from '../../scripts/context.ts'
import type { WantedStage } from '../../model/slice-file.ts'
import { lengthOf } from '../../scripts/table.ts'
import { until } from './flipping.ts'
import type { MovingSlice } from './moving-slice.ts'

export interface Screen {
  readonly exit: ExitCode
  readonly text: string
  readonly lines: readonly string[]
}

export interface Project {
  /** Path of its banyan.yaml. */
  readonly config: string
  /** Changes one of its files; returns how to bring the old text back. */
  readonly edit: (file: string, change: (text: string) => string) => Promise<() => Promise<void>>
  /** Makes the slice's file, and the controller's, want a stage. */
  readonly want: (stage: WantedStage) => Promise<void>
  /** Runs a command; its lines fit the columns, or the test fails. */
  readonly run: (
    command: (context: Context) => Promise<ExitCode>,
    options?: Partial<Pick<Context, 'json' | 'color' | 'columns' | 'signal' | 'write'>>,
  ) => Promise<Screen>
}

/** Waits until the controller has taken its lease and knows the slice. */
export async function controllerOf(moving: MovingSlice): Promise<void> {
  await until(moving, 'a controller', async () => {
    const { rows } = await moving.store.pool.query('SELECT 1 FROM banyan.controller, banyan.slice')
    return rows.length > 0
  })
}

/** Writes the files of `moving` into a folder, with URLs behind `file:` references. `change`: on slices/visits.yaml. */
export async function projectOf(
  t: Test,
  moving: MovingSlice,
  change: (text: string) => string = text => text,
): Promise<Project> {
  const { wiring, store } = moving
  const { legacy, services } = wiring.project.banyan
  const urls = (name: string, from: { setup: string; apply: string; capture: string }) =>
    Object.fromEntries(Object.entries(from).map(([role, url]) => [`${name}-${role}.url`, url]))
  const place = (name: string) =>
    `{ setup: file:${name}-setup.url, apply: file:${name}-apply.url, capture: file:${name}-capture.url }`
  const banyan = `version: 1
legacy: { url: ${legacy.url}, database: ${place('legacy')} }
services: { rooms: { url: ${services['rooms']!.url}, database: ${place('rooms')}, copies: [doctors] } }
control: { database: file:control.url }
`
  const slice = `${wiring.sources.slices.get('visits')!.text}canary: { by: [cookie:sid] }\n`
  const folder = t.testdir({
    'banyan.yaml': banyan,
    slices: { 'visits.yaml': change(slice) },
    'control.url': wiring.control,
    ...urls('legacy', wiring.legacy),
    ...urls('rooms', wiring.services['rooms']!),
  })
  const config = resolve(folder, 'banyan.yaml')
  // The controller of the test has its files in memory: say that they are these.
  await store.pool.query('UPDATE banyan.controller SET config_path = $1, host = $2', [
    config,
    hostname(),
  ])
  const edit = async (file: string, change: (text: string) => string) => {
    const path = resolve(folder, file)
    const before = await readFile(path, 'utf8')
    await writeFile(path, change(before))
    return () => writeFile(path, before)
  }
  const want = async (stage: WantedStage): Promise<void> => {
    moving.want(stage)
    await edit('slices/visits.yaml', text => text.replace(/^stage: .*$/m, `stage: ${stage}`))
  }
  return { config, edit, want, run: (command, options) => runScreen(t, config, command, options) }
}

export async function runScreen(
  t: Test,
  config: string,
  command: (context: Context) => Promise<ExitCode>,
  options: Parameters<Project['run']>[1] = {},
): Promise<Screen> {
  let text = ''
  const context: Context = {
    config,
    json: false,
    color: false,
    columns: 80,
    actor: 'tester@here',
    signal: new AbortController().signal,
    write: part => (text += part),
    self: 'banyan',
    ...options,
  }
  const exit = await command(context)
  const lines = text.trimEnd().split('\n')
  if (!context.json) {
    const wide = lines.filter(line => lengthOf(line) > Math.min(100, context.columns))
    t.same(wide, [], `no line is wider than ${context.columns} columns`)

    if (!context.color) t.notMatch(text, /\u001b/, 'no colors where none are wanted')
  }
  return { exit, text, lines }
}

/** A problem and its hint in one line, however wide the screen was. */
export function flat(text: string): string {
  return text.replace(/\n {2}(?! )/g, ' ')
}
