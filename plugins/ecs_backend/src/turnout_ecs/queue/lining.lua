-- How a message that is due gets into its tenant's line. Most messages have no limits: what limits need is made when one
-- has some.
local line_up

local function limits_of(record)
  if record[LIMITS] == '' then
    return nil
  end
  return cjson.decode(record[LIMITS])
end

local made

local function gates()
  if not made then
    -- use: gates
    made = {
      closed = closed_gate,
      hold = hold,
      held_member = held_member,
      enter_line = enter_line,
      leave_line = leave_line,
      pass_on = pass_on,
      refill = refill,
      set_timer = set_timer,
      occupy = occupy,
      vacate = vacate,
      enter_order = enter_order,
      leave_order = leave_order,
      debounce_field = debounce_field,
      forget_debounce = forget_debounce,
    }
  end
  return made
end

-- A due message goes into its tenant's line, or to the first gate that is closed to it.
function line_up(id, record)
  local limits = limits_of(record)
  local gate = limits and gates().closed(id, record, limits)
  if gate then
    return gates().hold(id, record, gate)
  end
  if limits then
    gates().enter_line(record, limits)
  end
  local tenant = record[TENANT]
  record[STATE], record[GATE] = READY, ''
  call('ZADD', lines, '0', line(tenant) .. place(record) .. id)
  if not call('ZSCORE', ring, tenant) then
    call('ZADD', ring, numbers('1'), tenant)
  end
  save(id, record)
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
