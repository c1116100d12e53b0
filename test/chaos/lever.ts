/**
 * Holds a flip at the beginning of a step, so that the fault lies exactly there: a trigger waits for a lock that we have.
 * Steps are recorded in the control database before they act; an abort is held in legacy, written and not yet committed.
 */
import type pg from 'pg'
import { pause } from '../../model/pause.ts'
import { connect, cut } from '../../postgres/connection.ts'
import type { Moment } from './plan.ts'

/** "CHAO" */
const KEY = 0x4348414f
const LOOK_MS = 2
/** Between two looks whether anything will come at all. */
const OVER_EVERY = 20

function trigger(table: string, when: string, aimed: string): string {
  return `
CREATE SCHEMA IF NOT EXISTS chaos;
CREATE TABLE IF NOT EXISTS chaos.aim (step text);
GRANT USAGE ON SCHEMA chaos TO PUBLIC;
GRANT SELECT ON chaos.aim TO PUBLIC;
CREATE OR REPLACE FUNCTION chaos.wait() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$ BEGIN
  IF EXISTS (SELECT 1 FROM chaos.aim WHERE ${aimed}) THEN
    PERFORM pg_catalog.pg_advisory_xact_lock_shared(${KEY});
  END IF;
  RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER chaos_lever ${when} INSERT ON ${table} FOR EACH ROW EXECUTE FUNCTION chaos.wait();`
}

interface Place {
  readonly url: string
  readonly sql: string
}

export class Lever implements AsyncDisposable {
  readonly #steps: Place
  readonly #aborts: Place
  #session: pg.Client | undefined

  private constructor(urls: { readonly control: string; readonly legacy: string }) {
    this.#steps = {
      url: urls.control,
      sql: trigger('banyan.flip_step', 'BEFORE', 'step = NEW.step'),
    }
    this.#aborts = {
      url: urls.legacy,
      sql: trigger('banyan.decision', 'AFTER', `NEW.verdict = 'ABORTED'`),
    }
  }

  /** Superusers' URLs. */
  static async put(urls: { readonly control: string; readonly legacy: string }): Promise<Lever> {
    const lever = new Lever(urls)
    for (const { url, sql } of [lever.#steps, lever.#aborts]) {
      const session = await open(url)
      await session.query(sql)
      await session.end()
    }
    return lever
  }

  /** From now on a flip waits there. */
  async hold(step: Moment): Promise<void> {
    const session = await open((step === 'settle' ? this.#aborts : this.#steps).url)
    this.#session = session
    await session.query('DELETE FROM chaos.aim')
    await session.query('INSERT INTO chaos.aim VALUES ($1)', [step])
    await session.query(`SELECT pg_advisory_lock(${KEY})`)
  }

  /** Resolves with true when a flip waits there, with false when `over` says that none will. */
  async waiting(over: () => Promise<boolean>): Promise<boolean> {
    const session = this.#session
    for (let looks = 1; session; looks++) {
      const { rowCount } = await session.query(
        `SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = ${KEY} AND NOT granted`,
      )
      if (rowCount) return true
      if (looks % OVER_EVERY === 0 && (await over())) return false
      await pause(LOOK_MS)
    }
    return false
  }

  /** Whoever waits goes on; nobody waits any more. Safe to repeat, and while the database is dead or asleep. */
  release(): void {
    if (this.#session) cut(this.#session)
    this.#session = undefined
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.release()
  }
}

function open(url: string): Promise<pg.Client> {
  return connect({ url, applicationName: 'chaos', connectTimeoutMs: 3_000 })
}
