/**
 * The nightly job of every old clinic: it writes appointments straight into the monolith's
 * database, round the façade.
 */
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import pg from 'pg'

const USAGE = `usage: node batch.js --url <database> --mode <mode> --from <id> --to <id>
  plain         marks the booked appointments of the range as missed, in one transaction
  open-across   the same, but ends when told so on stdin: {"cmd":"commit"} or {"cmd":"rollback"}
  late          the same, but its transaction is open before it writes, which it does at {"cmd":"write"}
  around-gate   a superuser who disables the gate (--trigger banyan_gate) around one write
Prints one JSON object a line. Exit: 0 committed, 1 failed, 2 usage, 3 refused by the database.`

type Mode = 'plain' | 'open-across' | 'late' | 'around-gate'

interface Job {
  readonly url: string
  readonly mode: Mode
  /** Appointments from and to which id, both included. */
  readonly from: number
  readonly to: number
  readonly trigger: string
}

// The version stays as it is: the job corrects a status, it doesn't take part in the API's counting
// of changes.
const MARK_MISSED = `UPDATE public.appointments SET status = 'no_show'
  WHERE id BETWEEN $1 AND $2 AND status = 'booked'`
const ROGUE = `UPDATE public.appointments SET status = 'no_show'
  WHERE id = (SELECT min(id) FROM public.appointments WHERE id BETWEEN $1 AND $2)`

const WRITES: Readonly<Record<Mode, (client: pg.Client, job: Job) => Promise<boolean>>> = {
  plain: async (client, job) => {
    await update(client, MARK_MISSED, job)
    return true
  },
  'open-across': async (client, job) => {
    await update(client, MARK_MISSED, job)
    return (await next(commandsOf(), ['commit', 'rollback'])) === 'commit'
  },
  late: async (client, job) => {
    const commands = commandsOf()
    if ((await next(commands, ['write', 'rollback'])) === 'rollback') return false
    await update(client, MARK_MISSED, job)
    return (await next(commands, ['commit', 'rollback'])) === 'commit'
  },
  'around-gate': async (client, job) => {
    const trigger = pg.escapeIdentifier(job.trigger)
    await client.query(`ALTER TABLE public.appointments DISABLE TRIGGER ${trigger}`)
    await update(client, ROGUE, job)
    await client.query(`ALTER TABLE public.appointments ENABLE ALWAYS TRIGGER ${trigger}`)
    return true
  },
}

function print(line: object): void {
  process.stdout.write(JSON.stringify(line) + '\n')
}

async function update(client: pg.Client, sql: string, job: Job): Promise<void> {
  const { rowCount } = await client.query(sql, [job.from, job.to])
  print({ event: 'updated', rows: rowCount ?? 0 })
}

function commandsOf(): AsyncIterator<string> {
  return createInterface({ input: process.stdin })[Symbol.asyncIterator]()
}

/** The end of stdin means that nobody is left to say commit. */
async function next(lines: AsyncIterator<string>, wanted: readonly string[]): Promise<string> {
  for (;;) {
    const line = await lines.next()
    if (line.done) return 'rollback'
    const { cmd } = JSON.parse(line.value) as { cmd?: unknown }
    if (typeof cmd === 'string' && wanted.includes(cmd)) return cmd
    print({ event: 'unknown command', line: line.value })
  }
}

async function run(job: Job): Promise<number> {
  const client = new pg.Client({ connectionString: job.url, application_name: 'noshow-batch' })
  // A connection that is cut while the transaction waits shows at the next statement.
  client.on('error', () => {})
  await client.connect()
  try {
    await client.query('BEGIN')
    print({ event: 'begun', mode: job.mode })
    const commit = await WRITES[job.mode](client, job)
    await client.query(commit ? 'COMMIT' : 'ROLLBACK')
    print({ event: commit ? 'committed' : 'rolled back' })
    return 0
  } catch (error) {
    const { code, message, hint } = error as { code?: string; message: string; hint?: string }
    // Class BNY is the gate's; a job that doesn't know it sees a database that says no, and loses
    // its writes.
    const refused = code?.startsWith('BNY') ?? false
    print({
      event: refused ? 'refused' : 'failed',
      sqlstate: code ?? null,
      message,
      hint: hint ?? null,
    })
    return refused ? 3 : 1
  } finally {
    process.stdin.destroy()
    await client.end().catch(() => {})
  }
}

function jobOf(args: string[]): Job {
  const { values } = parseArgs({
    args,
    options: {
      url: { type: 'string' },
      mode: { type: 'string', default: 'plain' },
      from: { type: 'string', default: '1' },
      to: { type: 'string', default: '20' },
      trigger: { type: 'string', default: 'banyan_gate' },
    },
  })
  const { url, mode, trigger } = values
  if (url === undefined) throw new Error('--url is missing')
  if (!Object.hasOwn(WRITES, mode)) throw new Error(`--mode can't be "${mode}"`)
  const [from, to] = [Number(values.from), Number(values.to)]
  if (!Number.isSafeInteger(from) || !Number.isSafeInteger(to)) {
    throw new Error('--from and --to want whole numbers')
  }
  return { url, mode: mode as Mode, from, to, trigger }
}

function jobOrUsage(): Job {
  try {
    return jobOf(process.argv.slice(2))
  } catch (error) {
    process.stderr.write(
      `batch: ${error instanceof Error ? error.message : String(error)}\n${USAGE}\n`,
    )
    process.exit(2)
  }
}

process.exitCode = await run(jobOrUsage())
