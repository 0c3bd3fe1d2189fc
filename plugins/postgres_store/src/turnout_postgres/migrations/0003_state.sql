-- Values that connectors keep. Scope and key are bytes, so that no text is too strange and a prefix is a range.

CREATE TABLE state (
    scope bytea NOT NULL,
    key bytea NOT NULL,
    value bytea NOT NULL,
    PRIMARY KEY (scope, key)
);

-- What was changed within a day, with the answer that it had.
CREATE TABLE state_operations (
    id bytea PRIMARY KEY,
    at double precision NOT NULL,
    answer text NOT NULL
);
CREATE INDEX ON state_operations (at);
