-- How a message is kept, for the scripts that name this file in `use:`.
--
-- messages: hash, id -> record (a packed array, the places in it named below).
-- lines: sorted set of equal scores, so ordered by its members' bytes; the first byte says what a member is:
--   r tenant, place, id          due, in its tenant's line
--   h tenant, gate, place, id    due, held back at a gate (a limit's key)
--   o tenant, key, number, id    not ended yet, in the order in which they were put
--   t tenant, gate, time, number handed out, and until when that counts for the gate's rate
-- counts: hash; number: the last given out; W tenant: its messages that wait; I tenant: those leased; U tenant: handed out
--   in its turn; A gate: leased, also of an order; L gate: in their tenants' lines; D tenant, key: the one to debounce.
-- ring: sorted set, tenants with something in their line, by turn; infinity: at its cap.
-- delayed, leases, last_leases (of a last attempt), dead: sorted sets of ids by time. timers: gates by time.
-- idle: sorted set of waiting takers, by when they are no longer believed to wait.
local STATE, TENANT, PRIORITY, AT, SEQ, ATTEMPTS, TOKEN, WORKER, FLAGS, REASON, LIMITS, GATE, NEWER =
  1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13
local READY, HELD, DELAYED, LEASED, HANDED, DEAD = 'r', 'h', 'd', 'l', 'p', 'x'
local WOKEN, CANCELLED, STARTED, FIRST = 1, 2, 4, 8

local call = redis.call
if now == '' then
  local clock = call('TIME')
  now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000
else
  now = tonumber(now)
end

local leased_until = string.format('%.17g', now + lease_s)

local function has(record, flag)
  return bit.band(record[FLAGS], flag) ~= 0
end

local function set(record, flag)
  record[FLAGS] = bit.bor(record[FLAGS], flag)
end

local function unset(record, flag)
  record[FLAGS] = bit.band(record[FLAGS], bit.bnot(flag))
end

local function load(id)
  local packed = call('HGET', messages, id)
  return packed and cmsgpack.unpack(packed)
end

local function save(id, record)
  local packed = cmsgpack.pack(record)
  call('HSET', messages, id, packed)
  return packed
end

local function count(field, change)
  if call('HINCRBY', counts, field, change) == 0 then
    call('HDEL', counts, field)
  end
end

-- A name that is the beginning of no other.
local function whole(name)
  return #name .. ':' .. name
end

local PLACE_BYTES = 21

local function place(record)
  if has(record, FIRST) then
    return struct.pack('>BI4dd', 0, 0, record[AT], record[SEQ])
  end
  local priority = math.min(math.max(record[PRIORITY], -2147483647), 2147483647)
  return struct.pack('>BI4dd', 1, 2147483648 - priority, record[AT], record[SEQ])
end

local function line(tenant)
  return 'r' .. whole(tenant)
end

-- At most `most` members of lines that begin so, in order.
local function those(prefix, most)
  return call('ZRANGEBYLEX', lines, '[' .. prefix, '(' .. prefix .. '\255', 'LIMIT', 0, most)
end

local function number(prefix)
  return call('ZLEXCOUNT', lines, '[' .. prefix, '(' .. prefix .. '\255')
end

-- The first of so many new numbers: for tokens, the order of puts, turns. They are larger than any before of any message,
-- and, since they do not fall behind the time in microseconds, than those of a server that has lost its memory.
local function numbers(many)
  local last = call('HINCRBY', counts, 'number', many)
  local least = math.floor(now * 1000000)
  if last < least then
    call('HSET', counts, 'number', string.format('%d', least + many))
    return least + 1
  end
  return last - many + 1
end

-- The record of a lease that is still held, or nothing.
local function held_lease(id, token)
  local record = load(id)
  if record and (record[STATE] == LEASED or record[STATE] == HANDED) and record[TOKEN] == tonumber(token) then
    return record
  end
end
