-- Leases: who gets which message, and what becomes of it afterwards.

local HAND_OFF_S = 1  -- within this a worker says that it got what it was handed while it waited
local AT_ONCE = 128  -- at most so many messages are moved before the script lets others have the server

local function policy_of(tenant)
  if policed == '' then
    return 1, math.huge
  end
  local policy = call('HGET', policies, whole(tenant)) or call('HGET', policies, '*') or '1 '
  local weight, most = string.match(policy, '^(%d+) (%d*)$')
  return tonumber(weight), tonumber(most) or math.huge
end

local function leases_for(record)
  local last = record[STATE] == LEASED and record[ATTEMPTS] >= tonumber(max_attempts)
  return last and last_leases or leases
end

local function forget_lease(id)
  if call('ZREM', leases, id) == 0 then
    call('ZREM', last_leases, id)
  end
end

-- The places of the message are already taken. Returns the record as it is kept.
local function lease(id, record, state, worker, token)
  record[STATE], record[WORKER], record[GATE], record[TOKEN] = state, worker, '', token
  record[ATTEMPTS] = record[ATTEMPTS] + 1
  unset(record, WOKEN)
  unset(record, FIRST)
  set(record, STARTED)
  call('ZADD', leases_for(record), now + (state == HANDED and math.min(HAND_OFF_S, lease_s) or lease_s), id)
  return save(id, record)
end

local function count_leased(tenant, many)
  count('W' .. tenant, -many)
  count('I' .. tenant, many)
end

-- Hand out the first messages of a tenant's line, at most `share`; those that find a gate closed now are moved there.
-- Returns how many were handed out, how many were looked at, and whether the line may have more.
local function hand_out_of(tenant, share, state, worker, token, out)
  local prefix = line(tenant)
  local members = those(prefix, share + 1)
  local looked_at = math.min(#members, share)
  if looked_at == 0 then
    return 0, 0, false
  end
  members[share + 1], members.more = nil, members[share + 1]
  local ids = {}
  for n = 1, looked_at do
    ids[n] = string.sub(members[n], #prefix + 1 + PLACE_BYTES)
  end
  local records = call('HMGET', messages, unpack(ids))
  call('ZREM', lines, unpack(members))
  local given = 0
  for n = 1, looked_at do
    local id, record = ids[n], cmsgpack.unpack(records[n])
    local limits = limits_of(record)
    local gate
    if limits then
      leave_line(record, limits)
      gate = closed_gate(id, record, limits)
    end
    if gate then
      hold(id, record, gate)
      pass_on(record, limits)
    else
      occupy(id, record, limits)
      out[#out + 1] = id
      out[#out + 1] = lease(id, record, state, worker, token + given)
      given = given + 1
    end
  end
  if given > 0 then
    count_leased(tenant, given)
  end
  return given, looked_at, members.more or (given < looked_at and number(prefix) > 0)
end

-- What one tenant gets of its turn: `left` is how many more are wanted, `alone` whether nobody else has something.
-- Returns how many it got, how many were looked at, and its next place in the ring: a number, nothing to stay, or false
-- to leave it.
local function turn_of(tenant, left, alone, state, worker, token, out)
  local weight, cap = policy_of(tenant)
  local used = weight > 1 and tonumber(call('HGET', counts, 'U' .. tenant) or 0) or 0
  local share = math.min(left, alone and left or math.max(weight - used, 1))
  if cap < math.huge then
    share = math.min(share, cap - tonumber(call('HGET', counts, 'I' .. tenant) or 0))
  end
  local given, looked_at, more = 0, 0, true
  if share > 0 then
    given, looked_at, more = hand_out_of(tenant, share, state, worker, token, out)
  end
  used = used + given
  if more and share > 0 and used < weight then
    if given > 0 then
      call('HSET', counts, 'U' .. tenant, used)
    end
    return given, looked_at, nil
  end
  if weight > 1 then
    call('HDEL', counts, 'U' .. tenant)
  end
  return given, looked_at, share <= 0 and math.huge or more and token + math.max(given, 1)
end

-- Up to `most` of the messages in the lines, the tenants taking turns: {id, record, id, record, ...}. The second result is
-- whether it stopped although there may be more.
local function hand_out(most, state, worker)
  local out, looked_at = {}, 0
  local first = call('ZRANGE', ring, 0, most, 'WITHSCORES')
  if not first[1] then
    return out, false
  end
  while true do
    local alone = not first[3] or first[4] == 'inf'
    local token = numbers(2 * most + 1)
    for n = 1, #first, 2 do
      local left = most - #out / 2
      if left <= 0 or looked_at > AT_ONCE + most then
        return out, left > 0
      end
      local tenant = first[n]
      local given, seen, turn = turn_of(tenant, left, alone, state, worker, token, out)
      token, looked_at = token + math.max(given, 1), looked_at + seen
      if first[n + 1] == 'inf' and turn == math.huge then
        return out, false
      elseif turn then
        call('ZADD', ring, turn, tenant)
      elseif turn == false then
        call('ZREM', ring, tenant)
      else
        break
      end
    end
    first = call('ZRANGE', ring, 0, most, 'WITHSCORES')
    if not first[1] then
      return out, false
    end
  end
end

-- One message less of the tenant is leased: if it was at its cap it takes turns again, which is the result.
local function free_cap(tenant)
  count('I' .. tenant, -1)
  if policed ~= '' and call('ZSCORE', ring, tenant) == 'inf' then
    call('ZADD', ring, numbers(1), tenant)
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
  count('W' .. record[TENANT], 1)
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
  record[TOKEN] = numbers(1)
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
  local state, tenant = record[STATE], record[TENANT]
  if state == DEAD then
    call('ZREM', dead, id)
  elseif state == LEASED or state == HANDED then
    forget_lease(id)
    vacate(record, limits)
    return free_cap(tenant)
  else
    count('W' .. tenant, -1)
    if state == READY then
      step_out(id, record, limits)
    elseif state == HELD then
      call('ZREM', lines, held_member(id, record))
    else
      call('ZREM', delayed, id)
    end
  end
end

-- Put back what was pulled: it is due at that time.
local function put_back(id, record, limits, due_at)
  count('W' .. record[TENANT], 1)
  settle(id, record, due_at)
  pass_on(record, limits)
end

-- Remove a message. The result is whether others may go on for that reason.
local function finish(id, record)
  local limits = limits_of(record)
  local freed = pull(id, record, limits)
  call('HDEL', messages, id)
  if limits and record[STATE] ~= DEAD then
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
