-- Records: what people read of executions. Times are seconds since the epoch, text is as turnout_postgres.plain_text has it.

-- One row: up to where the journal's events are recorded, by which call, and which executions are removed already although
-- their rows are still there: final ones that ended before `removed_before` and have not changed since `removed_at`.
CREATE TABLE record_state (
    position bigint NOT NULL,
    call uuid,
    removed_before double precision NOT NULL DEFAULT '-Infinity',
    removed_at bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 10);
INSERT INTO record_state (position) VALUES (0);

-- Where an execution is: ids say nothing of time, everything else is partitioned by the time of the execution's creation.
CREATE TABLE record_ids (
    id text COLLATE "C" PRIMARY KEY,
    number bigint GENERATED ALWAYS AS IDENTITY,
    created_at double precision NOT NULL
);

-- The partitions there are: of each of the three tables below one, `executions_<suffix>`, for `since` <= created_at < `until`.
CREATE TABLE record_partitions (
    suffix text COLLATE "C" PRIMARY KEY,
    since double precision NOT NULL,
    until double precision NOT NULL
);

CREATE TABLE executions (
    number bigint NOT NULL,
    created_at double precision NOT NULL,
    id text COLLATE "C" NOT NULL,
    tenant text COLLATE "C" NOT NULL,
    instance text COLLATE "C" NOT NULL,
    integration text COLLATE "C" NOT NULL,
    flow text COLLATE "C" NOT NULL,
    parent text COLLATE "C" NOT NULL,
    status text COLLATE "C" NOT NULL,
    attempts bigint NOT NULL,
    started_at double precision,
    ended_at double precision,
    changed bigint NOT NULL,               -- the position at which this row last changed
    error_text text COLLATE "C",           -- the error's message, without case
    trigger_payloads text[] COLLATE "C",   -- hashes of content in the payload store; null if there is none
    output_payloads text[] COLLATE "C",
    error_payloads text[] COLLATE "C",
    info bytea NOT NULL,                   -- turnout.codec
    output bytea,
    error bytea,
    PRIMARY KEY (number, created_at)
) PARTITION BY RANGE (created_at);

-- One index a filter, each in the order of the pages, so that no search reads more than it returns.
CREATE INDEX ON executions (created_at, id);
CREATE INDEX ON executions (tenant, created_at, id);
CREATE INDEX ON executions (tenant, status, created_at, id);
CREATE INDEX ON executions (instance, created_at, id);
CREATE INDEX ON executions (instance, status, created_at, id);
CREATE INDEX ON executions (integration, created_at, id);
CREATE INDEX ON executions (flow, created_at, id);
CREATE INDEX ON executions (status, created_at, id);
CREATE INDEX ON executions (parent, created_at, id) WHERE parent <> '';
CREATE INDEX ON executions (created_at, id) WHERE error_text IS NOT NULL;
CREATE INDEX ON executions (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX ON executions (number)
    WHERE trigger_payloads IS NOT NULL OR output_payloads IS NOT NULL OR error_payloads IS NOT NULL;

CREATE SEQUENCE record_order;

CREATE TABLE steps (
    execution bigint NOT NULL,
    created_at double precision NOT NULL,  -- the execution's
    key text COLLATE "C" NOT NULL,         -- the path, shortened where an index would refuse it
    path text COLLATE "C" NOT NULL,
    ordinal bigint NOT NULL DEFAULT nextval('record_order'),
    kind text COLLATE "C" NOT NULL,
    status text COLLATE "C" NOT NULL,
    attempts bigint NOT NULL,
    started_at double precision NOT NULL,
    duration_ms double precision NOT NULL,
    payloads text[] COLLATE "C",
    output bytea,
    error bytea,
    PRIMARY KEY (execution, key, created_at)
) PARTITION BY RANGE (created_at);
CREATE INDEX ON steps (execution) WHERE payloads IS NOT NULL;

CREATE TABLE logs (
    execution bigint NOT NULL,
    created_at double precision NOT NULL,  -- the execution's
    number bigint NOT NULL,
    at double precision NOT NULL,
    level text COLLATE "C" NOT NULL,
    message text COLLATE "C" NOT NULL,
    path text COLLATE "C" NOT NULL,
    PRIMARY KEY (execution, number, created_at)
) PARTITION BY RANGE (created_at);
