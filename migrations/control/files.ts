/** The files that a controller took up last: what goes on, or has to be braked, while the present ones are broken. */
export const FILES_UP = `
ALTER TABLE banyan.controller ADD COLUMN files jsonb;
COMMENT ON COLUMN banyan.controller.files IS 'banyan.yaml and slices/ as a controller last took them up, without problems; they hold references, never secrets';
`

export const FILES_DOWN = `ALTER TABLE banyan.controller DROP COLUMN files`
