-- Lease this message whatever its limits, due or not.
-- keys: messages lines counts ring delayed timers leases last_leases dead idle policies
-- args: now lease_s max_attempts policed id worker
-- reply: {when the lease runs out, record}; nothing if it is not there, dead, or leased
-- full: runs
-- use: kept lining ending handing

local record = load(id)
if not record or record[STATE] == DEAD then
  return false
end
local packed
if record[STATE] == LEASED or record[STATE] == HANDED then
  local expires_at = call('ZSCORE', leases, id)  -- one of a last attempt is not to be taken over
  if not expires_at or tonumber(expires_at) > now then
    return false
  end
  if record[STATE] == HANDED then
    record[ATTEMPTS] = record[ATTEMPTS] - 1
  end
  call('ZREM', leases, id)
  packed = lease(id, record, LEASED, worker, numbers('1'))
else
  local limits = limits_of(record)
  pull(id, record, limits)
  if limits then
    gates().occupy(id, record, limits)
  end
  packed = lease(id, record, LEASED, worker, numbers('1'))
  count('I' .. record[TENANT], '1')
  pass_on(record, limits)
  -- use: served
end
return {leased_until, packed}
