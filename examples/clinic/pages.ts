/** The pages that the clinic's staff have open all day, drawn on the server. */
import type { Database, Row } from './database.ts'
import { getPatient } from './patients.ts'
import { auditRead } from './records.ts'
import type { Answer, ClinicRequest, Handler, Route } from './routes.ts'

export function pageRoutes(database: Database): readonly Route[] {
  return [
    ['GET', '/', home()],
    ['GET', '/appointments', signedIn(appointmentsPage(database))],
    ['GET', '/patients/:id', signedIn(patientPage(database))],
  ]
}

function signedIn(handler: Handler): Handler {
  return async (request: ClinicRequest): Promise<Answer> =>
    request.session
      ? handler(request)
      : { status: 302, html: page('Sign in', '<p>Sign in.</p>'), headers: { location: '/' } }
}

function home(): Handler {
  return async ({ session }) => {
    const body = session
      ? `<p>Signed in as ${escape(session.username)} (${escape(session.role)}).</p>
<p><a href="/appointments">Appointments</a></p>`
      : SIGN_IN
    return { status: 200, html: page('Clinic', body + LIVE_BOARD) }
  }
}

function appointmentsPage(database: Database): Handler {
  return async () => {
    const rows = await database.rows(
      `select a.id, a.starts_at, a.status, p.id as patient_id, p.name as patient, d.name as practitioner
       from appointments a
       join patients p on p.id = a.patient_id
       join practitioners d on d.id = a.practitioner_id
       order by a.id desc limit 50`,
    )
    const lines = rows.map(row =>
      cells([
        cell(row.id),
        cell(row.starts_at),
        `<a href="/patients/${cell(row.patient_id)}">${cell(row.patient)}</a>`,
        cell(row.practitioner),
        cell(row.status),
      ]),
    )
    return { status: 200, html: page('Appointments', table(APPOINTMENT_HEADINGS, lines)) }
  }
}

const APPOINTMENT_HEADINGS = ['No', 'Time', 'Patient', 'Practitioner', 'Status']

function patientPage(database: Database): Handler {
  return async request => {
    const patient = await getPatient(database, request.params)
    const appointments = await database.rows(
      `select id, starts_at, status from appointments where patient_id = $1
       order by starts_at desc limit 20`,
      [patient.id],
    )
    const records = await database.rows(
      `select at, entry ->> 'title' as title from medical_records where patient_id = $1
       order by at desc limit 20`,
      [patient.id],
    )
    await auditRead(database, request, patient.id)
    return {
      status: 200,
      html: page(String(patient.name), patientBody({ patient, appointments, records })),
    }
  }
}

interface PatientView {
  readonly patient: Row
  readonly appointments: readonly Row[]
  readonly records: readonly Row[]
}

function patientBody({ patient, appointments, records }: PatientView): string {
  const line = (row: Row) => cells(Object.values(row).map(cell))
  return `<dl><dt>Record</dt><dd>${cell(patient.mrn)}</dd><dt>Born</dt><dd>${cell(patient.birth_date)}</dd>
<dt>Phone</dt><dd>${cell(patient.phone)}</dd><dt>Visits</dt><dd>${cell(patient.visits)}</dd></dl>
<h2>Appointments</h2>${table(['No', 'Time', 'Status'], appointments.map(line))}
<h2>Records</h2>${table(['Time', 'Title'], records.map(line))}`
}

const SIGN_IN = `<form id="sign-in"><label>Name <input name="username" required></label><button>Sign in</button></form>
<script>
document.getElementById('sign-in').addEventListener('submit', async event => {
  event.preventDefault()
  const username = new FormData(event.target).get('username')
  await fetch('/api/login', { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ username }) })
  location.reload()
})
</script>`

const LIVE_BOARD = `<h2>Now</h2><pre id="board">…</pre>
<script>
const board = new WebSocket(location.origin.replace('http', 'ws') + '/live')
board.onmessage = event => { document.getElementById('board').textContent = event.data }
</script>`

function page(title: string, body: string): string {
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>${escape(title)}</title></head>
<body><h1>${escape(title)}</h1>
${body}
</body></html>
`
}

function table(headings: readonly string[], lines: readonly string[]): string {
  const head = headings.map(heading => `<th>${heading}</th>`).join('')
  return `<table><thead><tr>${head}</tr></thead><tbody>${lines.join('')}</tbody></table>`
}

const cells = (parts: readonly string[]) =>
  `<tr>${parts.map(part => `<td>${part}</td>`).join('')}</tr>`

function cell(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' ? escape(String(value)) : ''
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

function escape(value: string): string {
  return value.replaceAll(/[&<>"']/g, character => ENTITIES[character] ?? character)
}
