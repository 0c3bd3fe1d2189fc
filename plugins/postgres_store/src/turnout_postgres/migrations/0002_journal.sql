-- The journal: rows by execution, from which an execution goes on after a crash.

CREATE TABLE journal_executions (
    key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text COLLATE "C" NOT NULL UNIQUE,
    fence bigint NOT NULL DEFAULT 0,
    first bigint,                           -- the position of its first row; null while it has none
    ended boolean NOT NULL DEFAULT false,   -- whether its last row is an end
    made_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 80);
CREATE INDEX ON journal_executions (first) WHERE first IS NOT NULL AND NOT ended;
CREATE INDEX ON journal_executions (made_at) WHERE first IS NULL;

-- Rows come and go: what is left of those that were forgotten is cleared away early.
CREATE TABLE journal_rows (
    position bigint PRIMARY KEY,
    execution bigint NOT NULL,
    kind text COLLATE "C" NOT NULL,
    body bytea NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000);
CREATE INDEX ON journal_rows (execution, position);
ALTER TABLE journal_rows ALTER COLUMN body SET STORAGE EXTERNAL;  -- short-lived: not worth compressing

CREATE SEQUENCE journal_position;

-- Names that were used with `unique_s`, remembered until then whether or not the execution is still there.
CREATE TABLE journal_names (
    id text COLLATE "C" PRIMARY KEY,
    until double precision NOT NULL
);
CREATE INDEX ON journal_names (until);

-- The last batch that each writer has committed, with its answers: so that a batch whose outcome its writer does not know is
-- not written twice. Rows are replaced by new ones, never updated: looking at the newest then stays quick whatever is not
-- yet cleared away.
CREATE TABLE journal_batches (
    writer uuid NOT NULL,
    batch bigint NOT NULL,
    answers bigint[] NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (writer, batch)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000);
CREATE INDEX ON journal_batches (at);

-- Append one execution's rows; those of `bodies` from `begin_at` on, `count` of them.
CREATE FUNCTION journal_insert(of_key bigint, kinds text[], bodies bytea[], begin_at int, count int) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    started bigint;
BEGIN
    IF count = 0 THEN
        RETURN;
    END IF;
    FOR n IN begin_at .. begin_at + count - 1 LOOP
        INSERT INTO journal_rows VALUES (nextval('journal_position'), of_key, kinds[n], bodies[n]);
        IF n = begin_at THEN
            started := currval('journal_position');
        END IF;
    END LOOP;
    UPDATE journal_executions SET first = coalesce(first, started), ended = kinds[begin_at + count - 1] = 'ended'
    WHERE key = of_key AND (first IS NULL OR ended <> (kinds[begin_at + count - 1] = 'ended'));
END $$;

-- A batch of what one process wants to write, in order: whole, once, and visible in the order of positions.
--   verbs[n]: b begin, a append, s signal, o check of the owner; `tokens`, `uniques` (seconds), `counts` (rows) go with them;
--   `kinds` and `bodies` are the rows of all of them, one after the other. `moment` is the time, the server's if null.
-- Answers, one each: 0 done; -1 not done (begin: it exists; signal: it has no rows); -2 it is not in the journal; above 0:
-- not done, that is its fence. Null if a later batch of this writer was committed already: the caller is a ghost.
CREATE FUNCTION journal_write(
    by_writer uuid, numbered bigint, moment double precision,
    verbs text[], ids text[], tokens bigint[], uniques double precision[], counts int[], kinds text[], bodies bytea[]
) RETURNS bigint[] LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    answers bigint[] := '{}';
    answer bigint;
    last journal_batches;
    known journal_executions;
    at_row int := 1;
    at_time double precision := coalesce(moment, extract(epoch FROM clock_timestamp()));
    writes boolean := numbered > 0;
BEGIN
    IF writes THEN
        -- One writer at a time: a commit makes its rows visible before it lets go of this lock.
        PERFORM pg_advisory_xact_lock(hashtext('turnout journal'), hashtext(current_schema()));
        SELECT * INTO last FROM journal_batches WHERE writer = by_writer ORDER BY batch DESC LIMIT 1;
        IF last.batch = numbered THEN
            RETURN last.answers;
        ELSIF last.batch > numbered THEN
            RETURN NULL;
        END IF;
        -- All rows at once and in one order, so that nobody waits in a circle.
        PERFORM 1 FROM journal_executions WHERE id = ANY (ids) ORDER BY id FOR UPDATE;
    END IF;
    FOR n IN 1 .. coalesce(array_length(verbs, 1), 0) LOOP
        SELECT * INTO known FROM journal_executions WHERE id = ids[n];
        answer := 0;
        IF verbs[n] = 'b' THEN
            IF known.first IS NOT NULL OR uniques[n] > 0 AND EXISTS (
                SELECT FROM journal_names WHERE id = ids[n] AND until > at_time
            ) THEN
                answer := -1;
            ELSIF known.key IS NULL THEN
                INSERT INTO journal_executions (id) VALUES (ids[n])
                ON CONFLICT (id) DO UPDATE SET fence = journal_executions.fence RETURNING * INTO known;
            END IF;
            IF answer = 0 AND uniques[n] > 0 THEN
                INSERT INTO journal_names VALUES (ids[n], at_time + uniques[n])
                ON CONFLICT (id) DO UPDATE SET until = greatest(journal_names.until, excluded.until);
            END IF;
        ELSIF verbs[n] = 's' THEN
            answer := CASE WHEN known.first IS NULL THEN -1 ELSE 0 END;
        ELSIF known.key IS NULL THEN
            answer := -2;
        ELSIF known.fence > tokens[n] THEN
            answer := known.fence;
        END IF;
        IF answer = 0 THEN
            PERFORM journal_insert(known.key, kinds, bodies, at_row, counts[n]);
        END IF;
        at_row := at_row + counts[n];
        answers := answers || answer;
    END LOOP;
    IF writes THEN
        INSERT INTO journal_batches (writer, batch, answers) VALUES (by_writer, numbered, answers);
        DELETE FROM journal_batches WHERE writer = by_writer AND batch = last.batch;
    END IF;
    RETURN answers;
END $$;

-- Remove all rows of executions, but of those that have one above `through`.
CREATE FUNCTION journal_forget(ids text[], through bigint) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    keys bigint[];
BEGIN
    PERFORM 1 FROM journal_executions WHERE id = ANY (ids) ORDER BY id FOR UPDATE;
    SELECT array_agg(key) INTO keys FROM journal_executions WHERE id = ANY (ids) AND (
        through IS NULL OR coalesce((SELECT max(position) FROM journal_rows WHERE execution = key), 0) <= through
    );
    DELETE FROM journal_rows WHERE execution = ANY (keys);
    DELETE FROM journal_executions WHERE key = ANY (keys);
END $$;
