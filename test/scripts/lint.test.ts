import t, { type Test } from 'tap'
import { runLint } from '../../scripts/lint.ts'
import { APPOINTMENTS_YAML, BANYAN_YAML, PATIENTS_YAML, swap } from '../support/project-files.ts'

const SLICES = { 'appointments.yaml': APPOINTMENTS_YAML, 'patients.yaml': PATIENTS_YAML }

async function lintFolder(
  t: Test,
  files: NonNullable<Parameters<Test['testdir']>[0]>,
  options: { readonly json?: boolean } = {},
) {
  const folder = t.testdir(files)
  let out = ''
  const exit = await runLint({
    config: `${folder}/banyan.yaml`,
    json: options.json ?? false,
    color: false,
    write: text => (out += text),
  })
  return { exit, out }
}

void t.test('a good project is one line and exit 0', async t => {
  const { exit, out } = await lintFolder(t, { 'banyan.yaml': BANYAN_YAML, slices: SLICES })
  t.equal(out, '✔ banyan.yaml and 2 slices: nothing wrong\n')
  t.equal(exit, 0)
})

void t.test('a project without slices is good', async t => {
  const { exit, out } = await lintFolder(t, { 'banyan.yaml': BANYAN_YAML })
  t.match(out, /^✔ banyan.yaml and 0 slices: nothing wrong\nnext: write slices\/<name>\.yaml /)
  t.equal(exit, 0)
})

void t.test(
  'everything that is wrong is shown at once, with exit 2 and the next command',
  async t => {
    const { exit, out } = await lintFolder(t, {
      'banyan.yaml': swap(
        BANYAN_YAML,
        'env:LEGACY_DATABASE_URL',
        'postgres://clinic:s3cret@db/clinic',
      ),
      slices: {
        ...SLICES,
        'appointments.yaml': swap(APPOINTMENTS_YAML, 'percent: 5', 'percent: 5, writes: 5'),
      },
    })
    t.equal(
      out,
      `banyan.yaml:5:13  SECRET_LITERAL
  a secret stands here in plain text; files only say where it is
  5 |   database: postgres://clinic:******@db/clinic
    |             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  hint: write \`env:NAME\` or \`file:PATH\` and put the URL there; if this was
  committed, change the password

slices/appointments.yaml:14:68  WRITES_PERCENT
  percent moves reads; ownership of writes moves once ("writes" asks for a part
  of the writes)
  14 | … cookie:clinic_sid], percent: 5, writes: 5, include: [header:x-beta=1] }
     |                                   ^^^^^^
  hint: take the key out; all writes move together with \`banyan flip <slice>
  moved\`

✖ 2 problems in 2 files      next: banyan lint
`,
    )
    t.equal(exit, 2)
  },
)

void t.test('json has the same findings as values', async t => {
  const files = {
    'banyan.yaml': swap(BANYAN_YAML, 'express', 'expres'),
    slices: SLICES,
  }
  const { exit, out } = await lintFolder(t, files, { json: true })
  t.match(JSON.parse(out), {
    ok: false,
    slices: 2,
    diagnostics: [{ file: 'banyan.yaml', line: 6, column: 12, code: 'VALUE_UNKNOWN' }],
  })
  t.equal(exit, 2)
  const good = await lintFolder(t, { 'banyan.yaml': BANYAN_YAML, slices: SLICES }, { json: true })
  t.strictSame(JSON.parse(good.out), { ok: true, slices: 2, diagnostics: [] })
})

void t.test('a slice file with another ending is named, other files are left alone', async t => {
  const { exit, out } = await lintFolder(t, {
    'banyan.yaml': BANYAN_YAML,
    slices: { ...SLICES, 'other.yml': PATIENTS_YAML, 'README.md': '#', '.#patients.yaml': '' },
  })
  t.match(out, /^slices\/other\.yml:1:1 {2}FILE_NAME/m)
  t.notMatch(out, 'README')
  t.equal(exit, 2)
})

void t.test('routes that the monolith’s framework treats as one clash', async t => {
  const slice = (route: string) => `service: people\nstage: sync\nroutes: ['${route}']\n`
  for (const [a, b] of [
    ['GET /api/Doctors', 'GET /API/doctors'],
    ['GET /api/doctors/', 'GET /api/doctors'],
    ['GET /api/%64octors', 'GET /api/doctors'],
  ] as const) {
    const slices = { 'a.yaml': slice(a), 'b.yaml': slice(b) }
    const { out } = await lintFolder(t, { 'banyan.yaml': BANYAN_YAML, slices })
    t.match(out, /^slices\/b\.yaml:3:10 {2}ROUTE_CONFLICT/m, `${a}, ${b}`)
    const strict = swap(BANYAN_YAML, 'aliases: express', 'aliases: strict')
    const other = await lintFolder(t, { 'banyan.yaml': strict, slices })
    t.equal(other.exit, a.includes('%64') ? 2 : 0, `strict: ${a}, ${b}`)
  }
})

void t.test('no file at all is an error with a code', async t => {
  await t.rejects(lintFolder(t, {}), { code: 'CONFIG_MISSING', rule: { exit: 2 } })
})
