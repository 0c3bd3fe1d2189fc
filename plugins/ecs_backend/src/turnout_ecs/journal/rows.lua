-- Read some of an execution's rows.
--
-- keys: rows positions
-- args: skipped limit
-- reply: {how many rows there are, {the fields of a row, …}}
-- use: read
-- safe: yes

return {redis.call('LLEN', positions), read(skipped, limit)}
