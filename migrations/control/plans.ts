/** What a person looked at before they said yes, who said so, and a pause beside the brake. */
export const PLANS_UP = `
CREATE TABLE banyan.plan (
  hash text PRIMARY KEY,
  slice text NOT NULL REFERENCES banyan.slice,
  from_stage text NOT NULL,
  to_stage text NOT NULL,
  percent numeric NOT NULL,
  epoch bigint NOT NULL,
  planned_by text NOT NULL,
  planned_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  good_until timestamptz NOT NULL
);
COMMENT ON TABLE banyan.plan IS 'flips of the owner that somebody looked at; the hash covers what they rest on';

CREATE TABLE banyan.approval (
  hash text NOT NULL REFERENCES banyan.plan ON DELETE CASCADE,
  actor text NOT NULL,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  good_until timestamptz NOT NULL,
  PRIMARY KEY (hash, actor)
);

ALTER TABLE banyan.slice ADD COLUMN override_paused boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN banyan.slice.override_paused IS 'a pause: an override to the stage where the slice stands, and it moves along with a flip that was under way';
`

export const PLANS_DOWN = `
ALTER TABLE banyan.slice DROP COLUMN override_paused;
DROP TABLE banyan.approval, banyan.plan;
`
