-- Some of the dead letters, the newest first.
-- keys: messages lines counts ring delayed timers leases last_leases dead idle policies
-- args: now lease_s max_attempts policed first count
-- reply: {id, record, ...}
-- safe: yes
local out = {}
for _, id in ipairs(redis.call('ZREVRANGE', dead, first, first + count - 1)) do
  out[#out + 1] = id
  out[#out + 1] = redis.call('HGET', messages, id)
end
return out
