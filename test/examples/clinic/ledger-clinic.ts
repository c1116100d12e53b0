/**
 * A small clinic for the ledger to judge: real tables, real sockets, and switches that make it lie
 * in one way each.
 */
import { EventEmitter, once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import pg from 'pg'
import { answer, serve, type Lie, type Lies } from './ledger-routes.ts'

/** What happens to a request before the clinic looks at it; true where it was dealt with. */
export type Interference = (
  request: IncomingMessage,
  response: ServerResponse,
) => boolean | Promise<boolean>

export interface FakeClinic {
  readonly url: string
  /** Lies so many times, and resolves when it has. */
  lie(which: Lie, times?: number): Promise<void>
  interfere: Interference
  close(): Promise<void>
}

export async function startFakeClinic(databaseUrl: string): Promise<FakeClinic> {
  const pool = new pg.Pool({
    connectionString: databaseUrl,
    max: 8,
    types: { getTypeParser: parserOf },
  })
  pool.on('error', () => undefined)
  const told = new EventEmitter()
  const lies: Lies = {
    lostWrite: 0,
    doubledWrite: 0,
    ghost: 0,
    lostUpdate: 0,
    undead: 0,
    wrongCounter: 0,
    lostVisit: 0,
    halfTransfer: 0,
    staleRead: 0,
    staleList: 0,
    lostPhone: 0,
  }
  const lie = (which: Lie): boolean => {
    if (lies[which] <= 0) return false
    lies[which]--
    told.emit(which)
    return true
  }
  const clinic: FakeClinic = {
    url: '',
    async lie(which, times = 1) {
      lies[which] = times
      while (lies[which] > 0) await once(told, which)
    },
    interfere: () => false,
    close: async () => {
      server.closeAllConnections()
      server.close()
      if (!pool.ending) await pool.end()
    },
  }
  const server: Server = createServer((request, response) => {
    void (async () => {
      if (await clinic.interfere(request, response)) return
      await serve({ pool, lie, request, response })
    })().catch((error: Error) => answer(response, 500, { error: error.message }))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return Object.assign(clinic, {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
  })
}

function parserOf(oid: number): (text: string) => unknown {
  if (oid === 20) return Number
  if (oid === 1184) return text => new Date(text).toISOString()
  return pg.types.getTypeParser(oid) as (text: string) => unknown
}
