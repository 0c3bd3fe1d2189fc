-- Lease messages: those whose lease ran out first, then what is due. If there are none, wait for one.
-- keys: messages lines counts ring delayed timers leases last_leases dead idle policies
-- args: now lease_s max_attempts policed worker limit waiter idle_s
-- reply: {seconds until something happens by itself or empty, when the leases run out, id, record, id, record, ...}
-- full: runs
-- use: kept lining handing promoting

local out = {}
for _, id in ipairs(call('ZRANGEBYSCORE', leases, '-inf', now, 'LIMIT', 0, limit)) do
  call('ZREM', leases, id)
  local record = load(id)
  if record[STATE] == HANDED then
    record[ATTEMPTS] = record[ATTEMPTS] - 1
  end
  out[#out + 1] = id
  out[#out + 1] = lease(id, record, LEASED, worker, numbers('1'))
end

local more = false
local left = tonumber(limit) - #out / 2
if left > 0 then
  promote()
  local handed
  handed, more = hand_out(left, LEASED, worker)
  for n = 1, #handed do
    out[#out + 1] = handed[n]
  end
end

local wait = ''
if #out == 0 then
  if more then
    wait = '0'
  else
    local event = next_event(true)
    wait = event and string.format('%.17g', event) or ''
    if waiter ~= '' then
      call('ZREMRANGEBYSCORE', idle, '-inf', now)
      call('ZADD', idle, now + tonumber(idle_s), waiter)
    end
  end
end
return {wait, leased_until, unpack(out)}
