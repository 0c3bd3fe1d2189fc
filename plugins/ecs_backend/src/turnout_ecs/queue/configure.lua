-- Remember the policies of tenants, and in how many shards the queue is divided.
-- keys: messages lines counts ring delayed timers leases last_leases dead idle policies
-- args: now lease_s max_attempts policed digest shards policies_now...
-- reply: in how many shards it is divided
-- full: runs
-- safe: yes
local divided = redis.call('HGET', policies, 'shards') or shards
if redis.call('HGET', policies, 'digest') ~= digest then
  redis.call('DEL', policies)
  for n = 7, #ARGV, 2 do
    redis.call('HSET', policies, ARGV[n], ARGV[n + 1])
  end
end
redis.call('HSET', policies, 'digest', digest, 'shards', divided)
return tonumber(divided)
