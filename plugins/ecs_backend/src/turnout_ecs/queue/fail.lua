-- Give a leased message back, its attempt counted; after its last attempt it is a dead letter.
-- keys: messages lines counts ring delayed timers leases last_leases dead idle policies
-- args: now lease_s max_attempts policed id token delay_s reason
-- reply: 1; 0 if the lease is lost
-- full: runs
-- use: kept lining ending

local record = held_lease(id, token)
if not record then
  return 0
end
if record[ATTEMPTS] >= tonumber(max_attempts) then
  bury(id, record, reason)
else
  local limits = limits_of(record)
  pull(id, record, limits)
  record[REASON] = reason
  put_back(id, record, limits, has(record, CANCELLED) and now or now + tonumber(delay_s))
end
-- use: served
return 1
