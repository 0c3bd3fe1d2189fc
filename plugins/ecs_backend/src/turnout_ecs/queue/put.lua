-- Add a message.
-- keys: messages lines counts ring delayed timers leases last_leases dead idle policies
-- args: now lease_s max_attempts policed id tenant priority delay_s capacity limits
-- reply: 1; 0 if it is there already; -1 if as many wait as its tenant may have
-- use: kept lining

if call('HEXISTS', messages, id) == 1 then
  return 0
end
if capacity ~= '' then
  if tonumber(call('HGET', counts, 'W' .. tenant) or 0) >= tonumber(capacity) then
    return -1
  end
end

local record = {READY, tenant, tonumber(priority), now, numbers('1'), 0, 0, '', 0, '', limits, '', ''}
local due_at = now + tonumber(delay_s)
local kept = limits_of(record)
count('W' .. tenant, '1')

-- It takes the place of one that was never handed out: that is due at once, to be ended without being run.
local function replace(field, wait_s, longest_s)
  -- use: ending
  local first_at = now
  local current = call('HGET', counts, field)
  if current then
    local old_id
    old_id, first_at = unpack(cmsgpack.unpack(current))
    local old = load(old_id)
    local old_limits = limits_of(old)
    pull(old_id, old, old_limits)
    gates().leave_order(old_id, old, old_limits)
    pass_on(old, old_limits)
    old[NEWER] = id
    count('W' .. tenant, '1')
    settle(old_id, old, math.min(old[AT], now))
  end
  call('HSET', counts, field, cmsgpack.pack({id, first_at}))
  due_at = math.max(due_at, math.min(now + wait_s, longest_s and first_at + longest_s or math.huge))
end

if kept and kept.debounce then
  replace(gates().debounce_field(record, kept), kept.debounce[2], kept.debounce[3])
end
if kept then
  gates().enter_order(id, record, kept)
end
settle(id, record, math.max(due_at, now))
-- use: served
return 1
