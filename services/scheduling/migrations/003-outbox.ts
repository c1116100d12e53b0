/** Messages on their way out. A row leaves when it is delivered; `refused` keeps the status of those that never will be. */
import type { ServiceMigration } from '../migrate.ts'

export const outbox: ServiceMigration = {
  name: '003-outbox',
  up: async database => {
    await database.raw(`
      create table outbox (
        id bigserial primary key,
        dedupe text not null unique,
        patient_id bigint not null,
        body text not null,
        attempts int not null default 0,
        due_at timestamptz not null default now(),
        refused text,
        created_at timestamptz not null default now()
      );
      create index outbox_due on outbox (due_at) where refused is null;
    `)
  },
  down: async database => {
    await database.raw('drop table outbox')
  },
}
