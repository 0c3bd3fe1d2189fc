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
--   verbs[n]: begin, append, signal, or owner, which only checks the fence; `tokens`, `uniques` (seconds) and `counts` (rows)
--   go with them; `kinds` and `bodies` are the rows of all of them, one after the other. `moment` is the time, the server's
--   if null. Batch 0 writes nothing and is not remembered.
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
    owner text;
    failed text[] := '{}';  -- owners of whom an append was not done: a gap would be worse than a missing end
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
        owner := tokens[n] || ' ' || ids[n];
        IF verbs[n] = 'begin' THEN
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
                ON CONFLICT (id) DO UPDATE SET until = excluded.until;
            END IF;
        ELSIF verbs[n] = 'signal' THEN
            answer := CASE WHEN known.first IS NULL THEN -1 ELSE 0 END;
        ELSIF known.key IS NULL OR owner = ANY (failed) THEN
            answer := -2;
            failed := failed || owner;
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

-- Raise an execution's fence to `to_token` and give all its rows; only `current`, if that is higher already.
CREATE FUNCTION journal_open(of_id text, to_token bigint, OUT current bigint, OUT kinds text[], OUT bodies bytea[])
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    of_key bigint;
BEGIN
    INSERT INTO journal_executions (id, fence) VALUES (of_id, to_token)
    ON CONFLICT (id) DO UPDATE SET fence = greatest(journal_executions.fence, excluded.fence)
    RETURNING key, fence INTO of_key, current;
    -- The row is ours until the end: what its last owner has written is there, and what it writes now will be fenced.
    IF current = to_token THEN
        SELECT array_agg(r.kind ORDER BY r.position), array_agg(r.body ORDER BY r.position) INTO kinds, bodies
        FROM journal_rows r WHERE r.execution = of_key;
    END IF;
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

-- Forget names whose time is over, fences of executions that never began, and what writers that are gone have left: some of
-- each, as often as executions are forgotten.
CREATE FUNCTION journal_clear(moment double precision, most int) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    DELETE FROM journal_names WHERE id IN (
        SELECT id FROM journal_names WHERE until <= coalesce(moment, extract(epoch FROM clock_timestamp()))
        ORDER BY until LIMIT most FOR UPDATE SKIP LOCKED
    );
    DELETE FROM journal_executions WHERE key IN (
        SELECT key FROM journal_executions WHERE first IS NULL AND made_at < now() - interval '1 day'
        ORDER BY made_at LIMIT most FOR UPDATE SKIP LOCKED
    );
    DELETE FROM journal_batches WHERE (writer, batch) IN (
        SELECT writer, batch FROM journal_batches WHERE at < now() - interval '1 day'
        ORDER BY at LIMIT most FOR UPDATE SKIP LOCKED
    );
END $$;
