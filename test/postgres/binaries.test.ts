import { chmod, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { BanyanError } from '../../model/errors.ts'
import { findBinaries } from '../../postgres/binaries.ts'
import { npmPackage } from '../../postgres/binaries-npm.ts'
import { startCluster } from '../../postgres/embedded.ts'
import { mustBeOurs, serverUser } from '../../postgres/server-user.ts'
import { query } from '../support/cluster.ts'

const folder = await mkdtemp('/var/tmp/banyan-try-')
t.teardown(() => rm(folder, { recursive: true, force: true }))
await chmod(folder, 0o755)

void t.test('npm’s programs come first', async t => {
  if (npmPackage() === null) return t.pass('npm brought no PostgreSQL for this machine')
  t.match(await findBinaries(), { source: 'npm', version: /^\d+\.\d+$/ })
})

void t.test('a folder that was named is used or refused, never passed over', async t => {
  const found = await findBinaries()
  const override = found.folder
  t.match(await findBinaries({ override }), { source: 'given', version: found.version })
  await t.rejects(findBinaries({ override: join(folder, 'nothing') }), {
    code: 'BINARIES_MISSING',
    message: /nothing/,
    hint: /npm install[\s\S]*apt-get install postgresql[\s\S]*apk add postgresql[\s\S]*BANYAN_PG_BIN/,
  })
})

void t.test('programs that don’t run, or are too old, say so', async t => {
  for (const name of ['postgres', 'initdb']) {
    const script = `#!/bin/sh\necho '${name} (PostgreSQL) 9.6.24'\n`
    await writeFile(join(folder, name), script, { mode: 0o755 })
  }
  const user = null
  const old = findBinaries({ override: folder, user })
  await t.rejects(old, { code: 'BINARIES_MISSING', message: /9\.6\.24 is too old/ })
})

void t.test('the system’s PostgreSQL will do where npm has none', async t => {
  const system = await findBinaries({ packageFolder: null }).catch((error: unknown) => error)
  if (system instanceof BanyanError) return t.equal(system.code, 'BINARIES_MISSING')
  const binaries = system as Awaited<ReturnType<typeof findBinaries>>
  t.equal(binaries.source, 'system')
  const dataDir = join(folder, 'data')
  const settings = { fsync: 'off' }
  const cluster = await startCluster({ dataDir, name: 'system', binaries, settings })
  t.teardown(() => cluster.stop('immediate'))
  const [row] = await query(cluster.url(), `SELECT version(), current_setting('wal_level') AS wal`)
  t.match(row, { version: new RegExp(binaries.version), wal: 'logical' })
})

void t.test('PATH is searched, through links', async t => {
  const found = await findBinaries()
  const path = join(folder, 'path')
  await symlink(found.folder, path)
  const inPath = await findBinaries({ packageFolder: null, searchPath: `relative:${path}` })
  t.equal(inPath.folder, found.folder)
})

void t.test('root’s server goes to postgres, else to nobody, else to nobody at all', async t => {
  if (process.getuid?.() !== 0) return t.equal(await serverUser(), null, 'we run it ourselves')
  const passwd = join(folder, 'passwd')
  const nobody = 'root:x:0:0::/root:/bin/sh\nnobody:*:-2:-2:macOS:/var/empty:/usr/bin/false\n'
  await writeFile(passwd, nobody)
  t.same(await serverUser(passwd), { name: 'nobody', uid: 4294967294, gid: 4294967294 })
  await writeFile(passwd, `${nobody}postgres:x:101:104::/var/lib/postgresql:/bin/bash\n`)
  t.same(await serverUser(passwd), { name: 'postgres', uid: 101, gid: 104 })
  await writeFile(passwd, 'root:x:0:0::/root:/bin/sh\n')
  await t.rejects(serverUser(passwd), { code: 'SERVER_USER_MISSING' })
})

void t.test('a folder in a shared place that somebody else could have made isn’t used', async t => {
  await t.resolves(mustBeOurs(folder))
  const link = join(folder, 'link')
  await symlink(folder, link)
  await t.rejects(mustBeOurs(link), { code: 'FOLDER_UNSAFE' }, 'a link may point anywhere')
  await t.rejects(mustBeOurs('/var/tmp'), { code: 'FOLDER_UNSAFE' }, 'all may write there')
})
