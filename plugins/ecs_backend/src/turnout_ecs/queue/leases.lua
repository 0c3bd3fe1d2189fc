-- Leases: who gets which message, and what becomes of it afterwards.

local HAND_OFF_S = 1  -- within this a worker says that it got what it was handed while it waited
local AT_ONCE = 128  -- at most so many messages are moved before the script lets others have the server

local function policy_of(tenant)
  local policy = call('HGET', policies, whole(tenant)) or call('HGET', policies, '*') or '1 '
  local weight, most = string.match(policy, '^(%d+) (%d*)$')
  return tonumber(weight), tonumber(most) or math.huge
end

-- The record of a lease that is still held, or nothing.
local function held_lease(id, token)
  local record = load(id)
  if record and (record[STATE] == LEASED or record[STATE] == HANDED) and record[TOKEN] == tonumber(token) then
    return record
  end
end

local function note_lease(id, record, until_s)
  local last = record[STATE] == LEASED and record[ATTEMPTS] >= tonumber(max_attempts)
  call('ZADD', last and last_leases or leases, until_s, id)
end

local function forget_lease(id)
  if call('ZREM', leases, id) == 0 then
    call('ZREM', last_leases, id)
  end
end

-- The places of the message are already taken. Returns the record as it is kept.
local function lease(id, record, state, worker)
  record[STATE], record[WORKER], record[GATE] = state, worker, ''
  record[TOKEN] = next_token()
  record[ATTEMPTS] = record[ATTEMPTS] + 1
  unset(record, WOKEN)
  unset(record, FIRST)
  note_lease(id, record, now + (state == HANDED and math.min(HAND_OFF_S, lease_s) or lease_s))
  return save(id, record)
end

local function lease_waiting(id, record, limits, state, worker)
  occupy(id, record, limits)
  count('I' .. record[TENANT], 1)
  return lease(id, record, state, worker)
end

