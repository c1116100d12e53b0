/** The view that the finance department's spreadsheets read. */
import type { ClinicMigration } from '../migrate.ts'

export const reporting: ClinicMigration = {
  name: '005-reporting',
  up: async database => {
    await database.raw(`
      create view reporting_daily as
      select (a.starts_at at time zone 'UTC')::date as day,
        p.name as practitioner,
        count(*) as appointments,
        sum(a.fee) as revenue
      from appointments a
      join practitioners p on p.id = a.practitioner_id
      where a.status <> 'cancelled'
      group by 1, 2
    `)
  },
  down: async database => {
    await database.raw('drop view reporting_daily')
  },
}
