-- Which of these are not there.
-- keys: messages lines counts ring delayed timers leases last_leases dead idle policies
-- args: now lease_s max_attempts policed ids...
-- reply: their places in the list, from 0
-- safe: yes
local out = {}
for n = 5, #ARGV do
  if redis.call('HEXISTS', messages, ARGV[n]) == 0 then
    out[#out + 1] = n - 5
  end
end
return out
