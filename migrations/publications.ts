/** Publications live outside the schema, so dropping the schema doesn't take them; triggers go with their functions. */
import type { Knex } from 'knex'

export async function dropPublications(db: Knex): Promise<void> {
  await db.raw(`DO $$
    DECLARE p record;
    BEGIN
      FOR p IN SELECT pubname FROM pg_catalog.pg_publication WHERE pubname LIKE 'banyan\\_%' LOOP
        EXECUTE pg_catalog.format('DROP PUBLICATION %I', p.pubname);
      END LOOP;
    END $$`)
}
