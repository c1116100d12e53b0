/** `banyan init`, and the way from its files to a green doctor, with nothing but what the administrator has run. */
import { execFile } from 'node:child_process'
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { loadProject } from '../../model/project.ts'
import type { InitOptions } from '../../scripts/banyan.ts'
import { runDoctor } from '../../scripts/doctor.ts'
import { runInit } from '../../scripts/init.ts'
import { banyanText } from '../../scripts/init-files.ts'
import { guessAliases, sessionCookie } from '../../scripts/init-monolith.ts'
import { query, testCluster } from '../support/cluster.ts'
import { flat, runScreen } from '../support/screen.ts'
import { controlDatabase } from '../support/three-roles.ts'

const run = promisify(execFile)

async function listening(t: Test, answer: RequestListener): Promise<string> {
  const server = createServer(answer)
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const environment: string[] = []
function setEnvironment(name: string, value: string): void {
  environment.push(name)
  process.env[name] = value
}
t.teardown(() => {
  for (const name of environment) delete process.env[name]
})

/** As somebody runs it who has the file; without psql on this machine each line is sent as it would send it. */
async function psql(t: Test, url: string, file: string): Promise<void> {
  try {
    await run('psql', [url, '-q', '-v', 'ON_ERROR_STOP=1', '-f', file])
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    t.comment('no psql here')
    for (const line of (await readFile(file, 'utf8')).split('\n')) {
      if (line !== '' && !/^(--|BEGIN;|COMMIT;)/.test(line)) await query(url, line)
    }
  }
}

void t.test('from nothing to a green doctor', async t => {
  // A test's clusters don't wait for the disk, and doctor says so. Nobody else may use up a transaction's number.
  const settings = { wal_level: 'replica', fsync: 'on', autovacuum: 'off' }
  const cluster = await testCluster(t, { settings })
  const passwords = [await cluster.createRole('his_app'), await cluster.createRole('people')]
  const his = await cluster.createDatabase('his')
  await query(
    his,
    'CREATE SCHEMA clinic AUTHORIZATION his_app; GRANT CREATE ON SCHEMA public TO his_app',
  )
  await query(
    cluster.url('his', 'his_app'),
    `CREATE TABLE practitioners (id bigserial PRIMARY KEY, phone text);
     CREATE TABLE clinic.rooms (id bigint PRIMARY KEY);
     CREATE TABLE visits (id bigint, at date) PARTITION BY RANGE (at);
     CREATE TABLE visits_1 PARTITION OF visits DEFAULT`,
  )
  await cluster.createDatabase('people', { owner: 'people' })
  setEnvironment('HIS_URL', cluster.url('his', 'his_app'))
  setEnvironment('PEOPLE_DATABASE_URL', cluster.url('people', 'people'))
  const monolith = await listening(t, (_, answer) => {
    answer.setHeader('set-cookie', ['lang=fr', 'JSESSIONID=the-session; Path=/; HttpOnly'])
    answer.end('hello')
  })
  const service = await listening(t, (_, answer) => answer.end('ready'))
  const folder = t.testdir()
  const config = join(folder, 'banyan.yaml')
  const options: InitOptions = {
    ...{ url: monolith, database: 'env:HIS_URL' },
    service: [`people=${service}`, 'rooms=http://rooms:4000'],
  }
  const init = (more: Partial<InitOptions> = {}, json = false) =>
    runScreen(t, config, context => runInit(context, { ...options, ...more }), { json })
  const secrets = ['legacy', 'people'].flatMap(name =>
    ['setup', 'apply', 'capture'].map(role => join(folder, `secrets/${name}-${role}.url`)),
  )
  const urls = () => Promise.all(secrets.map(file => readFile(file, 'utf8')))

  await t.test('it reads, and says what it saw', async t => {
    const next = async () =>
      (await query(his, 'SELECT txid_snapshot_xmax(txid_current_snapshot())::text AS id'))[0]
    const before = await next()
    const { exit, text, lines } = await init()
    t.same(await next(), before, 'nothing was written in any database')
    t.equal(exit, 0)
    t.match(lines[0], /^✔ monolith answers 200, \d+ ms; cookie JSESSIONID$/)
    t.equal(lines[1], '  aliases: spring (cookie JSESSIONID)')
    t.match(lines[2], /^✔ legacy: PostgreSQL \d+\.\d+, 3 tables of "his_app", \d+(\.\d)? MB$/)
    const said = flat(text)
    t.match(said, 'wal_level replica; free: 20 of 20 slots, 20 of 20 senders; asked as "his_app"')
    t.match(said, /✔ people: PostgreSQL \S+, 0 tables, /)
    t.match(said, '– rooms: not looked at (env:ROOMS_DATABASE_URL is not set)')
    t.match(said, /✖ WAL_LEVEL .*ALTER SYSTEM SET wal_level = logical; .*then run `banyan doctor`/)
    t.match(
      said,
      /wrote in \S+ for-dba\.sql \(3 roles, \d+ grants\), for-dba-people\.sql \(3 roles, \d+ grants\), banyan\.yaml/,
    )
    t.match(said, /for the administrator: psql -h \S+ -p \d+ -d his -f for-dba\.sql/)
    t.match(said, 'not yet: slices/<name>.yaml, what moves first')
    t.equal(lines.at(-1), 'next: banyan up --router-only')
    const generated = (await urls()).map(url => new URL(url).password)
    t.ok(generated.every(each => each.length >= 40))
    t.equal(new Set(generated).size, 6)
    const sql = await readFile(join(folder, 'for-dba.sql'), 'utf8')
    const yaml = await readFile(config, 'utf8')
    for (const each of [...generated, ...passwords, 'the-session']) {
      for (const shown of [text, sql, yaml]) t.notOk(shown.includes(each), 'no secret is shown')
    }
  })

  await t.test(
    'what it wrote: few lines that are valid, and secrets for their owner alone',
    async t => {
      const yaml = await readFile(config, 'utf8')
      t.ok(yaml.split('\n').length < 25)
      const { project, diagnostics } = loadProject({
        banyan: { file: 'banyan.yaml', text: yaml },
        slices: [],
      })
      t.same(diagnostics, [])
      t.match(project?.banyan, {
        legacy: {
          url: monolith,
          aliases: 'spring',
          database: { apply: 'file:secrets/legacy-apply.url' },
        },
        services: {
          people: { url: service },
          rooms: { database: { setup: 'env:ROOMS_DATABASE_URL' } },
        },
      })
      t.match(yaml, '# identity: { cookie: JSESSIONID, whoami:')
      for (const file of secrets) t.equal((await stat(file)).mode & 0o777, 0o600, file)
      t.equal((await stat(join(folder, 'secrets'))).mode & 0o777, 0o700)
      t.equal(await readFile(join(folder, 'secrets/.gitignore'), 'utf8'), '*\n')
      const sql = await readFile(join(folder, 'for-dba.sql'), 'utf8')
      for (const line of sql.split('\n'))
        t.ok(line === '' || /^(--|[A-Z]+ .*;$|[A-Z]+;$)/.test(line), line)
      const bare = sql
        .split('\n')
        .filter((line, n, all) => /^(GRANT|ALTER ROLE)/.test(line) && all[n - 1] === '')
      t.same(bare, [], 'a line that says why stands before each')
      t.match(sql, 'GRANT USAGE ON SCHEMA "clinic" TO "banyan_his_setup"')
      t.match(sql, `NEEDS A RESTART.\nALTER SYSTEM SET wal_level = 'logical';`)
    },
  )

  await t.test(
    'it never writes over what is there, and with --force keeps the passwords',
    async t => {
      const before = await urls()
      await writeFile(join(folder, 'for-dba.sql'), '-- mine\n')
      await t.rejects(init(), {
        code: 'FILES_EXIST',
        message: /^banyan\.yaml, for-dba\.sql, for-dba-people\.sql are already there/,
        rule: { exit: 3 },
        hint: new RegExp(
          `: banyan init --url ${monolith} --database env:HIS_URL --service people=${service} rooms=http://rooms:4000 --force$`,
        ),
      })
      t.equal(await readFile(join(folder, 'for-dba.sql'), 'utf8'), '-- mine\n')
      const { exit, text } = await init({ force: true }, true)
      t.equal(exit, 0)
      t.match(JSON.parse(text), {
        monolith: { status: 200, cookie: 'JSESSIONID', aliases: { aliases: 'spring' } },
        databases: [
          { name: 'legacy', roles: ['banyan_his_setup', 'banyan_his_apply', 'banyan_his_capture'] },
          { name: 'people' },
          { name: 'rooms', roles: [], seen: null },
        ],
        problems: [{ code: 'WAL_LEVEL' }],
        next: 'banyan up --router-only',
      })
      t.same(await urls(), before)
      for (const url of before) t.notOk(text.includes(new URL(url).password))
    },
  )

  await t.test(
    'the administrator runs it, the server starts again, and doctor is green',
    async t => {
      await writeFile(join(folder, 'slices.tmp'), '')
      await query(
        cluster.url('people', 'people'),
        'CREATE TABLE practitioner (id bigserial PRIMARY KEY, phone text)',
      )
      for (const [database, file] of [
        ['people', 'for-dba.sql'],
        ['his', 'for-dba.sql'],
        ['people', 'for-dba-people.sql'],
        ['his', 'for-dba.sql'],
      ] as const) {
        const wrong = database === 'people' && file === 'for-dba.sql'
        const running = psql(t, cluster.url(database), join(folder, file))
        if (wrong) await t.rejects(running, /meant for the database "his"|meant for/)
        else await running
      }
      const [set] = await query(
        his,
        `SELECT setting FROM pg_file_settings WHERE name = 'wal_level'`,
      )
      t.equal(set?.['setting'], 'logical')
      // The launcher's own setting would go over that one.
      await cluster.restart({ wal_level: 'logical' })

      await writeFile(join(folder, 'control.url'), await controlDatabase(cluster))
      const yaml = (await readFile(config, 'utf8'))
        .replace('control: { database: embedded }', 'control: { database: file:control.url }')
        .replace(/ {2}rooms:\n.*\n.*\n/, '')
      await writeFile(config, yaml)
      await mkdir(join(folder, 'slices'))
      await writeFile(
        join(folder, 'slices/practitioners.yaml'),
        `service: people
stage: legacy
routes: ['* /practitioners/**']
tables: { practitioners: { to: practitioner } }
`,
      )
      const used = (await urls()).map(url => new URL(url).username)
      const supers = await query(
        his,
        `SELECT rolname FROM pg_roles WHERE rolsuper AND rolname = ANY ($1)`,
        [used],
      )
      t.same(supers, [])
      for (const slice of ['practitioners', undefined]) {
        const { exit, text } = await runScreen(t, config, context => runDoctor(context, slice))
        t.equal(exit, 0, text)
        t.notMatch(text, /✖|\?/)
      }
    },
  )
})

void t.test('nothing answers: that is said, and nothing is written', async t => {
  const folder = t.testdir()
  const config = join(folder, 'banyan.yaml')
  setEnvironment('DOWN_URL', 'postgres://app:hunter2@127.0.0.1:1/his')
  const options = { url: 'http://127.0.0.1:1', database: 'env:DOWN_URL' }
  const { exit, text } = await runScreen(t, config, context => runInit(context, options))
  t.equal(exit, 4)
  const said = flat(text)
  t.match(
    said,
    /✖ MONOLITH_SILENT {2}the monolith does not answer at http:\/\/127\.0\.0\.1:1 \(ECONNREFUSED\)/,
  )
  const again = 'banyan init --url http://127.0.0.1:1 --database env:DOWN_URL'
  t.match(
    said,
    `✖ UNREACHABLE  no PostgreSQL answers at 127.0.0.1:1 (ECONNREFUSED) check that the server runs, listens there and lets this machine through, then run \`${again}\`\n`,
  )
  t.match(said, `nothing was written\nnext: ${again}\n`)
  t.notMatch(text, 'hunter2')
  t.same(await readdir(folder), [])
})

void t.test('the monolith alone: its database is named, and not looked at', async t => {
  const folder = t.testdir({ alone: {} })
  const config = join(folder, 'alone/banyan.yaml')
  const monolith = await listening(t, (_, answer) => answer.end())
  const { exit, text } = await runScreen(t, config, context => runInit(context, { url: monolith }))
  t.equal(exit, 0)
  t.match(text, '– legacy: not looked at (env:LEGACY_DATABASE_URL is not set)')
  const yaml = await readFile(config, 'utf8')
  t.match(yaml, 'database: env:LEGACY_DATABASE_URL # not looked at')
  t.match(yaml, 'aliases: strict # nothing spoke for a framework')
  const [legacy] = [{ name: 'legacy', url: 'http://localhost:8080', reference: 'env:X' }]
  const silent = { aliases: 'strict', because: [], torn: false } as const
  const seen = { status: 200, ms: 1, cookie: undefined, aliases: silent }
  t.match(
    banyanText([{ ...legacy, address: undefined }], seen),
    `router: { listen: '127.0.0.1:8081' }`,
    'not where the monolith is',
  )
})

void t.test('tables of a superuser, and a wrong password', async t => {
  const cluster = await testCluster(t)
  const his = await cluster.createDatabase('his')
  await query(his, 'CREATE ROLE app; CREATE TABLE a (id int); CREATE TABLE b (id int)')
  const folder = t.testdir()
  const config = join(folder, 'banyan.yaml')
  setEnvironment('SUPER_URL', his)
  const monolith = await listening(t, (_, answer) => answer.end())
  const options = { url: monolith, database: 'env:SUPER_URL', force: true }
  const init = () => runScreen(t, config, context => runInit(context, options))
  const sql = () => readFile(join(folder, 'for-dba.sql'), 'utf8')
  t.match(flat((await init()).text), /✖ ROLE_IS_SUPERUSER .*ALTER TABLE … OWNER TO app/)
  t.match(await sql(), '-- IN THE WAY: 2 tables in "public" belong to the superuser "postgres"')
  await t.rejects(psql(t, his, join(folder, 'for-dba.sql')), /owner is a superuser/)
  await query(his, 'ALTER TABLE a OWNER TO app')
  await init()
  t.match(await sql(), '-- LEFT OUT: 1 tables in "public" belong to the superuser "postgres"')
  await psql(t, his, join(folder, 'for-dba.sql'))

  setEnvironment('SUPER_URL', his.replace(/:[^:@]*@/, ':hunter2@'))
  const before = await sql()
  const { exit, text } = await init()
  t.equal(exit, 3)
  t.match(
    flat(text),
    /✖ AUTH_FAILED .*then run `banyan init --url \S+ --database env:SUPER_URL --force`\n/,
  )
  t.match(text, '\nnothing was written\n')
  t.equal(await sql(), before)
  t.notMatch(text, 'hunter2')
})

void t.test('what it is told wrongly: a code, nothing written, and no secret repeated', async t => {
  const folder = t.testdir()
  const config = join(folder, 'banyan.yaml')
  setEnvironment('NO_URL', 'his-host password=hunter2')
  setEnvironment('SAME_DATABASE_URL', 'postgres://b:hunter2@db/his')
  setEnvironment('HIS', 'postgres://a:hunter2@db/his')
  const url = 'http://127.0.0.1:1'
  const wrong: readonly (readonly [Partial<InitOptions>, string])[] = [
    [{ url: 'his:8080' }, 'OPTION_INVALID'],
    [{ url: 'http://his:8080/app' }, 'OPTION_INVALID'],
    [{ url: 'http://me:hunter2@his:8080' }, 'OPTION_INVALID'],
    [{ database: 'postgres://me:hunter2@his/db' }, 'SECRET_LITERAL'],
    [{ database: 'HIS_URL' }, 'REFERENCE_INVALID'],
    [{ database: 'env:NOT_SET_ANYWHERE' }, 'SECRET_MISSING'],
    [{ database: 'file:gone.url' }, 'SECRET_MISSING'],
    [{ database: 'env:NO_URL' }, 'DATABASE_URL_INVALID'],
    [{ service: ['http://people:1'] }, 'OPTION_INVALID'],
    [{ service: ['legacy=http://people:1'] }, 'NAME_INVALID'],
    [{ service: ['a=http://x:1', 'a=http://x:2'] }, 'OPTION_INVALID'],
    [{ service: ['same=http://x:1'], database: 'env:HIS' }, 'DATABASE_SHARED'],
  ]
  for (const [options, code] of wrong) {
    const running = runScreen(t, config, context => runInit(context, { url, ...options }))
    const error = await running.then(
      () => undefined,
      (thrown: unknown) => thrown as { code: string; message: string; hint: string },
    )
    t.equal(error?.code, code, JSON.stringify(options))
    t.notMatch(`${error?.message} ${error?.hint}`, 'hunter2')
  }
  await t.rejects(stat(config), { code: 'ENOENT' })
})

void t.test('which framework it is, by what frameworks do by themselves', async t => {
  const guess = (headers: Record<string, string>, ...cookies: string[]) =>
    guessAliases(Object.entries(headers).flat(), cookies)
  for (const [expected, headers, ...cookies] of [
    ['express', { 'X-Powered-By': 'Express' }],
    ['express', {}, 'connect.sid'],
    ['spring', {}, 'JSESSIONID'],
    ['spring', { 'X-Application-Context': 'application:8080' }],
    ['rails', {}, '_clinic_session'],
    ['rails', {}, '_session_id'],
    ['rails', { 'X-Powered-By': 'Phusion Passenger 6' }],
    ['php', { 'X-Powered-By': 'PHP/8.2' }],
    ['php', {}, 'PHPSESSID'],
    ['php', {}, 'laravel_session'],
    ['aspnet', { 'X-AspNet-Version': '4.0' }],
    ['aspnet', {}, 'ASP.NET_SessionId'],
    ['aspnet', { 'X-Powered-By': 'ASP.NET' }, '.AspNetCore.Session'],
    ['strict', {}],
    ['strict', { 'X-Powered-By': 'Expressive, PHPish' }],
    ['strict', {}, 'sessionid', 'csrftoken'],
    ['strict', { 'X-Powered-By': 'PHP/7.4, ASP.NET' }],
  ] as const) {
    t.equal(guess(headers, ...cookies).aliases, expected, JSON.stringify([headers, cookies]))
  }
  t.match(guess({ 'X-Powered-By': 'Express' }, 'PHPSESSID'), {
    torn: true,
    because: ['X-Powered-By: Express', 'cookie PHPSESSID'],
  })
  t.equal(sessionCookie(['lang', 'JSESSIONID']), 'JSESSIONID')
  t.equal(sessionCookie(['_ga', 'clinic_sid']), 'clinic_sid')
  t.equal(sessionCookie(['_ga', 'inside']), undefined)
})
