/** What can stop a stream of changes on its way into the other database. */
import { defineErrors } from './errors.ts'

export const APPLY_ERRORS = defineErrors({
  DIVERGED: {
    message: '%s: %s of %s (%s) met another state than the stream expects',
    hint: 'the stream stands before that transaction and nothing is lost; compare the row on both sides, then `banyan verify`',
    status: 409,
    exit: 5,
  },
  STREAM_TAKEN: {
    message: 'another worker has taken over the stream %s',
    hint: 'this one stops; see `banyan status`',
    status: 409,
    exit: 3,
  },
  STREAM_UNKNOWN: {
    message: 'the database has no progress row for the stream %s',
    hint: 'the copy never finished; go back to legacy and to sync again: `banyan back <slice> legacy`',
    status: 409,
    exit: 5,
  },
  SERVICE_OWNS: {
    message: 'the stream %s has no beginning on record, and legacy does not own the tables',
    hint: 'nothing was copied or emptied: the control database has lost what it knew, a person must look; see `banyan status`',
    status: 409,
    exit: 5,
  },
  VALUE_MISSING: {
    message: '%s: the stream did not send the column %s of a new row',
    hint: 'nothing was written; set REPLICA IDENTITY FULL on the table, then `banyan back <slice> legacy`',
    status: 409,
    exit: 5,
  },
  RESYNC_REQUIRED: {
    message:
      'the two sides of "%s" have gone apart: legacy took the tables in epoch %s without all that its service had stored',
    hint: 'nothing is carried over; it needs a new copy: banyan back %1 legacy, then `banyan flip %1 sync`',
    status: 409,
    exit: 5,
  },
})
