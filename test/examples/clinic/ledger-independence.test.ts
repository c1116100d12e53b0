/**
 * A ledger that shared code with what it judges could share its mistakes: it imports Node.js, pg
 * and itself.
 */
import { readdir, readFile } from 'node:fs/promises'
import { join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const clinic = fileURLToPath(new URL('../../../examples/clinic/', import.meta.url))
const OWN = /^(?:load|ledger|batch|sabotage)(?:\.js|\/[a-z-]+\.js)$/

await t.test(
  'load, ledger, batch and sabotage import nothing but node, pg and each other',
  async t => {
    const files = (await readdir(clinic, { recursive: true })).filter(file => OWN.test(file))
    for (const expected of ['load.js', 'ledger.js', 'batch.js', 'sabotage.js'])
      t.ok(files.includes(expected))
    for (const file of files) {
      const text = await readFile(join(clinic, file), 'utf8')
      const imports = [...text.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*'([^']+)'/g)].map(
        match => match[1] ?? '',
      )
      const foreign = imports.filter(name => {
        if (name === 'pg' || name.startsWith('node:')) return false
        return (
          !name.startsWith('.') || !OWN.test(relative(clinic, resolve(clinic, file, '..', name)))
        )
      })
      t.strictSame(foreign, [], file)
    }
  },
)
