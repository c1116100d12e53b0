/** A program that takes the controllers' lease and says so: for tests that stop it, kill it, and let it go on. */
import pg from 'pg'
import { isLeaseLost, takeLease } from '../../control/lease.ts'
import { Publisher } from '../../control/publisher.ts'
import type { Store } from '../../control/store/store.ts'
import { must } from '../../model/errors.ts'
import { loadProject } from '../../model/project.ts'

const [url = '', configPath = ''] = process.argv.slice(2)
const store: Store = { url, pool: new pg.Pool({ connectionString: url, max: 1 }) }
store.pool.on('error', () => undefined)
const { signal } = new AbortController()
const say = (word: string): void => void process.send?.(word)

process.on('message', () => {
  publisher.refresh().then(
    () => say('published'),
    (error: unknown) => say(isLeaseLost(error) ? 'refused' : String(error)),
  )
})
process.on('disconnect', () => process.exit())
say('begun')
const lease = (await takeLease(store, { configPath, wait: true, signal }))!
say('held')
const text = 'version: 1\nlegacy: { url: http://127.0.0.1:1, database: env:A }\n'
const { project } = loadProject({ banyan: { file: 'banyan.yaml', text }, slices: [] })
const publisher = new Publisher({ store, lease, project: () => must(project, 'the project') })
lease.lost.addEventListener('abort', () => say('lost'))
