/** What the control plane refuses or gives up. */
import { defineErrors } from './errors.ts'

export const CONTROL_ERRORS = defineErrors({
  FLIP_REFUSED: {
    message: '"%s" can not go to %s now: %3',
    hint: 'nothing was changed; each line says what clears it, then run the same command again',
    status: 409,
    exit: 3,
  },
  FLIP_IN_PROGRESS: {
    message: '"%s" is on its way to %s already, asked for by %s',
    hint: 'wait for it: banyan status %1',
    status: 409,
    exit: 3,
  },
  FLIP_UNDONE: {
    message: '"%s" stays at %s: %s',
    hint: 'the flip was undone, no write was lost; see `banyan journal %1`, then run it again',
    status: 409,
    exit: 4,
    retry: true,
  },
  SLICE_UNKNOWN: {
    message: 'there is no slice "%s"',
    hint: 'the slices are: %2; see `banyan status`',
    status: 404,
    exit: 2,
  },
  NOT_DRAINED: {
    message: 'requests of "%s" were still under way after %s ms: %s',
    hint: 'nothing changed; look at that request, or raise cutover.drainMs, then run the same command again',
    status: 409,
    exit: 4,
    retry: true,
  },
  NOT_QUIET: {
    message: 'the tables of "%s" did not come to rest within %s ms: %s',
    hint: 'nothing changed; wait for that transaction or end it, then run the same command again',
    status: 409,
    exit: 4,
    retry: true,
  },
  NOT_REACHED: {
    message: 'the stream did not reach the fence of "%s" within %s ms',
    hint: 'the flip was undone; see `banyan status %1`, then run the same command again',
    status: 409,
    exit: 4,
    retry: true,
  },
  NOT_EQUAL: {
    message: '%s rows of "%s" differ between the two sides, both standing still',
    hint: 'the flip was undone; banyan verify %2',
    status: 409,
    exit: 3,
  },
  ROUTERS_LATE: {
    message: 'not every router took the new table within %s ms: %s',
    hint: 'the gates protect the data; look at that router: banyan status',
    status: 409,
    exit: 4,
  },
  CONTROLLER_SILENT: {
    message: 'nobody took up the flip of "%s" within %s ms',
    hint: 'start a controller: banyan run control; see `banyan status`',
    status: 503,
    exit: 4,
    retry: true,
  },
  OVERRIDDEN: {
    message: '"%s" is held at %s by %s: %s',
    hint: 'take the brake off first: banyan release %1',
    status: 409,
    exit: 3,
  },
  VERIFY_DIFFERS: {
    message: '%s rows of "%s" differ',
    hint: 'look at the keys: banyan why %2',
    status: 409,
    exit: 3,
  },
})
