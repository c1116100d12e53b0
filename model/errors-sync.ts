/** What can go wrong between the databases: reading changes, slots, the first copy, mappings. */
import { defineErrors } from './errors.ts'

export const SYNC_ERRORS = defineErrors({
  PGOUTPUT_MALFORMED: {
    message: 'the change stream sent bytes that are no message: %s',
    hint: 'nothing of it was applied; look for a proxy between here and the source, then run `banyan doctor <slice>`',
    status: 502,
    exit: 5,
  },
  PGOUTPUT_VERSION: {
    message: 'the change stream sent a message of a newer protocol, tag "%s"',
    hint: 'only protocol version 1 is asked for; see who else uses the slot, then run `banyan doctor <slice>`',
    status: 502,
    exit: 5,
  },
  PUBLICATION_MISSING: {
    message: 'the source has no publication "%s"',
    hint: 'changes made while it was away are not in the stream: go back and forward again, which makes it anew and copies all: banyan back <slice> legacy',
    status: 409,
    exit: 5,
  },
  COPY_ADDED: {
    message:
      '%s came into services.%s.copies after its other copies were made: its rows are not there',
    hint: 'take it out of the file again, or take every slice of %2 back to legacy and forward again, which copies it: banyan back <slice> legacy',
    status: 409,
    exit: 5,
  },
  SLOT_MISSING: {
    message: 'the source has no replication slot "%s"',
    hint: 'its changes are gone: the slice needs a new copy; run `banyan doctor <slice>`',
    status: 409,
    exit: 5,
  },
  SLOT_LOST: {
    message: 'the source has given up the replication slot "%s" (wal_status is lost)',
    hint: 'raise max_slot_wal_keep_size or its disk, then make a new copy: run `banyan doctor <slice>`',
    status: 409,
    exit: 5,
  },
  SLOT_AHEAD: {
    message:
      'slot "%s" stands at %s, the target only at %s: what lies between can not be read again',
    hint: 'somebody else moved the slot, or the target was restored; run `banyan doctor <slice>`',
    status: 409,
    exit: 5,
  },
  SOURCE_REWOUND: {
    message: 'the source ends at %s, but %s has been applied from it: its history was cut',
    hint: 'it was restored, or a standby behind it took over; run `banyan doctor <slice>`',
    status: 409,
    exit: 5,
  },
  SLOT_BUSY: {
    message: 'slot "%s" is in use by %s',
    hint: 'another worker reads it, or a dead one is still being noticed; look with `banyan status`',
    status: 409,
    exit: 4,
    retry: true,
  },
  SLOT_EXISTS: {
    message: 'the source already has a replication slot "%s"',
    hint: 'an earlier copy was interrupted; begin it again with `banyan flip <slice> sync`',
    status: 409,
    exit: 3,
  },
  STREAM_LOST: {
    message: 'the change stream was lost: %s',
    hint: 'it is opened again from the last position; if it stays away, run `banyan doctor <slice>`',
    status: 503,
    exit: 4,
    retry: true,
  },
  STREAM_FAILED: {
    message: 'the source ended the change stream: %s',
    hint: 'see its server log, then run `banyan doctor <slice>`',
    status: 502,
    exit: 5,
  },
  SNAPSHOT_GONE: {
    message: 'the snapshot of slot "%s" is gone: %s',
    hint: 'begin the copy again with `banyan flip <slice> sync`',
    status: 409,
    exit: 4,
    retry: true,
  },
  TARGET_NOT_EMPTY: {
    message: 'the copy would go into tables that have rows: %s',
    hint: 'if an earlier copy left them, begin again with `banyan flip <slice> sync`; else move the rows away',
    status: 409,
    exit: 3,
  },
  COPY_FAILED: {
    message: 'copying %s to %s failed: %s',
    hint: 'clear the cause, then begin the copy again with `banyan flip <slice> sync`',
    status: 409,
    exit: 3,
  },
  COPY_COUNT: {
    message: '%s: %s rows were read, %s were written to %s',
    hint: 'a trigger or a rule of the target drops rows; run `banyan doctor <slice>`',
    status: 409,
    exit: 5,
  },
  MAPPING_CLASH: {
    message: '%s: the columns %s and %s both go to %s.%s',
    hint: 'rename one of them in the slice file, then run `banyan lint`',
    status: 409,
    exit: 3,
  },
})
