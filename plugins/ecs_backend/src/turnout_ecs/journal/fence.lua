-- Raise the fence of an execution, never lower it.
--
-- keys: positions owner
-- args: token rowless_ms
-- reply: the fence
-- full: runs
-- safe: yes
--
-- `owner` is described in write.lua; without rows it is remembered for `rowless_ms`.

local fence = redis.call('HGET', owner, 'fence')
if fence and tonumber(fence) >= tonumber(token) then return fence end
redis.call('HSET', owner, 'fence', token)
if redis.call('EXISTS', positions) == 0 then redis.call('PEXPIRE', owner, rowless_ms) end
return token
