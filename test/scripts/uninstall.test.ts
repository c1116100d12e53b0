/** `banyan uninstall`: what it refuses, and that nothing of Banyan is left in any database, by the catalogs' own word. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { readJournal } from '../../control/store/journal.ts'
import { setOverride } from '../../control/store/slices.ts'
import { transact } from '../../control/store/store.ts'
import { readStreams } from '../../control/store/streams.ts'
import type { UninstallOptions } from '../../scripts/banyan.ts'
import { runMigrate } from '../../scripts/migrate.ts'
import { runUninstall } from '../../scripts/uninstall.ts'
import { catalogsOf } from '../support/catalogs.ts'
import { query } from '../support/cluster.ts'
import { flip, inStep, until, verify } from '../support/flipping.ts'
import { Clients, movingSlice } from '../support/moving-slice.ts'
import { flat, projectOf } from '../support/screen.ts'

/** Triggers in every state, and one that partitions have too. */
const TRIGGERS = `
  CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
  CREATE TRIGGER usual BEFORE INSERT OR UPDATE ON visits FOR EACH ROW EXECUTE FUNCTION touch();
  CREATE TRIGGER always BEFORE UPDATE ON visits FOR EACH ROW EXECUTE FUNCTION touch();
  CREATE TRIGGER never BEFORE UPDATE ON visits FOR EACH ROW EXECUTE FUNCTION touch();
  ALTER TABLE visits ENABLE ALWAYS TRIGGER always; ALTER TABLE visits DISABLE TRIGGER never;
  CREATE TABLE notes (id bigint, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
  CREATE TABLE notes_old PARTITION OF notes FOR VALUES FROM ('2020-01-01') TO ('2025-01-01');
  CREATE TABLE notes_new PARTITION OF notes DEFAULT;
  CREATE TRIGGER parted BEFORE INSERT ON notes FOR EACH ROW EXECUTE FUNCTION touch();
  ALTER TABLE notes_old DISABLE TRIGGER parted;
  INSERT INTO notes SELECT g, '2024-01-01'::date + g FROM generate_series(1, 600) g`

