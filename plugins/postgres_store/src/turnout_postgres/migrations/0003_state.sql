-- Values that connectors keep. Keys are bytes, so that no text is too strange and a prefix is a range; they may be longer
-- than an index allows, so that the two digests find them.

CREATE TABLE state (
    place bytea PRIMARY KEY,              -- digest of tenant, instance, flow and key
    scope bytea NOT NULL,                 -- digest of tenant, instance and flow
    key bytea NOT NULL,
    tenant text COLLATE "C" NOT NULL,     -- for people who look
    instance text COLLATE "C" NOT NULL,
    flow text COLLATE "C" NOT NULL,
    value bytea NOT NULL                  -- turnout.codec
);
CREATE INDEX ON state (scope, substr(key, 1, 500));

-- What was changed within a day, with the answer that it had.
CREATE TABLE state_operations (
    id bytea PRIMARY KEY,
    at double precision NOT NULL,
    answer text NOT NULL
);
CREATE INDEX ON state_operations (at);
