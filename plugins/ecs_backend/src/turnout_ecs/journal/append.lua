-- Append rows of an owner, all or none, after what it appended before.
--
-- keys: last rows unfinished positions owner bodies...
-- args: execution token writer number opened rows...
-- reply: {'written'} | {'fenced', fence} | {'forgotten'} | {'superseded'}: it was opened again with this token |
--        {'gap', the number before the gap} | {'expired'}: a separate body is no longer there
-- full: runs
-- use: write
-- safe: yes
--
-- `writer` is one opening of the execution by one process, `number` counts its appends from 1. An append that was sent again
-- because nobody knew its fate is known by them: it is written once, and never before the one that it follows. `opened` is 1
-- if the writer has opened the execution, 0 if it goes on without.

local field = 'n:' .. writer
local known = redis.call('HMGET', owner, 'fence', field)

if not known[1] then return {'forgotten'} end
if tonumber(known[1]) > tonumber(token) then return {'fenced', known[1]} end
if not known[2] and opened == '1' then return {'superseded'} end

local written = tonumber(known[2] or 0)
if tonumber(number) <= written then return {'written'} end
if tonumber(number) > written + 1 then return {'gap', tostring(written)} end
if not keep_bodies(6) then return {'expired'} end

write(execution, 6)
redis.call('HSET', owner, field, number)
return {'written'}
