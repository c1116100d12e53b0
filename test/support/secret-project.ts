/** A small project whose every secret and every value of a row is a mark that must not be seen again, with its parts as processes. */
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import type { Test } from 'tap'
import { rolesSql } from '../../postgres/roles.ts'
import { type Part, startPart } from '../../scripts/supervise.ts'
import { query, testCluster, type TestCluster } from './cluster.ts'

/** What is planted, and where. None is part of another, and nothing else of the test is like them. */
export const MARKS = {
  password: 'kanarienpw',
  wrongPassword: 'falschpw',
  literal: 'klartext/pw@9',
  cookie: 'sid-zaunkoenig-51',
  authorization: 'bearer-amsel-88',
  name: 'Kiebitz',
  phone: '+33700471147',
  /** The service takes nobody born so late: what the server says of it quotes the whole row. */
  born: '313370',
  query: 'frage-nach-wem',
  body: 'Befund-Dompfaff',
  answer: 'Antwort-Eisvogel',
} as const

const COLUMNS =
  '(id bigint PRIMARY KEY, name text NOT NULL, phone text UNIQUE, born int, note text)'

export interface SecretProject {
  readonly config: string
  readonly folder: string
  /** Superuser URLs. */
  readonly legacy: string
  readonly service: string
  readonly control: string
  readonly serviceCluster: TestCluster
  /** URL with that role's password. */
  readonly role: (database: 'legacy' | 'people', role: string) => string
  readonly edit: (file: string, change: (text: string) => string) => Promise<() => Promise<void>>
  readonly start: (part: 'router' | 'sync' | 'control') => Promise<Part>
  /** All that the parts have written. */
  readonly logs: () => Promise<string>
}

/** What a monolith and a service say when they say the wrong thing. */
function hostile(request: IncomingMessage, response: ServerResponse): void {
  const { name, phone, answer } = MARKS
  request.resume()
  const path = request.url ?? ''
  const { socket } = request
  if (path.startsWith('/whoami')) {
    const good = request.headers.cookie?.endsWith('-known')
    response.end(good ? JSON.stringify({ sub: phone, role: name }) : `${name} ${phone}`)
  } else if (path.startsWith('/malformed'))
    socket.end(`HTTP/1.1 200 OK\r\n${answer} ${name}\r\n\r\n`)
  else if (path.startsWith('/reset')) socket.destroy()
  else if (path.startsWith('/headers')) {
    socket.end(`HTTP/1.1 200 OK\r\nx-${answer}: ${answer.repeat(9_000)}\r\n\r\n`)
  } else if (path === '/ready') response.end('ok')
  else {
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ name, phone, at: socket.localPort }))
  }
}

export async function secretProject(t: Test): Promise<SecretProject> {
  const serve = async (): Promise<string> => {
    const server = createServer(hostile)
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    t.teardown(() => {
      server.close()
      server.closeAllConnections()
    })
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  }
  const [legacyUrl, serviceUrl] = [await serve(), await serve()]
  const folder = t.testdir({ slices: {}, state: {} })
  await mkdir(join(folder, 'secrets'))
  const urls = new Map<string, string>()
  const side = async (database: 'legacy' | 'people', table: string) => {
    const cluster = await testCluster(t)
    await cluster.createRole('app')
    await cluster.createDatabase(database, { owner: 'app' })
    await query(cluster.url(database, 'app'), `CREATE TABLE ${table} ${COLUMNS}`)
    const role = (name: string) => ({
      name: `banyan_${name}`,
      password: `${MARKS.password}-${database}-${name}`,
    })
    const roles = { setup: role('setup'), apply: role('apply'), capture: role('capture') }
    for (const statement of rolesSql({ database, owner: 'app', schema: 'public', ...roles })) {
      await query(cluster.url(database), statement)
    }
    for (const [name, { name: user, password }] of Object.entries(roles)) {
      const url = `postgres://${user}:${password}@127.0.0.1:${cluster.port}/${database}`
      urls.set(`${database}-${name}`, url)
      await writeFile(join(folder, `secrets/${database}-${name}.url`), url)
    }
    return cluster
  }
  const legacyCluster = await side('legacy', 'patients')
  const serviceCluster = await side('people', 'patient')
  await query(serviceCluster.url('people', 'app'), 'ALTER TABLE patient ADD CHECK (born < 3000)')
  await legacyCluster.createDatabase('control')
  await query(
    legacyCluster.url(),
    `CREATE ROLE banyan_control LOGIN SUPERUSER PASSWORD '${MARKS.password}-control'`,
  )
  const control = `postgres://banyan_control:${MARKS.password}-control@127.0.0.1:${legacyCluster.port}/control`
  await writeFile(join(folder, 'secrets/control.url'), control)
  const roles = (name: string): string =>
    ['setup', 'apply', 'capture']
      .map(role => `${role}: file:secrets/${name}-${role}.url`)
      .join(', ')
  const config = join(folder, 'banyan.yaml')
  await writeFile(
    config,
    `version: 1
legacy: { url: ${legacyUrl}, database: { ${roles('legacy')} } }
services: { people: { url: ${serviceUrl}, database: { ${roles('people')} } } }
identity: { cookie: sid, whoami: GET /whoami }
control: { database: file:secrets/control.url }
router: { listen: 127.0.0.1:0 }
`,
  )
  await writeFile(
    join(folder, 'slices/patients.yaml'),
    `service: people
stage: legacy
routes: ['* /patients/**', '* /malformed', '* /reset', '* /headers']
tables: { patients: { to: patient } }
canary: { by: [cookie:sid], percent: 100 }
shadow: { sample: 100 }
`,
  )
  const state = join(folder, 'state')
  const names: string[] = []
  return {
    ...{ config, folder, control, serviceCluster },
    legacy: legacyCluster.url('legacy'),
    service: serviceCluster.url('people'),
    role: (database, role) => urls.get(`${database}-${role}`)!,
    async edit(file, change) {
      const path = join(folder, file)
      const before = await readFile(path, 'utf8')
      await writeFile(path, change(before))
      return () => writeFile(path, before)
    },
    async start(name) {
      const part = await startPart({
        name,
        script: join(import.meta.dirname, '../../scripts/banyan.js'),
        args: ['run', name, '--config', config],
        folder: state,
      })
      names.push(name)
      t.teardown(() => part[Symbol.asyncDispose]())
      return part
    },
    async logs() {
      const texts = names.map(name => readFile(join(state, `${name}.log`), 'utf8'))
      return (await Promise.all(texts)).join('')
    },
  }
}
