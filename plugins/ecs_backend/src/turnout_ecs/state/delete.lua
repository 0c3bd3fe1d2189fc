-- Remove a key, unless this change was made already.
--
-- keys: values done large
-- args: key remembered_ms
-- reply: 'removed', or 'absent' if the key was not there
-- full: runs
-- use: once
-- safe: yes

local before = answered()
if before then return before end

redis.call('UNLINK', large)
local removed = redis.call('HDEL', values, key) == 1
return answer(removed and 'removed' or 'absent', remembered_ms)
