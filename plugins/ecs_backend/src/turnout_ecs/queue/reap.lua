-- End leases that ran out, at most `most` of them, and those named.
-- keys: messages lines counts ring delayed timers leases last_leases dead idle policies
-- args: now lease_s max_attempts policed most named...
-- reply: {id, record, when it ran out, ...}: the records as they were, with a raised token
-- full: runs
-- use: kept lining ending

local out = {}

local function end_lease(id, record, expires_at)
  local handed = record[STATE] == HANDED
  local attempts = record[ATTEMPTS]
  record[TOKEN] = numbers('1')
  out[#out + 1] = id
  out[#out + 1] = cmsgpack.pack(record)
  out[#out + 1] = expires_at
  if not handed and attempts >= tonumber(max_attempts) then
    bury(id, record, 'its worker was lost ' .. attempts .. ' times, the last was ' .. record[WORKER])
    return
  end
  if handed then
    record[ATTEMPTS] = attempts - 1
  end
  line_up_first(id, record, limits_of(record), math.min(tonumber(expires_at), now))
end

for _, set_of in ipairs({leases, last_leases}) do
  local expired = call('ZRANGEBYSCORE', set_of, '-inf', now, 'WITHSCORES', 'LIMIT', 0, most)
  for n = 1, #expired, 2 do
    end_lease(expired[n], load(expired[n]), expired[n + 1])
  end
end
for n = 6, #ARGV, 2 do
  local record = held_lease(ARGV[n], ARGV[n + 1])
  if record then
    end_lease(ARGV[n], record, call('ZSCORE', leases, ARGV[n]) or call('ZSCORE', last_leases, ARGV[n]))
  end
end
if #out > 0 then
  -- use: served
end
return out
