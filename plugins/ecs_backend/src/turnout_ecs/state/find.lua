-- Find a value, for a reader before whom it changed its place.
--
-- keys: values large
-- args: key
-- reply: the value as it stands there, `@` if a large one is missing; nothing if there is none
-- safe: yes

local value = redis.call('HGET', values, key)
if value == '@' then return redis.call('GET', large) or value end
return value
