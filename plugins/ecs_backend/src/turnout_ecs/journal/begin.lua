-- Write the first rows of a new execution. `sender` is the same each time that this is sent.
--
-- keys: last rows unfinished positions owner name bodies...
-- args: execution sender unique_ms rows...
-- reply: 'written', 'exists', or 'expired' if a separate body is no longer there
-- use: write
-- safe: yes
--
-- `name` has who began it for `unique_ms`, unless that is 0.

local other = unique_ms ~= '0' and redis.call('GET', name)
if redis.call('EXISTS', positions) == 1 then other = redis.call('HGET', owner, 'by') or 'its owner' end
if other then return other == sender and 'written' or 'exists' end

if not keep_bodies(7) then return 'expired' end
redis.call('HSETNX', owner, 'fence', 0)
redis.call('HSET', owner, 'by', sender)
write(execution, 4)
if unique_ms ~= '0' then redis.call('SET', name, sender, 'PX', unique_ms) end
return 'written'
