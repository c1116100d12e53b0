import { readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { readRogue } from '../../control/store/findings.ts'
import { readJournal } from '../../control/store/journal.ts'
import { lastVerification } from '../../control/store/verifications.ts'
import type { GateState } from '../../postgres/gate.ts'
import { runDoctor } from '../../scripts/doctor.ts'
import { checksOf, problemsOf } from '../../scripts/doctor-checks.ts'
import { changedText, type GateSeen, remedyOf, wordChecks } from '../../scripts/doctor-gates.ts'
import { query } from '../support/cluster.ts'
import { flip, inStep, until, verify } from '../support/flipping.ts'
import { movingSlice } from '../support/moving-slice.ts'
import { flat, projectOf } from '../support/screen.ts'

interface Document {
  readonly stage: string | null
  readonly ok: number
  readonly bad: number
  readonly unknown: number
  readonly checks: readonly {
    where: string
    what: string
    state: string
    problems: readonly { code: string; message: string; hint: string }[]
  }[]
  readonly rogue: readonly { key: string }[]
  readonly accepted?: {
    rogue: readonly { key: string }[]
    writes: number
    changed: readonly { object: string }[]
    left: readonly string[]
  }
}

void t.test('doctor', async t => {
  // A test's clusters don't wait for the disk, and doctor says so.
  const moving = await movingSlice(t, { settings: { fsync: 'on' } })
  const project = await projectOf(t, moving)
  await until(moving, 'a controller', async () => {
    const { rowCount } = await moving.store.pool.query('SELECT 1 FROM banyan.controller')
    return rowCount === 1
  })
  const screen = (accept = false) =>
    project.run(context => runDoctor(context, 'visits', { accept }))
  const document = async (accept = false): Promise<Document & { exit: number }> => {
    const { exit, text } = await project.run(context => runDoctor(context, 'visits', { accept }), {
      json: true,
    })
    return { ...(JSON.parse(text) as Document), exit }
  }
  /** `legacy NO_IDENTITY`, sorted. */
  const found = async (): Promise<string[]> => {
    const { checks, bad, exit } = await document()
    t.equal(exit, bad === 0 ? 0 : 3)
    return [
      ...new Set(
        checks.flatMap(({ where, problems }) => problems.map(each => `${where} ${each.code}`)),
      ),
    ].sort()
  }
  const changed = async (sql: string, at = moving.legacy) => {
    await query(at, sql)
  }

  await t.test('a slice that may move', async t => {
    const { exit, lines } = await screen()
    t.equal(exit, 0)
    t.same(lines, ['visits  at legacy · no gates yet', lines[1], 'next: banyan flip visits'])
    t.match(lines[1], /^\d\d ✔$/)
    const { checks, unknown } = await document()
    t.equal(unknown, 0)
    t.same([...new Set(checks.map(each => each.where))], ['control', 'legacy', 'rooms', 'visits'])
    await t.rejects(
      project.run(context => runDoctor(context, 'none')),
      { code: 'SLICE_UNKNOWN' },
    )
  })

  await t.test('all that is wrong on both sides and in the files is shown at once', async t => {
    await changed(
      'ALTER TABLE seats REPLICA IDENTITY NOTHING; REVOKE SELECT ON visits FROM banyan_capture; ALTER TABLE seats ADD memo text',
    )
    await changed('ALTER TABLE visit ALTER COLUMN note TYPE varchar(99)', moving.service)
    await changed('ALTER ROLE banyan_capture NOREPLICATION', moving.service)
    const undo = await project.edit('slices/visits.yaml', text =>
      text.replace(', bills.visit_id: loose', ''),
    )
    t.same(await found(), [
      'legacy GRANT_MISSING',
      'legacy NO_IDENTITY',
      'rooms ROLE_NOT_REPLICATION',
      'visits COLUMN_LEFT',
      'visits COLUMN_TYPE',
      'visits FK_CROSSES',
    ])
    const { exit, text, lines } = await screen()
    t.equal(exit, 3)
    t.match(lines[1], /^\d\d ✔ {2}6 ✖$/)
    t.match(
      text,
      /✖ NO_IDENTITY {2}legacy: public\.seats has no key[^✖]*\n {2}ALTER TABLE public\.seats REPLICA IDENTITY/,
    )
    t.match(text, 'bills.visit_id')
    t.notMatch(text, /<slice>|`banyan doctor`/, 'the command to run again names the slice')
    t.equal(lines.at(-1), 'next: banyan doctor visits')

    await t.test('a database that is down hides nothing of the other', async t => {
      const undone = await Promise.all(
        ['setup', 'apply', 'capture'].map(role =>
          project.edit(`rooms-${role}.url`, text => text.replace(/@127.0.0.1:\d+/, '@127.0.0.1:1')),
        ),
      )
      t.same(await found(), [
        'legacy GRANT_MISSING',
        'legacy NO_IDENTITY',
        'rooms UNREACHABLE',
        'visits FK_CROSSES',
      ])
      const { lines } = await screen()
      t.match(lines[1], /^\d\d ✔ {2}4 ✖ {2}\d\d \? could not be looked at$/)
      for (const undo of undone) await undo()
    })

    await t.test('nor does a role that does not get in, or a secret that is not there', async t => {
      const undoRole = await project.edit('rooms-capture.url', text =>
        text.replace(':secret@', ':guessed@'),
      )
      t.same(await found(), [
        'legacy GRANT_MISSING',
        'legacy NO_IDENTITY',
        'rooms AUTH_FAILED',
        'visits FK_CROSSES',
      ])
      await undoRole()
      const undoFile = await project.edit('banyan.yaml', text =>
        text.replace('file:legacy-apply.url', 'file:gone.url'),
      )
      t.same(await found(), ['legacy SECRET_MISSING', 'rooms ROLE_NOT_REPLICATION'])
      t.match(
        (await screen()).text.replace(/\s+/g, ' '),
        /gone\.url can't be read \(ENOENT\) \(banyan\.yaml:2:\d+\)/,
      )
      await undoFile()
    })

    await t.test('nor does the control database', async t => {
      const undo = await project.edit('control.url', text => text.replace(/:\d+\//, ':1/'))
      t.match(await found(), ['control CONTROL_AWAY', 'legacy GRANT_MISSING'])
      t.match((await screen()).lines[0], 'visits  its stage is not known · no gates yet')
      await t.rejects(screen(true), { code: 'CONTROL_AWAY' }, 'and nothing is accepted without it')
      await undo()
    })

    await undo()
    await changed(
      'ALTER ROLE banyan_capture REPLICATION; ALTER TABLE visit ALTER COLUMN note TYPE text',
      moving.service,
    )
    await changed(
      'ALTER TABLE seats REPLICA IDENTITY DEFAULT; GRANT SELECT ON visits TO banyan_capture; ALTER TABLE seats DROP memo',
    )
  })

  await t.test('roles that are not three, or may not what they must', async t => {
    await changed(`ALTER ROLE app PASSWORD 'x'`)
    const app = moving.legacy.replace(/\/\/[^@]*@/, '//app:x@')
    const same = await Promise.all(
      ['setup', 'apply', 'capture'].map(role => project.edit(`legacy-${role}.url`, () => app)),
    )
    // The gate lets the role through that applies; here it is the application's own.
    t.ok((await found()).includes('legacy ROLES_SAME'))
    const { text } = await screen()
    t.match(text, /the role "app" is setup, apply and capture at once/)
    t.match(text, /the role "app" is apply and the owner of the tables/)
    t.match(text, 'banyan migrate --roles legacy')
    for (const undo of same) await undo()
    const undo = await project.edit('legacy-setup.url', text =>
      text.replace('banyan_setup', 'stranger'),
    )
    await changed(`CREATE ROLE stranger LOGIN PASSWORD 'secret'`)
    t.same(await found(), ['legacy ROLE_LACKS', 'legacy SETUP_DENIED'])
    const denied = (await screen()).text
    t.match(denied, 'GRANT "app" TO "stranger"')
    t.match(denied, 'GRANT CREATE ON DATABASE "legacy" TO "stranger"')
    await undo()
  })

  await t.test('without a slice: every database and all slices, each problem once', async t => {
    const all = async (json: boolean) =>
      project.run(context => runDoctor(context, undefined), { json })
    const { exit, text, lines } = await all(false)
    t.equal(exit, 0, text)
    t.equal(lines[0], '1 slice, 3 databases')
    t.match(lines[1], /^\d\d ✔$/)
    t.match(lines[2], /^ {2}control 2 ✔ · legacy \d\d ✔ · rooms \d\d ✔ · visits \d+ ✔$/)
    t.equal(lines.at(-1), 'next: banyan status')
    await t.rejects(
      project.run(context => runDoctor(context, undefined, { accept: true })),
      { code: 'OPTION_INVALID' },
    )

    await changed('ALTER ROLE banyan_apply CREATEROLE; ALTER ROLE control CREATEDB')
    await changed('ALTER TABLE visit ALTER COLUMN note TYPE varchar(99)', moving.service)
    const red = await all(false)
    t.equal(red.exit, 3)
    t.match(red.lines[1], /^\d\d ✔ {2}3 ✖$/)
    t.match(red.text, /✖ ROLE_EXCESS {2}control: its role "control" may make databases\n/)
    t.match(
      red.text,
      /✖ ROLE_EXCESS {2}legacy: apply \("banyan_apply"\) may make and change roles\n/,
    )
    t.match(red.text, '✖ COLUMN_TYPE')
    t.match(
      red.text.replace(/\s+/g, ' '),
      'ALTER ROLE "control" NOCREATEDB; then run `banyan doctor`',
    )
    t.equal(red.lines.at(-1), 'next: banyan doctor')
    const document = JSON.parse((await all(true)).text) as Document
    t.match(document, { bad: 3, unknown: 0, slices: ['visits'], controlStarted: true })
    await changed('ALTER ROLE banyan_apply NOCREATEROLE; ALTER ROLE control NOCREATEDB')
    await changed('ALTER TABLE visit ALTER COLUMN note TYPE text', moving.service)

    const undo = await project.edit('banyan.yaml', text =>
      text.replace('control: { database: file:control.url }', ''),
    )
    const asleep = await all(false)
    t.equal(asleep.exit, 0, 'an embedded control database before the first `up` is no fault')
    t.match(asleep.text, /\? control is embedded, and not up[^]*next: banyan up\n$/)
    await undo()
  })

  t.match(await flip(moving, 'sync'), { outcome: 'done' })
  await project.want('sync')
  await inStep(moving)

  await t.test('in motion, and nothing changed', async t => {
    const { exit, text, lines } = await screen()
    t.equal(exit, 0, text)
    t.equal(lines[0], 'visits  at sync · gates: legacy open (epoch 0), rooms closed (epoch 0)')
    t.equal(lines.at(-1), 'next: banyan status visits')
    const { text: nothing } = await screen(true)
    t.match(nothing, /^there is nothing to accept\n/)
  })

  await t.test(
    'writes round the gate and changed objects: named, and accepted by a person alone',
    async t => {
      t.match(await verify(moving), { differences: 0 })
      await changed(
        `ALTER TABLE visit DISABLE TRIGGER banyan_gate; UPDATE visit SET note = 'rogue' WHERE id = 17;
       ALTER TABLE visit ENABLE ALWAYS TRIGGER banyan_gate`,
        moving.service,
      )
      await until(moving, 'listed', async () => (await readRogue(moving.store)).length > 0)
      await changed('VACUUM FULL seats')
      t.same(await found(), ['legacy FINGERPRINT', 'rooms FINGERPRINT', 'visits ROGUE_WRITES'])
      const { exit, text, lines } = await screen()
      t.equal(exit, 3)
      t.match(text, /✖ ROGUE_WRITES[^✖]*\n {2}UPDATE visit id=17, at rooms, 2/)
      t.match(text, /✖ FINGERPRINT {2}legacy: table public\.seats: was oid/)
      t.match(text, /✖ FINGERPRINT {2}rooms: gate on public\.visit: was oid/)
      t.equal(lines.at(-1), 'next: banyan doctor visits --accept')
      t.ok(await lastVerification(moving.store, 'visits'))

      const accepted = await screen(true)
      t.equal(accepted.exit, 0, accepted.text)
      t.match(
        accepted.text.replace(/\s+/g, ' '),
        '✔ accepted, and written in the journal: 1 write round the gate and 2 changed objects',
      )
      t.match(accepted.text, /\n {2}UPDATE visit id=17, at rooms, /)
      t.match(
        accepted.text.replace(/\s+/g, ' '),
        'the writes were NOT carried to legacy: at these keys the two sides may differ',
      )
      t.equal(accepted.lines.at(-1), 'next: banyan verify visits')
      t.equal((await screen()).exit, 0)
      const [entry] = await readJournal(moving.store, { slice: 'visits', limit: 1 })
      t.match(entry, {
        actor: 'tester@here',
        kind: 'accepted',
        detail: {
          writes: 1,
          objects: 2,
          rogue: [{ side: 'service', operation: 'UPDATE', key: 'id=17' }],
        },
      })
      t.equal(
        await lastVerification(moving.store, 'visits'),
        undefined,
        'what was proved before is proved no more',
      )
      t.match(await verify(moving), { differences: 1 })
    },
  )

  await t.test('a gate that is off is never accepted', async t => {
    await changed(
      'ALTER TABLE visits DISABLE TRIGGER banyan_gate; DROP TRIGGER banyan_gate ON seats',
    )
    t.same(await found(), ['legacy GATE_MISSING'])
    const { checks } = await document()
    const hints = checks.flatMap(each => each.problems).map(each => each.hint)
    const { accepted, bad } = await document(true)
    t.match(accepted, { writes: 0, changed: [], left: ['legacy'] })
    t.equal(bad, 2)
    t.match((await screen(true)).text, '! nothing was accepted in legacy')
    for (const hint of hints) {
      const sql = /^there, as setup: (.*); then run/.exec(hint)?.[1]
      await query(moving.wiring.legacy.setup, sql!)
    }
    t.same(
      await found(),
      ['legacy FINGERPRINT'],
      'it stands again, and is not the one that was known',
    )
    t.equal((await screen(true)).exit, 0)
  })

  await t.test('a table that came into the file later has no gate', async t => {
    const undo = await project.edit('slices/visits.yaml', text =>
      text.replace('  seats: true', '  seats: true\n  doctors: true'),
    )
    const undoCopies = await project.edit('banyan.yaml', text =>
      text.replace(', copies: [doctors]', ''),
    )
    t.ok((await found()).includes('rooms GATE_MISSING'))
    t.match((await screen()).text, "doctors came into the slice's file after its gates")
    await undo()
    await undoCopies()
  })

  await t.test('two owners', async t => {
    const [row] = await query<{ number: number }>(
      moving.service,
      `SELECT number FROM banyan.slice WHERE name = 'visits'`,
    )
    await changed(`SELECT setval('banyan.gate_${row!.number}', 1)`, moving.service)
    t.same(await found(), ['visits GATES_DISAGREE'])
    t.match(
      (await screen()).text.replace(/\s+/g, ' '),
      '"visits" is at sync, so only legacy should take its writes; now both sides do',
    )
    await changed(`SELECT setval('banyan.gate_${row!.number}', 0)`, moving.service)
    t.same(await found(), [])
  })

  await t.test('a slot that is gone', async t => {
    await changed(
      `DO $$ DECLARE again bool := true; BEGIN WHILE again LOOP
        PERFORM pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = 'banyan_visits_reverse';
        BEGIN PERFORM pg_drop_replication_slot('banyan_visits_reverse'); again := false;
        EXCEPTION WHEN object_in_use THEN END; END LOOP; END $$`,
      moving.service,
    )
    t.same(await found(), ['visits SLOT_MISSING'])
  })
})

void t.test('a slice of routes alone has no database to look at', async t => {
  const folder = t.testdir({
    'banyan.yaml': `version: 1
legacy: { url: http://127.0.0.1:1, database: env:NOT_SET_ANYWHERE }
services: { rooms: { url: http://127.0.0.1:1, database: env:NOT_SET_EITHER } }
`,
    slices: { 'rooms.yaml': "service: rooms\nstage: legacy\nroutes: ['* /rooms/**']\n" },
  })
  const { runScreen } = await import('../support/screen.ts')
  const { exit, text } = await runScreen(t, `${folder}/banyan.yaml`, context =>
    runDoctor(context, 'rooms'),
  )
  t.equal(exit, 3)
  t.match(text, /✖ CONTROL_NOT_STARTED/)
  t.match(text, /\nbefore shadow:\n✖ SERVICE_DOWN /)
  t.match(text, 'next: banyan up\n', 'what keeps it now is that nothing runs')
  t.match(flat(text), /✖ SERVICE_DOWN {2}the service rooms isn't ready: .+ start it, then/)
  t.match(text, /✖ MONOLITH_DOWN {2}the monolith at http:\/\/127\.0\.0\.1:1 can't be reached/)
  t.match(text, '3 ✖\n')

  const server = createServer((_, answer) => answer.writeHead(404).end())
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  const { port } = server.address() as AddressInfo
  const config = `${folder}/banyan.yaml`
  const yaml = await readFile(config, 'utf8')
  await writeFile(config, yaml.replace(/(rooms: .*127\.0\.0\.1:)1/, `$1${port}`))
  const running = await runScreen(t, config, context => runDoctor(context, 'rooms'))
  t.match(
    flat(running.text),
    /isn't ready: GET \/ready answered 404 it must answer 2xx at GET \/ready, then run/,
  )
})

void t.test('the words of both gates against the stage', async t => {
  const gate = (open: boolean): GateSeen => ({
    state: { open } as GateState,
    relations: [],
    changed: [],
    copies: null,
  })
  const slice = { name: 'visits', service: 'rooms' }
  const says = (
    stage: Parameters<typeof wordChecks>[1],
    legacy: boolean,
    service: boolean,
    flipping = false,
  ) =>
    problemsOf(
      wordChecks(slice, stage, { legacy: gate(legacy), service: gate(service) }, flipping),
    )[0]?.message
  for (const stage of ['legacy', 'sync', 'shadow', 'canary'] as const) {
    t.equal(says(stage, true, false), undefined)
    t.match(says(stage, false, true), /only legacy should take its writes; now only rooms does/)
    t.match(says(stage, false, false), /now neither does/)
  }
  t.equal(says('moved', false, true), undefined)
  t.match(says('moved', true, false), /only rooms should take its writes; now only legacy does/)
  for (const stage of ['legacy', 'moved', undefined] as const) {
    t.match(says(stage, true, true), /now both sides do/)
    t.match(says(stage, true, true, true), /now both sides do/, 'not even in mid-flip')
    t.equal(says(stage, false, false, true), undefined, 'in mid-flip both are closed for a moment')
  }
  t.equal(says(undefined, false, true), undefined)
})

void t.test('what may be accepted, and what must be put back', async t => {
  const remedy = (object: string, was: string | null, now: string | null) =>
    remedyOf('visits', { object, was, now }, 3)
  t.equal(remedy('columns of public.visits', 'a int', 'a int, b int'), undefined)
  const columns = (was: string, now: string) =>
    changedText({ object: 'columns of public.visits', was, now })
  t.equal(
    columns('a int, b numeric(8,2)', 'a int, b numeric(9,2), c text'),
    'columns of public.visits: - b numeric(8,2), + b numeric(9,2), + c text',
  )
  t.equal(columns('a int, b int', 'b int, a int'), 'columns of public.visits: another order')
  t.equal(remedy('table public.visits', 'oid 1 file 1', 'oid 1 file 2'), undefined)
  t.equal(
    remedy('gate on public.visits', 'oid 1 xmin 1 enabled A', 'oid 2 xmin 9 enabled A'),
    undefined,
  )
  t.equal(
    remedy('gate on public.old_part', 'oid 1 xmin 1 enabled A', null),
    undefined,
    'a detached partition',
  )
  t.match(
    remedy('gate on public.new_part', null, 'missing'),
    /CREATE TRIGGER .* ON "public"\."new_part" .*gate_3\(\); ALTER TABLE/,
  )
  t.match(
    remedy('gate on public.visits', 'x enabled A', 'x enabled O'),
    /^there, as setup: ALTER TABLE "public"\."visits" ENABLE ALWAYS/,
  )
  t.match(
    remedy('publication of public.visits', '1', null),
    /ALTER PUBLICATION "banyan_visits" ADD TABLE/,
  )
  t.match(remedy('table public.visits', 'oid 1 file 1', 'missing'), /banyan back visits legacy/)
  t.match(remedy('gate function', 'md5', null), /banyan back visits legacy/)
})

void t.test('a code that no question asks for is counted all the same', async t => {
  const problem = { code: 'NEW_ONE', message: 'm', hint: 'h' }
  const checks = checksOf('legacy', [['known', ['KNOWN']]], [problem])
  t.match(checks, [
    { what: 'known', state: 'ok' },
    { what: 'NEW_ONE', state: 'bad' },
  ])
})
