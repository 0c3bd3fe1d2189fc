-- Remove a message wherever it is.
-- keys: messages lines counts ring delayed timers leases last_leases dead idle policies
-- args: now lease_s max_attempts policed id
-- reply: 1; 0 if it is not there
-- full: runs
-- use: kept lining ending

local record = load(id)
if not record then
  return 0
end
if finish(id, record) then
  -- use: served
end
return 1
