-- Ending leases, and taking messages out of wherever they are.

local function vacate(record, limits)
  if limits then
    gates().vacate(record, limits)
  end
end

-- Places became free: those who wait for them go on.
local function pass_on(record, limits)
  if limits then
    gates().pass_on(record, limits)
  end
end

local function forget_lease(id)
  if call('ZREM', leases, id) == 0 then
    call('ZREM', last_leases, id)
  end
end

-- One message less of the tenant is leased: if it was at its cap it takes turns again, which is the result.
local function free_cap(tenant)
  count('I' .. tenant, '-1')
  if policed ~= '' and call('ZSCORE', ring, tenant) == 'inf' then
    call('ZADD', ring, numbers('1'), tenant)
    return true
  end
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
  count('W' .. record[TENANT], '1')
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
  record[TOKEN] = numbers('1')
  line_up_first(id, record, limits_of(record), now)
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
    count('W' .. tenant, '-1')
    if state == READY then
      call('ZREM', lines, line(tenant) .. place(record) .. id)
      if limits then
        gates().leave_line(record, limits)
      end
    elseif state == HELD then
      call('ZREM', lines, gates().held_member(id, record))
    else
      call('ZREM', delayed, id)
    end
  end
end

-- Put back what was pulled: it is due at that time.
local function put_back(id, record, limits, due_at)
  count('W' .. record[TENANT], '1')
  settle(id, record, due_at)
  pass_on(record, limits)
end

-- Remove a message. The result is whether others may go on for that reason.
local function finish(id, record)
  local limits = limits_of(record)
  local freed = pull(id, record, limits)
  call('HDEL', messages, id)
  if limits and record[STATE] ~= DEAD then
    gates().leave_order(id, record, limits)
    gates().forget_debounce(id, record, limits)
    gates().pass_on(record, limits)
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
  if limits then
    gates().leave_order(id, record, limits)
    gates().pass_on(record, limits)
  end
end
