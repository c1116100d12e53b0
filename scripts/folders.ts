/** Where things lie that Banyan makes beside a project's files. */
import { dirname, join } from 'node:path'

/** The demo's own project, where it was started without another folder. */
export const DEMO_CONFIG = '.banyan-demo/banyan.yaml'

export interface Folders {
  /** Logs, and what the parts need to find each other; beside banyan.yaml, for its owner's eyes only. */
  readonly state: string
  /** The control database's cluster, where banyan.yaml says `embedded`. */
  readonly controlData: string
  /** Holds that cluster's URL while it runs. */
  readonly controlUrl: string
}

export function foldersOf(config: string): Folders {
  const state = join(dirname(config), '.banyan')
  return { state, controlData: join(state, 'control'), controlUrl: join(state, 'control.url') }
}
