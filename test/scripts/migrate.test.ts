import t from 'tap'
import type { MigrateOptions } from '../../scripts/banyan.ts'
import { runMigrate } from '../../scripts/migrate.ts'
import { query } from '../support/cluster.ts'
import { movingSlice } from '../support/moving-slice.ts'
import { projectOf } from '../support/screen.ts'

void t.test('migrate', async t => {
  const moving = await movingSlice(t)
  const project = await projectOf(t, moving)
  const screen = (options: MigrateOptions = {}) =>
    project.run(context => runMigrate(context, options))
  const json = async (options: MigrateOptions = {}) => {
    const { exit, text } = await project.run(context => runMigrate(context, options), {
      json: true,
    })
    return { exit, document: JSON.parse(text) as Record<string, unknown> }
  }

  await t.test('what is missing is only listed', async t => {
    const { exit, text } = await screen({ check: true })
    t.equal(exit, 3)
    t.equal(
      text,
      `✔  control  up to date
✖  legacy   lacks 0001-ownership, 0002-loosened-key, 0003-raised-trigger
✖  rooms    lacks 0001-ownership
next: banyan migrate
`,
    )
    t.same(await query(moving.legacy, `SELECT 1 FROM pg_namespace WHERE nspname = 'banyan'`), [])
  })

  await t.test('a database that is down keeps nobody else back', async t => {
    const undo = await project.edit('legacy-setup.url', text =>
      text.replace(/@127.0.0.1:\d+/, '@127.0.0.1:1'),
    )
    const { exit, text } = await screen()
    t.equal(exit, 4)
    t.match(
      text,
      /✔ {2}control {2}up to date\n✖ {2}legacy {3}UNREACHABLE\n✔ {2}rooms {4}ran 0001-ownership\n/,
    )
    t.match(text, /✖ UNREACHABLE {2}no PostgreSQL answers at 127\.0\.0\.1:1/)
    t.match(text, /next: banyan migrate --check\n$/)
    await undo()
  })

  await t.test('what is missing is run, once', async t => {
    t.match(await json(), {
      exit: 0,
      document: {
        databases: [
          { migrations: [] },
          {
            database: 'legacy',
            migrations: ['0001-ownership', '0002-loosened-key', '0003-raised-trigger'],
          },
          { migrations: [] },
        ],
      },
    })
    const { exit, text } = await screen()
    t.equal(exit, 0)
    t.equal(
      text,
      '✔  control  up to date\n✔  legacy   up to date\n✔  rooms    up to date\nnext: banyan status\n',
    )
    t.equal((await screen({ check: true })).exit, 0)
  })

  await t.test('an embedded control database that sleeps is left alone, and so said', async t => {
    const undo = await project.edit('banyan.yaml', text =>
      text.replace('control: { database: file:control.url }', ''),
    )
    const { exit, text } = await screen()
    t.equal(exit, 0)
    t.match(
      text,
      '–  control  not started: `up` starts it and brings it up to date\n✔  legacy   up to date\n',
    )
    t.match(text, /next: banyan up\n$/)
    await undo()
  })

  await t.test('a secret that is not there, and options that exclude each other', async t => {
    const undo = await project.edit('banyan.yaml', text =>
      text.replace('file:rooms-apply.url', 'env:NOT_SET_ANYWHERE'),
    )
    const { exit, text } = await screen()
    t.equal(exit, 2)
    t.match(text, /✔ {2}legacy {3}up to date\n✖ {2}rooms {4}SECRET_MISSING/)
    await undo()
    await t.rejects(screen({ check: true, roles: 'legacy' }), {
      code: 'OPTION_INVALID',
      rule: { exit: 2 },
    })
  })

  await t.test('the SQL of the three roles', async t => {
    let sql = ''
    const write = (part: string) => void (sql += part)
    await project.run(context => runMigrate(context, { roles: 'rooms' }), { write })
    t.match(sql, /^-- For a superuser, in the database "rooms" at 127\.0\.0\.1:\d+\.\n/)
    t.match(sql, 'GRANT "app" TO "banyan_setup";')
    t.match(sql, /-- next: banyan doctor visits\n$/)
    t.equal(sql.match(/SCRAM-SHA-256\$/g)?.length, 3)
    t.notMatch(sql, 'secret')
    t.notMatch(sql, 'OWNER_OF_THE_TABLES')
    await query(moving.service, sql)
    await query(moving.wiring.services['rooms']!.apply, 'SELECT count(*) FROM visit')

    const { document } = await json({ roles: 'legacy' })
    t.match(document, {
      name: 'legacy',
      database: 'legacy',
      ownerKnown: true,
      homes: [{ schema: 'public', owner: 'app' }],
    })
    await t.rejects(screen({ roles: 'nobody' }), {
      code: 'OPTION_INVALID',
      message: /legacy, rooms/,
    })
  })

  await t.test('an owner in each schema: rights in all, each role once', async t => {
    await query(
      moving.service,
      `CREATE ROLE other; CREATE SCHEMA more; CREATE TABLE more.visit (id int); ALTER TABLE more.visit OWNER TO other`,
    )
    const undo = await project.edit('slices/visits.yaml', text =>
      text.replace('seats: true', 'seats: true\n  bills: { to: more.visit }'),
    )
    const { document } = await json({ roles: 'rooms' })
    const statements = document['statements'] as string[]
    t.match(document, {
      homes: [
        { owner: 'app', schema: 'public' },
        { owner: 'other', schema: 'more' },
      ],
    })
    t.equal(statements.filter(each => each.startsWith('ALTER ROLE')).length, 3)
    t.ok(statements.includes('GRANT "other" TO "banyan_setup";'))
    await query(moving.service, statements.join('\n'))
    await query(moving.wiring.services['rooms']!.capture, 'SELECT count(*) FROM more.visit')
    await undo()
  })

  await t.test('before anybody can be asked for the owner, there is a place for it', async t => {
    const undone = await Promise.all(
      ['setup', 'apply', 'capture'].map(role =>
        project.edit(`legacy-${role}.url`, text => text.replace('banyan_', 'new_')),
      ),
    )
    let sql = ''
    const write = (part: string) => void (sql += part)
    await project.run(context => runMigrate(context, { roles: 'legacy' }), { write })
    t.match(sql, '-- OWNER_OF_THE_TABLES is to be replaced by the role that owns')
    t.match(sql, 'GRANT "OWNER_OF_THE_TABLES" TO "new_setup";')
    await query(moving.legacy, sql.replaceAll('OWNER_OF_THE_TABLES', 'app'))
    t.match((await json({ roles: 'legacy' })).document, { ownerKnown: true })
    await query(
      moving.legacy,
      `${['new_setup', 'new_apply', 'new_capture'].map(role => `DROP OWNED BY ${role}; DROP ROLE ${role}`).join(';')}`,
    )
    for (const undo of undone) await undo()
  })

  await t.test('roles that are one, and a URL without a password', async t => {
    const undo = await project.edit('legacy-apply.url', text =>
      text.replace('banyan_apply', 'banyan_capture'),
    )
    await t.rejects(screen({ roles: 'legacy' }), {
      code: 'ROLES_SAME',
      message: /"banyan_capture" is apply and capture at once/,
    })
    await undo()
    const undoPassword = await project.edit('legacy-apply.url', text =>
      text.replace(':secret@', '@'),
    )
    await t.rejects(screen({ roles: 'legacy' }), {
      code: 'ROLE_PASSWORD_MISSING',
      message: /"banyan_apply"/,
    })
    await undoPassword()
  })
})
