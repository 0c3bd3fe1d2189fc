-- Events that did not come as a stream: until their execution is pruned, so that what comes twice is known.

CREATE TABLE record_events (
    execution text COLLATE "C" NOT NULL,
    position bigint NOT NULL,
    kind text COLLATE "C" NOT NULL,
    body bytea NOT NULL,
    recorded boolean NOT NULL DEFAULT false,
    PRIMARY KEY (execution, position)
);
