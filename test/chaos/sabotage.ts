/**
 * Breaks one rule of the protocol in a copy of the compiled program, and says where to strike so that it shows. A harness
 * that finds nothing then is worth nothing.
 */
import { cp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Plan, planOf } from './plan.ts'

export interface Sabotage {
  /** Which rule of the protocol is gone. */
  readonly rule: string
  readonly edits: readonly Edit[]
  /** What every seed does; the rest of the plan stays the seed's. */
  readonly strike: Partial<Plan>
}

/** In a file of the compiled program: exactly one place, or the sabotage itself is broken. */
interface Edit {
  readonly file: string
  readonly find: RegExp
  readonly replace: string
}

export const SABOTAGES: Readonly<Record<string, Sabotage>> = {
  'gate-without-lock': {
    rule: 'the gate takes the shared lock before it reads the word (§2)',
    edits: [
      {
        file: 'postgres/gate-install.js',
        find: /^ *PERFORM pg_catalog\.pg_advisory_xact_lock_shared\(.*\n/m,
        replace: '',
      },
    ],
    strike: { step: 'fence', victim: 'router', fault: 'none', releaseMs: 0, downMs: 0 },
  },
  'bare-setval': {
    rule: 'the word moves under the lock, never back, and opens on evidence (§2)',
    edits: [
      {
        file: 'migrations/ownership.js',
        find: /(CREATE FUNCTION banyan\.set_gate\([^$]*\$\$\nDECLARE\n {2}n int := banyan\.number_of\(slice_name\);\n)[\s\S]*?END \$\$;/,
        replace:
          "$1BEGIN PERFORM pg_catalog.setval(pg_catalog.format('banyan.gate_%s', n)::pg_catalog.regclass, 2 * e + 1); END $$$$;",
      },
      // No rule is gone here: the moment in which a process must not be stopped gets longer, so that it is met.
      {
        file: 'postgres/settle.js',
        find: /(!== BigInt\(2 \* epoch\)\)\n *return;\n)/,
        replace: '$1    await new Promise(resolve => setTimeout(resolve, 600));\n',
      },
      // And it doesn't cut its sessions for having slept: nothing but the gate is left.
      {
        file: 'control/cutover-runner.js',
        find: /const SILENT_MS = 3_000/,
        replace: 'const SILENT_MS = 60_000',
      },
    ],
    // Stopped between its last look and the reopening, awake when the next epoch has another owner.
    strike: { step: 'settle', victim: 'controller', fault: 'stop', releaseMs: -200, downMs: 9_000 },
  },
  'ack-before-durable': {
    rule: 'a slot is acknowledged only up to what is durable in the target (§4)',
    edits: [
      {
        file: 'postgres/replication.js',
        find: /this\.#flush\.committed\(event\.position\)/,
        replace: '(this.#flush.committed(event.position), this.#flush.acknowledge(event.position))',
      },
    ],
    strike: { step: 'hold', victim: 'services', fault: 'black-hole', releaseMs: 0, downMs: 2_000 },
  },
  'epoch-only-progress': {
    rule: 'progress is compared with its worker and its position (§4)',
    edits: [
      {
        file: 'sync/apply/writer.js',
        find: /AND worker = \$2 AND position = \$3/,
        replace: 'AND $2::uuid IS NOT NULL AND $3::pg_lsn IS NOT NULL',
      },
      // As where a worker may not end its predecessor's sessions in the target; one transaction at a time shows it sooner.
      {
        file: 'sync/predecessor.js',
        find: /\n *\.\.\.\[sides\.target\.apply, sides\.target\.setup\],/,
        replace: '',
      },
      {
        file: 'sync/apply/applier.js',
        find: /const BATCH_TRANSACTIONS_MAX = \d+/,
        replace: 'const BATCH_TRANSACTIONS_MAX = 1',
      },
      // So that it has read, and not yet written, when it is stopped.
      {
        file: 'sync/apply/applier.js',
        find: /const \{ delayMs, clock, signal \} = this\.#options;/,
        replace: 'const { clock, signal } = this.#options, delayMs = 300;',
      },
    ],
    // Before the hold, while clients write.
    strike: { step: 'hold', victim: 'worker', fault: 'stop', releaseMs: 1_500, downMs: 8_000 },
  },
  'skip-decision': {
    rule: 'one row in legacy decides before anybody opens (§6 step 7)',
    edits: [
      {
        file: 'control/cutover-steps.js',
        find: /const verdict = await gate\.decide\(run\.legacy, run\.slice, run\.epoch, 'PROMOTED'\);/,
        replace:
          "const verdict = 'PROMOTED'; if (run.from === 'service') await gate.decide(run.legacy, run.slice, run.epoch, verdict);",
      },
    ],
    strike: { step: 'publish', victim: 'controller', fault: 'kill', releaseMs: 0 },
  },
  'filter-any-applier': {
    rule: 'a change is dropped only where its own twin brought it (§5)',
    edits: [
      {
        file: 'sync/apply/judge.js',
        find: /if \(mark && mark\.from === stream\.to[^)]*\)/,
        replace: 'if (mark)',
      },
    ],
    strike: { step: 'hold', victim: 'router', fault: 'none', releaseMs: 0, downMs: 0 },
  },
  'reopen-before-abort': {
    rule: 'nobody reopens before ABORTED is committed (§6)',
    edits: [
      {
        file: 'postgres/settle.js',
        find: /const verdict = await decide\(legacy, slice, epoch, 'ABORTED'\);/,
        replace: `await reopen(legacy, slice, epoch); if (service) await reopen(service, slice, epoch);
    await new Promise(resolve => setTimeout(resolve, 400));
    const verdict = await decide(legacy, slice, epoch, 'ABORTED');`,
      },
      {
        file: 'migrations/ownership.js',
        find: /d\.verdict = 'ABORTED'\) THEN\n/,
        replace: "d.verdict = 'ABORTED') AND false THEN\n",
      },
    ],
    strike: { step: 'decide', victim: 'controller', fault: 'lease-lost' },
  },
}

/** The seed's plan, struck where it hurts. */
export function struck(sabotage: Sabotage | undefined, seed: number): Plan {
  const plan = planOf(seed)
  if (!sabotage) return plan
  const { strike } = sabotage
  // Two controllers need a moment to be two.
  const late = strike.releaseMs ?? 150 + Math.abs(plan.releaseMs % 400)
  return { ...plan, ...strike, releaseMs: late }
}

/** A copy of the compiled program in a folder beside it, with the edits. Throws where one doesn't fit any more. */
export async function sabotaged(name: string, sabotage: Sabotage): Promise<string> {
  const wrong = await unfit(sabotage)
  if (wrong.length > 0) throw new Error(`${name}: ${wrong.join(', ')}`)
  const folder = join(COMPILED, `../.build-sabotage-${name}-${process.pid}`)
  await rm(folder, { recursive: true, force: true })
  await cp(COMPILED, folder, { recursive: true })
  for (const { file, find, replace } of sabotage.edits) {
    const text = await readFile(join(folder, file), 'utf8')
    await writeFile(join(folder, file), text.replace(find, replace))
  }
  return folder
}

const COMPILED = join(import.meta.dirname, '../..')

/** Edits that don't have exactly one place; each in words. */
export async function unfit({ edits }: Sabotage): Promise<string[]> {
  const wrong: string[] = []
  for (const { file, find } of edits) {
    const text = await readFile(join(COMPILED, file), 'utf8')
    const places = text.match(new RegExp(find.source, `${find.flags}g`))?.length ?? 0
    if (places !== 1) wrong.push(`${places} places in ${file}`)
  }
  return wrong
}
