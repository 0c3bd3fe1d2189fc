-- Give back a lease that nobody got to see: no attempt was made.
-- keys: messages lines counts ring delayed timers leases last_leases dead idle policies
-- args: now lease_s max_attempts policed id token
-- reply: 1; 0 if the lease is lost
-- full: runs
-- use: kept lining ending

local record = held_lease(id, token)
if not record then
  return 0
end
take_back(id, record)
-- use: served
return 1
