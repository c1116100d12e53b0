/** The files that `banyan init` writes, as texts: banyan.yaml, and the URLs of the three roles with new passwords. */
import { randomBytes } from 'node:crypto'
import { stringify } from 'yaml'
import { BanyanFile } from '../model/banyan-file.ts'
import { must } from '../model/errors.ts'
import type { DatabaseUrls } from '../model/wiring.ts'
import type { Guess, Monolith } from './init-monolith.ts'

const ROLES = ['setup', 'apply', 'capture'] as const

/** Of a file without any: what is written may rest on them. */
export const LIMITS = BanyanFile.parse({
  version: 1,
  legacy: { url: 'http://127.0.0.1', database: 'env:X' },
}).limits

export interface DatabaseWanted {
  /** `legacy`, or a service's name. */
  readonly name: string
  readonly url: string
  /** Where the URL is: `env:HIS_URL`. */
  readonly reference: string
  /** Undefined where nothing is known of it but its reference. */
  readonly address: string | undefined
}

export function secretFile(name: string, role: string): string {
  return `secrets/${name}-${role}.url`
}

/**
 * The address as each role uses it. `known`: a URL that an earlier run has left for the role: its name and password stay.
 */
export async function roleUrls(
  { name, address }: { readonly name: string; readonly address: string },
  known: (file: string) => Promise<string | undefined>,
): Promise<DatabaseUrls> {
  const urls: Record<string, string> = {}
  for (const role of ROLES) {
    const url = new URL(address)
    const before = urlOf(await known(secretFile(name, role)))
    url.username = before?.username ?? encodeURIComponent(roleName(address, role))
    url.password = before?.password ?? randomBytes(24).toString('hex')
    urls[role] = url.href
  }
  const { setup, apply, capture } = urls
  return {
    setup: must(setup, 'setup'),
    apply: must(apply, 'apply'),
    capture: must(capture, 'capture'),
  }
}

function urlOf(text: string | undefined): URL | undefined {
  const url = text !== undefined && URL.canParse(text.trim()) ? new URL(text.trim()) : undefined
  return url?.username && url.password ? url : undefined
}

/** Roles belong to a whole server, which may hold several databases of one project. */
function roleName(address: string, role: string): string {
  const database = databaseName(address)
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '_')
    .slice(0, 40)
  return `banyan_${database}_${role}`
}

/** As PostgreSQL does where a URL names none. */
export function databaseName(address: string): string {
  const { pathname, username } = new URL(address)
  return decodeURIComponent(pathname.slice(1)) || decodeURIComponent(username)
}

/** A façade can't listen where the monolith does. */
function listenOf(url: string): string {
  const { hostname, port } = new URL(url)
  const here = /^(localhost|127\..*|0\.0\.0\.0|\[::1?\])$/.test(hostname)
  return `127.0.0.1:${here && port === '8080' ? 8081 : 8080}`
}

/** Few lines; a comment where a choice is left. */
export function banyanText(
  databases: readonly [DatabaseWanted, ...DatabaseWanted[]],
  { aliases, cookie }: Monolith,
): string {
  const [legacy, ...services] = databases
  return [
    '# Written by `banyan init`; docs/config.md has every key, `banyan lint` checks it.',
    'version: 1',
    'legacy:',
    `  url: ${plain(legacy.url)}`,
    ...databaseLines(legacy, '  '),
    `  aliases: ${aliases.aliases} # ${aliasesComment(aliases)}`,
    ...(services.length > 0 ? ['services:'] : []),
    ...services.flatMap(service => [
      `  ${service.name}:`,
      `    url: ${plain(service.url)}`,
      ...databaseLines(service, '    '),
    ]),
    '# identity: { cookie: ' +
      `${cookie ?? '<session cookie>'}, whoami: GET /<path that says whose session it is> } # else services get none`,
    'control: { database: embedded } # or env:BANYAN_DATABASE_URL: a database and a role of its own',
    `router: { listen: '${listenOf(legacy.url)}' }`,
    '',
  ].join('\n')
}

function databaseLines({ name, reference, address }: DatabaseWanted, indent: string): string[] {
  if (address === undefined) {
    return [
      `${indent}database: ${plain(reference)} # not looked at: give it three roles before a flip`,
    ]
  }
  return [
    `${indent}database:`,
    ...ROLES.map(role => `${indent}  ${role}: file:${secretFile(name, role)}`),
  ]
}

function aliasesComment(guess: Guess): string {
  const others = 'express, rails, spring, aspnet, php or strict'
  if (guess.because.length === 0) return `nothing spoke for a framework: ${others}`
  const spoke = guess.because.join(', ')
  return guess.torn ? `${spoke}: several speak, choose: ${others}` : `${spoke}; else ${others}`
}

function plain(text: string): string {
  return stringify(text, { lineWidth: 0 }).trimEnd()
}
