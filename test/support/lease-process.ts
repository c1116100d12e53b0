/** A program that takes the controllers' lease and says so: for tests that stop it, kill it, and let it go on. */
import pg from 'pg'
import { isLeaseLost, mustLead, takeLease } from '../../control/lease.ts'
import { type Store, transact } from '../../control/store/store.ts'

const [url = '', configPath = ''] = process.argv.slice(2)
const store: Store = { url, pool: new pg.Pool({ connectionString: url, max: 1 }) }
store.pool.on('error', () => undefined)
const { signal } = new AbortController()
const say = (word: string): void => void process.send?.(word)

process.on('message', () => {
  const publishing = transact(store, ['orders'], client => mustLead(client, lease))
  publishing.then(
    () => say('published'),
    (error: unknown) => say(isLeaseLost(error) ? 'refused' : String(error)),
  )
})
process.on('disconnect', () => process.exit())
say('begun')
const lease = (await takeLease(store, { configPath, wait: true, signal }))!
say('held')
lease.lost.addEventListener('abort', () => say('lost'))
