-- Handing messages out: the tenants take turns.

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

local handed_until = string.format('%.17g', now + math.min(HAND_OFF_S, lease_s))

-- The places of the message are already taken. Returns the record as it is kept.
local function lease(id, record, state, worker, token)
  record[STATE], record[WORKER], record[GATE], record[TOKEN] = state, worker, '', token
  record[ATTEMPTS] = record[ATTEMPTS] + 1
  unset(record, WOKEN)
  unset(record, FIRST)
  set(record, STARTED)
  call('ZADD', leases_for(record), state == HANDED and handed_until or leased_until, id)
  return save(id, record)
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
      gates().leave_line(record, limits)
      gate = gates().closed(id, record, limits)
    end
    if gate then
      gates().hold(id, record, gate)
      gates().pass_on(record, limits)
    else
      if limits then
        gates().occupy(id, record, limits)
      end
      out[#out + 1] = id
      out[#out + 1] = lease(id, record, state, worker, token + given)
      given = given + 1
    end
  end
  if given > 0 then
    count('W' .. tenant, -given)
    count('I' .. tenant, given)
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
