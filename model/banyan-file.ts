/** banyan.yaml: how legacy, the services and Banyan itself are wired. The schema is the validator, the type and the manual. */
import { z } from 'zod'
import type { Aliases } from './orders.ts'
import { count, durationMs } from './units.ts'

/** Names of slices and services become names of slots, publications and roles: 63 bytes with all that is put around them. */
export const NAME = /^(?!legacy$|copies(?:_|$))[a-z][a-z0-9_]{0,30}$/
export const Name = z.string().regex(NAME, 'NAME_INVALID')

const PART = String.raw`[^.\s"'\u0000-\u001f]{1,63}`
/** `patients`, or `billing.invoices` where the schema isn't public. */
export const TableName = z
  .string()
  .regex(new RegExp(`^(?!public\\.)${PART}(?:\\.${PART})?$`), 'TABLE_NAME')

const ALIASES = [
  'express',
  'rails',
  'spring',
  'aspnet',
  'php',
  'strict',
] as const satisfies readonly Aliases[]

const Reference = z.string().regex(/^(?:env:[A-Za-z_][A-Za-z0-9_]*|file:\S(?:.*\S)?)$/, {
  error: issue => (looksLikeUrl(issue.input) ? 'SECRET_LITERAL' : 'REFERENCE_INVALID'),
})

const Database = z
  .union([
    Reference.transform(all => ({ setup: all, apply: all, capture: all })),
    z.strictObject({
      setup: Reference.describe('Role that creates objects: a member of the owner (DDL only).'),
      apply: Reference.describe(
        'Role that writes what the other side committed; used by no application.',
      ),
      capture: Reference.describe('Role that reads the change stream (REPLICATION, SELECT).'),
    }),
  ])
  .meta({
    description:
      'Where the PostgreSQL URL is: `env:NAME` or `file:PATH`, for all three roles or for each. ' +
      'Never the URL itself: files are committed.',
    examples: ['env:LEGACY_DATABASE_URL'],
  })

const Upstream = {
  url: z
    .string()
    .regex(/^https?:\/\/(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::\d{1,5})?\/?$/, 'UPSTREAM_URL')
    .meta({
      description: 'Where its HTTP answers: scheme, host and port, without a path.',
      examples: ['http://127.0.0.1:3000'],
    }),
  database: Database,
  insecure: z
    .boolean()
    .default(false)
    .describe('Accept any TLS certificate of this upstream. `status` shouts while it is true.'),
}

const Legacy = z.strictObject({
  ...Upstream,
  aliases: z
    .enum(ALIASES)
    .default('strict')
    .describe(
      "Which spellings of a path the monolith's framework treats as one, so that none slips past a flip.",
    ),
})

const Service = z.strictObject({
  ...Upstream,
  copies: z
    .array(TableName)
    .max(200)
    .default([])
    .describe('Legacy tables that the service reads and never writes; they are kept in step.'),
})

