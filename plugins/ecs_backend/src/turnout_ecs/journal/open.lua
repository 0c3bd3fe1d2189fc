-- Take ownership of an execution, and read its first rows.
--
-- keys: rows positions owner
-- args: token writer limit rowless_ms
-- reply: {'opened', how many rows there are, {the fields of a row, …}} | {'fenced', fence}
-- full: runs
-- use: read
-- safe: yes
--
-- `owner` is described in write.lua; without rows it is remembered for `rowless_ms`.

local known = redis.call('HMGET', owner, 'fence', 'writer')
if known[1] and tonumber(known[1]) > tonumber(token) then return {'fenced', known[1]} end

-- What an earlier opening sent must not be written any more once this one has read the rows.
if known[2] and known[2] ~= writer then redis.call('HDEL', owner, 'n:' .. known[2]) end
redis.call('HSET', owner, 'fence', token, 'writer', writer)
redis.call('HSETNX', owner, 'n:' .. writer, 0)

local count = redis.call('LLEN', positions)
if count == 0 then redis.call('PEXPIRE', owner, rowless_ms) end
return {'opened', count, read(0, limit)}
