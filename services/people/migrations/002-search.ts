/** Patients are looked up by how their name or their record number begins. */
import type { ServiceMigration } from '../migrate.ts'

export const search: ServiceMigration = {
  name: '002-search',
  up: async database => {
    await database.raw(`
      create index patient_by_name on patient (lower(name collate "C") text_pattern_ops);
      create index patient_by_mrn on patient (mrn text_pattern_ops);
    `)
  },
  down: async database => {
    await database.raw('drop index patient_by_mrn, patient_by_name')
  },
}
