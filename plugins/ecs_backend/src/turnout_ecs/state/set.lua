-- Store a value, unless this change was made already.
--
-- keys: values done large staged...
-- args: key value remembered_ms
-- reply: 'set', or 'expired' if a large value is no longer there
-- full: runs
-- use: once
-- safe: yes
--
-- `values` is a hash. A large value was sent as `staged` before this and becomes `large`; in the hash `@` stands for it.

if answered() then return 'set' end
if value == '@' then
  local staged = KEYS[4]
  if redis.call('EXISTS', staged) == 0 then return 'expired' end
  redis.call('RENAME', staged, large)
  redis.call('PERSIST', large)
else
  redis.call('UNLINK', large)
end
redis.call('HSET', values, key, value)
return answer('set', remembered_ms)
