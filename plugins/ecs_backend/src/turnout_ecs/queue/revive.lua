-- Make a dead message due again, its attempts starting over.
-- keys: messages lines counts ring delayed timers leases last_leases dead idle policies
-- args: now lease_s max_attempts policed id
-- reply: 1; 0 if it is not dead
-- full: runs
-- use: kept lining

local record = load(id)
if not record or record[STATE] ~= DEAD then
  return 0
end
call('ZREM', dead, id)
count('W' .. record[TENANT], '1')
record[ATTEMPTS], record[REASON], record[SEQ] = 0, '', numbers('1')
local limits = limits_of(record)
if limits then
  gates().enter_order(id, record, limits)
end
settle(id, record, now)
-- use: served
return 1