const Identity = z.strictObject({
  cookie: z
    .string()
    .regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/, 'COOKIE_NAME')
    .describe("The name of the monolith's session cookie."),
  whoami: z
    .string()
    .regex(/^GET \/[^\s?#]*$/, 'WHOAMI_INVALID')
    .meta({
      description: 'What the façade asks the monolith once per session to learn whose it is.',
      examples: ['GET /internal/whoami'],
    }),
})

const Limits = z.strictObject({
  maxSlots: count({
    what: 'Replication slots that Banyan may have in one database',
    unit: 'slots',
    why: 'Each costs about 3 µs for each transaction of the whole cluster, and holds WAL while its reader is away.',
    min: 1,
    max: 64,
    standard: 6,
  }),
  lagMaxMs: durationMs({
    what: 'Lag at which the check LAG stops a flip',
    why: 'The lag is part of the pause: what is behind at the fence must be applied before the new owner opens.',
    min: 1,
    max: 60_000,
    standard: '1s',
  }),
  verifyMaxAgeMs: durationMs({
    what: 'Age at which a verification is too old for a flip of ownership',
    why: 'Both sides are compared exactly only for keys that changed since then, while writes wait.',
    min: 60_000,
    max: 30 * 86_400_000,
    standard: '24h',
  }),
  planMaxAgeMs: durationMs({
    what: 'Age at which a plan, and what was approved by its hash, counts no more',
    why: 'Whoever approves has looked at lag, writers and checks, and those are old within minutes.',
    min: 10_000,
    max: 86_400_000,
    standard: '10min',
  }),
  comparedKeys: count({
    what: 'Changed keys of one table that are remembered, to be compared exactly at the fence',
    unit: 'keys',
    why: 'Some 20,000 take 100 ms of the pause; once more have changed, only a new verification vouches for the flip.',
    min: 0,
    max: 1_000_000,
    standard: 20_000,
  }),
  sequenceHeadroom: count({
    what: 'How far a sequence is moved past the largest value of both sides',
    unit: 'values',
    why: 'A value that was drawn and not yet seen must never be drawn again by the new owner.',
    min: 0,
    max: 1_000_000_000,
    standard: 1_000,
  }),
  copyWorkers: count({
    what: 'Connections that copy tables at the same time during `sync`',
    unit: 'connections',
    why: 'More of them copy faster and take more of the monolith, which has clients to answer.',
    min: 1,
    max: 32,
    standard: 2,
  }),
})

const Router = z.strictObject({
  listen: z
    .string()
    .regex(/^(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):\d{1,5}$/, 'LISTEN_INVALID')
    .refine(text => Number(/\d+$/.exec(text)?.[0]) <= 65_535, 'LISTEN_INVALID')
    .default('127.0.0.1:8080')
    .describe('Address and port of the façade.'),
})

export const BanyanFile = z.strictObject({
  version: z.literal(1).describe('The version of this format.'),
  legacy: Legacy.describe('The monolith.'),
  services: z
    .record(Name, Service)
    .prefault({})
    .describe('The extracted services, by name (a to z, 0 to 9, _).'),
  identity: Identity.optional().describe(
    'How the façade learns who a session belongs to. Without it services get no identity.',
  ),
  control: z
    .strictObject({
      database: z
        .union([z.literal('embedded'), Reference])
        .default('embedded')
        .describe(
          "Banyan's own PostgreSQL: `embedded` (a cluster in the data folder) or where its URL is (`env:NAME`, `file:PATH`).",
        ),
    })
    .prefault({})
    .describe('What Banyan remembers: stages, journal, leases.'),
  capture: z
    .literal('direct')
    .default('direct')
    .describe('How changes are read: from the replication slots of each database.'),
  limits: Limits.prefault({}).describe('What Banyan may take, and what a flip may rest on.'),
  router: Router.prefault({}).describe('The façade.'),
})
export type BanyanFile = z.output<typeof BanyanFile>

/** The three references of a database; one reference in the file stands for all three. */
export type DatabaseRoles = BanyanFile['legacy']['database']

/** Where a secret is. Nothing in model/ reads it. */
export type SecretPlace =
  { readonly kind: 'env'; readonly name: string } | { readonly kind: 'file'; readonly path: string }

/** `env:NAME` or `file:PATH`, as the schema has accepted it. */
export function parseReference(text: string): SecretPlace {
  const rest = text.slice(text.indexOf(':') + 1)
  return text.startsWith('env:') ? { kind: 'env', name: rest } : { kind: 'file', path: rest }
}

/** `billing.invoices` → its two names; a table without a schema is in `public`. */
export function splitTableName(name: string): { readonly schema: string; readonly table: string } {
  const [first = '', second] = name.split('.')
  return second === undefined
    ? { schema: 'public', table: first }
    : { schema: first, table: second }
}

function looksLikeUrl(input: unknown): boolean {
  return (
    typeof input === 'string' && /^\s*[a-z][a-z0-9+.-]*:\/\/|\b(?:host|password)\s*=/i.test(input)
  )
}