void t.test('uninstall', async t => {
  const before: Record<string, string[]> = {}
  const moving = await movingSlice(t, {
    slice: text =>
      text
        .replace('  seats: true', '  seats: true\n  notes: true')
        .replace(
          'cutover:',
          'triggers: { usual: run, always: run, never: skip, parted: run }\ncutover:',
        ),
    async made(url, side) {
      const notes = 'CREATE TABLE notes (id bigint, at date, PRIMARY KEY (id, at))'
      await query(url, `SET ROLE app; ${side === 'legacy' ? TRIGGERS : notes}`)
      before[side] = await catalogsOf(url)
    },
  })
  const project = await projectOf(t, moving)
  const folder = join(project.config, '..')
  // A router, so that somebody could hold requests; nobody writes.
  const router = new Clients(t, moving, 0)
  const screen = (options: UninstallOptions = {}) =>
    project.run(context => runUninstall(context, options))
  const states = async () => {
    const rows = await query<{ one: string }>(
      moving.legacy,
      `SELECT tgrelid::regclass || '.' || tgname || ' ' || tgenabled::text AS one FROM pg_trigger
       WHERE tgname = ANY ('{usual,always,never,parted}') ORDER BY 1`,
    )
    return rows.map(row => row.one)
  }
  const untouched = await states()

  t.match(await flip(moving, 'sync'), { outcome: 'done', error: null })
  await project.want('sync')
  await inStep(moving)

  await t.test('nothing is taken out while a slice is away', async t => {
    const away = {
      ...{ code: 'SLICES_AWAY', rule: { exit: 3 }, message: /visits is at sync/ },
      hint: /banyan back visits legacy$/,
    }
    await t.rejects(screen(), away)
    t.ok((await catalogsOf(moving.legacy)).some(line => line.startsWith('schema banyan ')))
    t.same(await states(), [
      'notes.parted A',
      'notes_new.parted A',
      'notes_old.parted D',
      'visits.always A',
      'visits.never D',
      'visits.usual A',
    ])
  })

  // There and back: keys are loosened and restored, sequences moved, and every function has run.
  for (const stage of ['shadow', 'canary'] as const) {
    t.match(await flip(moving, stage), { outcome: 'done', error: null })
  }
  t.match(await verify(moving), { differences: 0, error: null })
  for (const stage of ['moved', 'canary'] as const) {
    t.match(await flip(moving, stage), { outcome: 'done', error: null })
  }
  await project.want('canary')

  // A brake at legacy holds, whatever the file wants.
  await transact(moving.store, ['slice'], client =>
    setOverride(client, 'visits', { stage: 'legacy', by: 'tester', reason: 'uninstall' }),
  )
  await until(moving, 'back at legacy', async () => {
    const { rowCount } = await moving.store.pool
      .query(`SELECT 1 FROM banyan.slice s WHERE stage = 'legacy'
      AND NOT EXISTS (SELECT 1 FROM banyan.flip WHERE ended_at IS NULL)`)
    return rowCount === 1
  })

  await t.test('a control database that forgot is not believed: the gate is asked', async t => {
    const [row] = await query<{ number: number; word: string }>(
      moving.legacy,
      `SELECT number, (SELECT last_value FROM banyan.gate_1)::text AS word FROM banyan.slice`,
    )
    const word = (value: number) =>
      query(moving.legacy, `SELECT setval('banyan.gate_${row!.number}', ${value})`)
    await word(Number(row!.word) + 1)
    await t.rejects(screen(), { code: 'SLICES_AWAY', message: /visits is closed in legacy/ })
    await word(Number(row!.word))
  })

  await t.test('nor where a release would bring all of it back', async t => {
    await t.rejects(screen(), {
      code: 'FILES_WANT_MORE',
      message: 'files want their slices further than legacy: slices/visits.yaml (canary)',
      rule: { exit: 3 },
    })
    await project.want('legacy')
    await until(moving, 'the controller has read it', async () => {
      const { rowCount } = await moving.store.pool.query(
        `SELECT 1 FROM banyan.slice WHERE wanted_stage = 'legacy'`,
      )
      return rowCount === 1
    })
  })

  await t.test('all of it is taken out, slots first', async t => {
    for (const url of [moving.legacy, moving.service]) {
      await query(
        url,
        `SELECT pg_create_logical_replication_slot('banyan_left_' || substr(md5(random()::text), 1, 8), 'pgoutput')`,
      )
    }
    await query(
      moving.legacy,
      `INSERT INTO banyan.loosened_key (relation, name, key, dropped_for)
      VALUES ('bills', 'bills_fk', '{"table":"bills","name":"bills_fk","definition":"FOREIGN KEY (visit_id) REFERENCES visits(id)"}', 'visits')`,
    )
    await query(
      moving.store.url,
      `INSERT INTO banyan.stream (name, slice, state, position) VALUES ('legacy>rooms:old', 'old', 'streaming', '0/10')`,
    )
    await query(
      moving.legacy,
      `SET session_replication_role = replica; INSERT INTO bills VALUES (-1, -1);
       ALTER TABLE bills ADD CONSTRAINT broken FOREIGN KEY (visit_id) REFERENCES visits NOT VALID`,
    )
    const { exit, text } = await screen()
    await query(moving.legacy, 'ALTER TABLE bills DROP CONSTRAINT broken; DELETE FROM bills')
    t.equal(exit, 0)
    t.match(
      flat(text),
      /! legacy: bills\.visit_id: 1 row has no parent in visits, and the key broken is NOT VALID: SELECT .* VALIDATE CONSTRAINT "broken"/,
    )
    t.match(text, /✔ {2}legacy {2}gates, publications and the schema banyan, \d slots?\n✔ {2}rooms/)
    const said = flat(text)
    t.match(
      said,
      '! legacy still lacks a foreign key that was dropped: ALTER TABLE bills ADD CONSTRAINT bills_fk FOREIGN KEY (visit_id) REFERENCES visits(id);',
    )
    t.match(
      said,
      '– legacy: a superuser takes out the roles "banyan_setup", "banyan_apply", "banyan_capture": psql -f for-dba-drop.sql',
    )
    t.match(text, /next: banyan journal\n$/)
    t.same(await readStreams(moving.store), [])
    const [entry] = await readJournal(moving.store, { limit: 1 })
    t.match(entry, {
      kind: 'uninstalled',
      actor: 'tester@here',
      detail: { databases: ['legacy', 'rooms'] },
    })
    t.same(await states(), untouched, 'triggers are as they were')
    await query(moving.legacy, `INSERT INTO visits (op, doctor_id) VALUES (gen_random_uuid(), 1)`)
  })

  await t.test('a second time there is nothing, and it says so', async t => {
    const { exit, text } = await screen()
    t.equal(exit, 0)
    t.match(
      text,
      /✔ {2}legacy {2}no schema banyan was there\n✔ {2}rooms {3}no schema banyan was there\n/,
    )
  })

  await t.test('what was taken out can be put up again, and taken out again', async t => {
    await query(
      moving.store.url,
      `UPDATE banyan.slice SET override_stage = NULL, override_by = NULL`,
    )
    await project.want('sync')
    t.equal((await project.run(context => runMigrate(context, {}))).exit, 0)
    await until(moving, 'in step again', async () => {
      const streams = await readStreams(moving.store)
      return (
        streams.length === 3 &&
        streams.every(each => each.state === 'streaming' && each.position !== null)
      )
    })
    await t.rejects(screen({ withControl: true }), { code: 'PARTS_RUN', message: /banyan/ })
    await project.want('legacy')
    await until(moving, 'at legacy', async () => {
      const { rowCount } = await moving.store.pool.query(
        `SELECT 1 FROM banyan.slice WHERE stage = 'legacy' AND NOT EXISTS (SELECT 1 FROM banyan.stream)`,
      )
      return rowCount === 1
    })
    await router.stop()
    await moving.stop()
  })

  await t.test('with the control database, and the roles by the file: nothing is left', async t => {
    const undo = await project.edit('banyan.yaml', text =>
      text.replace('control: { database: file:control.url }', ''),
    )
    await t.rejects(screen({ withControl: true }), {
      code: 'OPTION_INVALID',
      message: /"embedded": run `banyan uninstall` while it runs, then stop .*\.banyan\/control$/,
    })
    await undo()
    const { exit, text } = await project.run(
      context => runUninstall(context, { withControl: true }),
      { json: true },
    )
    t.equal(exit, 0)
    t.match(JSON.parse(text), {
      databases: [
        { database: 'legacy', schema: true, file: 'for-dba-drop.sql' },
        { database: 'rooms', schema: true, file: 'for-dba-drop-rooms.sql' },
      ],
      control: 'taken',
      missing: [],
    })
    const control = (await catalogsOf(moving.legacy.replace(/\/legacy$/, '/control'))).join('\n')
    t.notMatch(control, /banyan\.|schema banyan/)
    for (const [url, file] of [
      [moving.legacy, 'for-dba-drop.sql'],
      [moving.service, 'for-dba-drop-rooms.sql'],
    ] as const) {
      await query(url, await readFile(join(folder, file), 'utf8'))
    }
    // The row-by-row difference, should there be one.
    for (const [side, url] of [
      ['legacy', moving.legacy],
      ['service', moving.service],
    ] as const) {
      const now = await catalogsOf(url)
      const was = before[side] ?? []
      t.ok(was.length > 50)
      t.same(
        now.filter(line => !was.includes(line)),
        [],
        `${side}: nothing came`,
      )
      t.same(
        was.filter(line => !now.includes(line)),
        [],
        `${side}: nothing went`,
      )
      t.equal(now.length, was.length)
    }
  })
})
