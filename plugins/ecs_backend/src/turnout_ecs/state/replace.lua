-- Replace a value if it is what the new one was made from, unless this change was made already.
--
-- keys: values done
-- args: key expected value total remembered_ms
-- reply: {'answered', the total that the change answered} | {'is', the value there}, empty if there is none
-- full: runs
-- use: once
-- safe: yes
--
-- `expected` is as in the reply, or `?` only to ask. A large value (`@`) is never replaced here.

local before = answered()
if before then return {'answered', before} end

local current = redis.call('HGET', values, key) or ''
if current ~= expected then return {'is', current} end

redis.call('HSET', values, key, value)
return {'answered', answer(total, remembered_ms)}
