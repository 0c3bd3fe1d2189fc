-- Make a delayed message due; with `cancel`, tell whoever has it or gets it to stop.
-- keys: messages lines counts ring delayed timers leases last_leases dead idle policies
-- args: now lease_s max_attempts policed id cancel
-- reply: 1; 0 if it is not there
-- full: runs
-- safe: yes
-- use: kept lining

local record = load(id)
if not record then
  return 0
end
set(record, WOKEN)
if cancel == '1' then
  set(record, CANCELLED)
end
if record[STATE] == DELAYED then
  call('ZREM', delayed, id)
  settle(id, record, math.min(record[AT], now))
  -- use: served
else
  save(id, record)
end
return 1