-- Hand out the first messages of a tenant's line, at most `share`; those that find a gate closed now are moved there.
-- Returns how many were handed out, how many moved, and whether the line may have more.
local function hand_out_of(tenant, share, state, worker, out)
  local prefix = line(tenant)
  local members = those(prefix, share + 1)
  local given = 0
  for n = 1, math.min(#members, share) do
    local id = string.sub(members[n], #prefix + 1 + PLACE_BYTES)
    local record = load(id)
    local limits = limits_of(record)
    step_out(id, record, limits)
    local gate = closed_gate(id, record, limits)
    if gate then
      hold(id, record, gate)
      pass_on(record, limits)
    else
      given = given + 1
      out[#out + 1] = id
      out[#out + 1] = lease_waiting(id, record, limits, state, worker)
    end
  end
  return given, math.min(#members, share), #members > share or number(prefix) > 0
end

local function to_the_end_of_the_ring(tenant)
  call('ZADD', ring, call('HINCRBY', counts, 'turn', 1), tenant)
end

-- Up to `most` of the messages in the lines, the tenants taking turns: {id, record, id, record, ...}. The second result is
-- whether it stopped although there may be more.
local function hand_out(most, state, worker)
  local out, moved = {}, 0
  while #out < 2 * most do
    local turn = call('ZRANGE', ring, 0, 1, 'WITHSCORES')
    local tenant = turn[1]
    if not tenant or turn[2] == 'inf' then
      break
    end
    if moved >= AT_ONCE + most then
      return out, true
    end
    local weight, cap = policy_of(tenant)
    local used = tonumber(call('HGET', counts, 'U' .. tenant) or 0)
    local alone = not turn[3] or turn[4] == 'inf'
    local free = cap
    if cap < math.huge then
      free = cap - tonumber(call('HGET', counts, 'I' .. tenant) or 0)
    end
    local share = math.min(most - #out / 2, alone and most or math.max(weight - used, 1), free)
    if share <= 0 then
      call('ZADD', ring, 'inf', tenant)
      call('HDEL', counts, 'U' .. tenant)
    else
      local given, looked_at, more = hand_out_of(tenant, share, state, worker, out)
      moved, used = moved + looked_at, used + given
      if more and used < weight then
        call('HSET', counts, 'U' .. tenant, used)
      else
        call('HDEL', counts, 'U' .. tenant)
        if more then
          to_the_end_of_the_ring(tenant)
        else
          call('ZREM', ring, tenant)
        end
      end
    end
  end
  return out, false
end

-- One message less of the tenant is leased: if it was at its cap it takes turns again, which is the result.
local function free_cap(tenant)
  count('I' .. tenant, -1)
  if call('ZSCORE', ring, tenant) == 'inf' then
    to_the_end_of_the_ring(tenant)
    return true
  end
end

-- A message that is nowhere now is due at that time.
local function settle(id, record, due_at)
  record[AT] = due_at
  if due_at <= now then
    return line_up(id, record)
  end
  record[STATE] = DELAYED
  call('ZADD', delayed, due_at, id)
  save(id, record)
end

local function first_in_ring(tenant)
  local first = call('ZRANGE', ring, 0, 0, 'WITHSCORES')
  if first[1] and first[1] ~= tenant and first[2] ~= 'inf' then
    call('ZADD', ring, first[2] - 1, tenant)
    call('HDEL', counts, 'U' .. tenant)
  end
end

-- A lease ended without its worker's doing: the message goes to the head of its tenant's line.
local function line_up_first(id, record, limits, due_at)
  forget_lease(id)
  vacate(record, limits)
  free_cap(record[TENANT])
  set(record, FIRST)
  settle(id, record, due_at)
  if record[STATE] == READY then
    first_in_ring(record[TENANT])
  end
  pass_on(record, limits)
end

-- What was handed to somebody who did not get it: no attempt of it was made.
local function take_back(id, record)
  record[ATTEMPTS] = record[ATTEMPTS] - 1
  record[TOKEN] = next_token()
  line_up_first(id, record, limits_of(record), now)
end

local function leave_order(id, record, limits)
  if limits and limits.order ~= '' then
    call('ZREM', lines, order_member(id, record, limits))
    refill_order(record[TENANT], limits.order)
  end
end

-- Take a message out of wherever it is. Who else may now go on is for `pass_on`.
local function pull(id, record, limits)
  local state = record[STATE]
  if state == READY then
    step_out(id, record, limits)
  elseif state == HELD then
    call('ZREM', lines, held_member(id, record))
  elseif state == DELAYED then
    call('ZREM', delayed, id)
  elseif state == DEAD then
    call('ZREM', dead, id)
  else
    forget_lease(id)
    vacate(record, limits)
    return free_cap(record[TENANT])
  end
end

-- Remove a message. The result is whether others may go on for that reason.
local function finish(id, record)
  local limits = limits_of(record)
  local freed = pull(id, record, limits)
  call('HDEL', messages, id)
  if record[STATE] == DEAD then
    return false
  end
  count('T' .. record[TENANT], -1)
  if limits then
    leave_order(id, record, limits)
    forget_debounce(id, record, limits)
    pass_on(record, limits)
  end
  return freed or limits
end

-- A leased message that had all its attempts.
local function bury(id, record, reason)
  local limits = limits_of(record)
  pull(id, record, limits)
  count('T' .. record[TENANT], -1)
  record[STATE], record[REASON], record[AT], record[WORKER] = DEAD, reason, now, ''
  call('ZADD', dead, now, id)
  save(id, record)
  leave_order(id, record, limits)
  pass_on(record, limits)
end

-- What has become due since anybody looked goes into the lines.
local function promote()
  for _, id in ipairs(call('ZRANGEBYSCORE', delayed, '-inf', now, 'LIMIT', 0, AT_ONCE)) do
    call('ZREM', delayed, id)
    line_up(id, load(id))
  end
  for _, name in ipairs(call('ZRANGEBYSCORE', timers, '-inf', now, 'LIMIT', 0, AT_ONCE)) do
    call('ZREM', timers, name)
    local prefix = 't' .. name
    call('ZREMRANGEBYLEX', lines, '[' .. prefix, '(' .. prefix .. struct.pack('>d', now) .. '\255')
    refill(name)
    set_timer(name)
  end
end

-- Seconds until something happens by itself, or nothing.
local function next_event(with_leases)
  local first = math.huge
  for _, set_of in ipairs({delayed, timers, with_leases and leases or nil}) do
    local at = call('ZRANGE', set_of, 0, 0, 'WITHSCORES')[2]
    first = math.min(first, at and at ~= 'inf' and tonumber(at) or math.huge)
  end
  return first < math.huge and math.max(first - now, 0) or nil
end

local function next_idle()
  local member = call('ZRANGEBYSCORE', idle, '(' .. string.format('%.17g', now), '+inf', 'LIMIT', 0, 1)[1]
  if member then
    return member, string.match(member, '^(%S+) (%S+) (.*)$')
  end
end

local function letter(taker, time, id, packed)
  return string.format('%s %.17g %d ', taker, time, #id) .. id .. packed
end

-- Send a lease to who waits for it; forget those who do not listen any more. The result is whether somebody got it.
local function send(id, packed, member, channel, taker, worker)
  while member do
    call('ZREM', idle, member)
    local record = cmsgpack.unpack(packed)
    if record[WORKER] ~= worker then
      record[WORKER] = worker
      packed = save(id, record)
    end
    if call('PUBLISH', channel, letter(taker, now + lease_s, id, packed)) > 0 then
      return true
    end
    member, channel, taker, worker = next_idle()
  end
  take_back(id, cmsgpack.unpack(packed))
  return false
end

-- What is in line goes to takers who wait. If there is nothing, but soon will be, one of them is told when.
local function serve()
  for _ = 1, AT_ONCE do
    local member, channel, taker, worker = next_idle()
    if not member then
      return
    end
    local out, more = hand_out(1, HANDED, worker)
    if out[1] then
      if not send(out[1], out[2], member, channel, taker, worker) then
        return
      end
    elseif not more then
      local soon = next_event(false)
      if soon and soon < 1 then
        call('PUBLISH', channel, letter(taker, soon, '', ''))
      end
      return
    end
  end
end
