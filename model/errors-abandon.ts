/** When the way back isn't whole: a service's database that is gone, or a stream that doesn't bring its writes any more. */
import { defineErrors } from './errors.ts'

export const ABANDON_ERRORS = defineErrors({
  SERVICE_AWAY: {
    message: 'the database of "%2", which owns the tables of "%1", does not answer: %3',
    hint: 'going back waits for it: start it; if it is gone for good: banyan back %1 --abandon',
    status: 503,
    exit: 5,
    retry: true,
  },
  WOULD_LOSE: {
    message: 'going back now would lose %2 of "%1": %3',
    hint: 'mend the stream (banyan why %1), or give them up: banyan back %1 --abandon',
    status: 409,
    exit: 5,
  },
  ABANDON_NEEDLESS: {
    message: 'the database of "%2" answers, so "%1" has a way back that loses nothing: %3',
    hint: 'nothing was changed; take it: banyan back %1',
    status: 409,
    exit: 3,
  },
  NOT_MOVED: {
    message: '"%s" is at %s: legacy owns its tables, there is nothing to give up',
    hint: 'see `banyan status %1`',
    status: 409,
    exit: 3,
  },
  CONSENT_MISSING: {
    message: 'nobody said that writes of "%s" may be lost: %s',
    hint: 'nothing was changed; on a terminal it asks, else: banyan back %1 --abandon --yes-lose-writes %1 --proof "<how you know that its database can not come back writable>"',
    status: 422,
    exit: 2,
  },
  ABANDONED: {
    message: 'the database of "%2" was given up and %3: what it had stored last is not listed',
    hint: 'let it come back where nobody writes to it; if it is gone for good: banyan doctor %1 --accept',
    status: 409,
    exit: 5,
  },
  BOTH_OPEN: {
    message:
      'the database of "%2" came back open while legacy owned "%1": both sides took writes until %3',
    hint: 'it is closed now; look at what it had stored: banyan why %1, then `banyan doctor %1 --accept`',
    status: 409,
    exit: 5,
  },
  DECISION_LOST: {
    message:
      'legacy has lost the decision of epoch %3: the tables of "%1" were given to "%2", and legacy knows nothing of it',
    hint: 'nothing was accepted; stop whoever writes in legacy and restore it to a later point, see docs/operations.md; then `banyan doctor %1`',
    status: 409,
    exit: 5,
  },
  DATABASE_CHANGED: {
    message: '%s is another database than the one on record: it was system %s, it is system %s',
    hint: 'a restore or a failover: nothing opens by itself, see docs/operations.md; when you have looked: banyan doctor %4 --accept',
    status: 409,
    exit: 5,
  },
})
