/**
 * What a parent may ask of a running load: one JSON object a line on stdin, answered by one on
 * stdout.
 */
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'

export type Command =
  | { readonly cmd: 'mark'; readonly name: string }
  | { readonly cmd: 'pause' | 'resume' | 'pause-window' | 'report' | 'stop' }

/** The command in a line, or a sentence that says what is wrong with it. */
export function parseCommand(line: string): Command | string {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    return 'not JSON'
  }
  const { cmd, name } = (value ?? {}) as { cmd?: unknown; name?: unknown }
  switch (cmd) {
    case 'mark':
      return typeof name === 'string' ? { cmd, name } : 'mark wants a name'
    case 'pause':
    case 'resume':
    case 'pause-window':
    case 'report':
    case 'stop':
      return { cmd }
    default:
      return 'unknown command: mark, pause, resume, pause-window, report or stop'
  }
}

/**
 * Runs the commands one after the other; resolves when the input ends (the parent died) or `run`
 * returns true.
 */
export async function followCommands(options: {
  input: Readable
  run: (command: Command) => Promise<boolean>
  refuse: (line: string, why: string) => void
}): Promise<void> {
  for await (const line of createInterface({ input: options.input })) {
    if (line.trim() === '') continue
    const command = parseCommand(line)
    if (typeof command === 'string') options.refuse(line, command)
    else if (await options.run(command)) return
  }
}
