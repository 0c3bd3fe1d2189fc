-- Give a leased message back, its attempts starting over.
-- keys: messages lines counts ring delayed timers leases last_leases dead idle policies
-- args: now lease_s max_attempts policed id token delay_s
-- reply: 1; 0 if the lease is lost
-- full: runs
-- use: kept lining ending

local record = held_lease(id, token)
if not record then
  return 0
end
local limits = limits_of(record)
local at_once = has(record, WOKEN) or has(record, CANCELLED)
pull(id, record, limits)
record[ATTEMPTS] = 0
put_back(id, record, limits, at_once and now or now + tonumber(delay_s))
-- use: served
return 1
