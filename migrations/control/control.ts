/** Banyan's own database: what is wanted, what was decided and how it ended, and what routers and workers last said. */
import type { Migration } from '../runner.ts'
import { FILES_DOWN, FILES_UP } from './files.ts'
import { PLANS_DOWN, PLANS_UP } from './plans.ts'

export function controlMigrations(): Migration[] {
  return [
    { name: '0001-control', up: db => db.raw(UP), down: db => db.raw(DOWN) },
    { name: '0002-plans', up: db => db.raw(PLANS_UP), down: db => db.raw(PLANS_DOWN) },
    { name: '0003-files', up: db => db.raw(FILES_UP), down: db => db.raw(FILES_DOWN) },
  ]
}

const UP = `
CREATE TABLE banyan.slice (
  name text PRIMARY KEY,
  number int GENERATED ALWAYS AS IDENTITY UNIQUE,
  service text NOT NULL,
  stage text NOT NULL DEFAULT 'legacy',
  percent numeric NOT NULL DEFAULT 0,
  epoch bigint NOT NULL DEFAULT 0,
  since timestamptz NOT NULL DEFAULT clock_timestamp(),
  wanted_stage text,
  wanted_percent numeric,
  override_stage text,
  override_by text,
  override_reason text,
  override_at timestamptz
);
COMMENT ON TABLE banyan.slice IS 'fact (stage) beside intent (wanted: the file; override: a brake that stands until it is released)';

CREATE TABLE banyan.journal (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  actor text NOT NULL,
  slice text,
  kind text NOT NULL,
  detail jsonb NOT NULL DEFAULT '{}'
);
CREATE FUNCTION banyan.append_only() RETURNS trigger LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN RAISE EXCEPTION 'the journal is only appended to'; END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON banyan.journal
  FOR EACH STATEMENT EXECUTE FUNCTION banyan.append_only();

CREATE TABLE banyan.flip (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  slice text NOT NULL REFERENCES banyan.slice,
  from_stage text NOT NULL,
  to_stage text NOT NULL,
  percent numeric NOT NULL DEFAULT 0,
  actor text NOT NULL,
  reason text,
  proof text,
  kind text NOT NULL CHECK (kind IN ('flip', 'back', 'file', 'rehearsal', 'abandon')),
  epoch bigint,
  requested_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  started_at timestamptz,
  ended_at timestamptz,
  outcome text CHECK (outcome IN ('done', 'refused', 'undone')),
  error jsonb
);
CREATE UNIQUE INDEX flip_one_at_a_time ON banyan.flip (slice) WHERE ended_at IS NULL;

CREATE TABLE banyan.flip_step (
  flip bigint NOT NULL REFERENCES banyan.flip,
  step text NOT NULL,
  started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  ms float8,
  detail jsonb,
  PRIMARY KEY (flip, step, started_at)
);

CREATE TABLE banyan.orders (
  version bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  orders jsonb NOT NULL
);

CREATE TABLE banyan.router (
  id uuid PRIMARY KEY,
  address text NOT NULL,
  version bigint NOT NULL DEFAULT 0,
  drained jsonb NOT NULL DEFAULT '[]',
  waiting jsonb NOT NULL DEFAULT '[]',
  report jsonb NOT NULL DEFAULT '[]',
  started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  lease_until timestamptz NOT NULL
);

CREATE TABLE banyan.stream (
  name text PRIMARY KEY,
  slice text,
  state text NOT NULL DEFAULT 'new' CHECK (state IN ('new', 'copying', 'streaming', 'failed', 'off')),
  rows_copied bigint NOT NULL DEFAULT 0,
  rows_total bigint NOT NULL DEFAULT 0,
  position pg_lsn,
  watermark pg_lsn,
  lag_ms float8,
  error jsonb,
  worker uuid,
  beat_at timestamptz,
  heard_at timestamptz
);
COMMENT ON COLUMN banyan.stream.heard_at IS 'when its source last said how far it is; beat_at: when its worker last said anything';

CREATE TABLE banyan.verification (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  slice text NOT NULL,
  requested_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  actor text NOT NULL,
  ended_at timestamptz,
  rows bigint,
  differences bigint,
  tables jsonb,
  ms float8,
  error jsonb
);

CREATE TABLE banyan.refused_write (
  slice text NOT NULL,
  side text NOT NULL,
  position pg_lsn NOT NULL,
  at timestamptz NOT NULL,
  operation text NOT NULL,
  relation text NOT NULL,
  role text NOT NULL,
  application text NOT NULL,
  PRIMARY KEY (slice, side, position)
);

CREATE TABLE banyan.rogue_write (
  slice text NOT NULL,
  side text NOT NULL,
  position pg_lsn NOT NULL,
  ordinal int NOT NULL,
  at timestamptz NOT NULL,
  operation text NOT NULL,
  relation text NOT NULL,
  key text NOT NULL,
  resolved_by text,
  resolved_at timestamptz,
  PRIMARY KEY (slice, side, position, ordinal)
);

CREATE TABLE banyan.abandoned (
  slice text NOT NULL,
  epoch bigint NOT NULL,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  actor text,
  proof text,
  position pg_lsn,
  heard_at timestamptz,
  returned_at timestamptz,
  was_open boolean,
  closed_position pg_lsn,
  copied_at timestamptz,
  accepted_by text,
  accepted_at timestamptz,
  PRIMARY KEY (slice, epoch)
);
COMMENT ON TABLE banyan.abandoned IS 'databases of services that legacy took a slice''s tables from without all of their writes, and what became of them';

CREATE TABLE banyan.census (
  slice text NOT NULL,
  relation text NOT NULL,
  transactions bigint NOT NULL,
  since timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (slice, relation)
);
COMMENT ON TABLE banyan.census IS 'in how many transactions on the slice another table was written too; relation "" counts them all';

CREATE TABLE banyan.writer (
  slice text NOT NULL,
  role text NOT NULL,
  application text NOT NULL,
  transactions bigint NOT NULL,
  first_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  last_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (slice, role, application)
);

CREATE TABLE banyan.identity_key (
  id int PRIMARY KEY CHECK (id = 1),
  jwk jsonb NOT NULL
);

CREATE TABLE banyan.controller (
  id int PRIMARY KEY CHECK (id = 1),
  holder uuid NOT NULL,
  host text NOT NULL,
  config_path text NOT NULL,
  problems jsonb NOT NULL DEFAULT '[]',
  since timestamptz NOT NULL DEFAULT clock_timestamp(),
  beat_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
`

const DOWN = `
DROP TABLE banyan.controller, banyan.identity_key, banyan.writer, banyan.census, banyan.abandoned, banyan.rogue_write,
  banyan.refused_write, banyan.verification, banyan.stream, banyan.router, banyan.orders, banyan.flip_step, banyan.flip,
  banyan.journal, banyan.slice;
DROP FUNCTION banyan.append_only();
`
