-- Limits: the gates of a message, and the lines before them.
--
-- A gate is named by its tenant, its kind (o: order, c: concurrency, w: rate) and its key. Places at it are taken when a
-- message is leased, not before; a message that finds a gate closed waits there and takes up no place at another.
-- Held true by every script: where somebody waits at a gate, as many as it has free places stand in their tenants' lines.

local function gate_name(tenant, kind, key)
  return whole(tenant) .. whole(kind .. key)
end

-- The gates that a message has yet to pass, as {name, most, kind, window}; none if another took its place: it will not run.
local function gates_of(record, limits)
  local gates = {}
  if record[NEWER] ~= '' then
    return gates
  end
  local tenant = record[TENANT]
  for _, one in ipairs(limits.concurrency) do
    gates[#gates + 1] = {gate_name(tenant, 'c', one[1]), one[2], 'c'}
  end
  if not has(record, STARTED) then
    for _, one in ipairs(limits.rates) do
      gates[#gates + 1] = {gate_name(tenant, 'w', one[3] .. ' ' .. one[1]), one[2], 'w', one[3]}
    end
  end
  return gates
end

-- Who was replaced has left its order.
local function has_order(record, limits)
  return limits.order ~= '' and record[NEWER] == ''
end

local function order_line(tenant, key)
  return 'o' .. whole(tenant) .. whole(key)
end

local function order_member(id, record, limits)
  return order_line(record[TENANT], limits.order) .. struct.pack('>d', record[SEQ]) .. id
end

-- Whether one of the order is leased: the first of it waits even if that one was claimed out of its turn.
local function order_runs(name)
  return tonumber(call('HGET', counts, 'A' .. name) or 0) > 0
end

local function free_places(gate)
  if gate[3] == 'c' then
    return gate[2] - tonumber(call('HGET', counts, 'A' .. gate[1]) or 0)
  end
  local prefix = 't' .. gate[1]
  call('ZREMRANGEBYLEX', lines, '[' .. prefix, '(' .. prefix .. struct.pack('>d', now) .. '\255')
  return gate[2] - number(prefix)
end

-- Look at a gate again when the first of those who were handed out counts no more.
local function set_timer(name)
  local oldest = those('t' .. name, 1)[1]
  if oldest then
    call('ZADD', timers, 'LT', (struct.unpack('>d', oldest, #name + 2)), name)
  end
end

-- The name of the first gate that is closed to the message.
local function closed_gate(id, record, limits)
  if has_order(record, limits) then
    local name = gate_name(record[TENANT], 'o', limits.order)
    if order_runs(name) or those(order_line(record[TENANT], limits.order), 1)[1] ~= order_member(id, record, limits) then
      return name
    end
  end
  for _, gate in ipairs(gates_of(record, limits)) do
    if free_places(gate) <= 0 then
      if gate[3] == 'w' then
        set_timer(gate[1])
      end
      return gate[1]
    end
  end
  return nil
end

local function held_member(id, record)
  return 'h' .. record[GATE] .. place(record) .. id
end

local function hold(id, record, gate)
  record[STATE], record[GATE] = HELD, gate
  call('ZADD', lines, '0', held_member(id, record))
  save(id, record)
end

local function gate_of(record, name)
  for _, gate in ipairs(gates_of(record, limits_of(record))) do
    if gate[1] == name then
      return gate
    end
  end
end

-- A gate may have become open: send on as many of those who wait at it as there are free places.
local function refill(name)
  for _ = 1, 100 do
    local first = those('h' .. name, 1)[1]
    if not first then
      return
    end
    local id = string.sub(first, #name + 2 + PLACE_BYTES)
    local record = load(id)
    local gate = gate_of(record, name)
    if gate and free_places(gate) - tonumber(call('HGET', counts, 'L' .. name) or 0) <= 0 then
      if gate[3] == 'w' then
        set_timer(name)
      end
      return
    end
    call('ZREM', lines, first)
    line_up(id, record)
  end
  call('ZADD', timers, now, name)
end

-- The first of an order may have changed, or none of it is leased any more: it need not wait for the others.
local function refill_order(tenant, key)
  local prefix, name = order_line(tenant, key), gate_name(tenant, 'o', key)
  local first = those(prefix, 1)[1]
  if not first or order_runs(name) then
    return
  end
  local id = string.sub(first, #prefix + 9)
  local record = load(id)
  if record[STATE] == HELD and record[GATE] == name then
    call('ZREM', lines, held_member(id, record))
    line_up(id, record)
  end
end

local function enter_line(record, limits)
  for _, one in ipairs(gates_of(record, limits)) do
    count('L' .. one[1], '1')
  end
end

-- A message is not in its tenant's line any more. Who else may now pass its gates is for `pass_on`.
local function leave_line(record, limits)
  for _, gate in ipairs(gates_of(record, limits)) do
    count('L' .. gate[1], '-1')
  end
end

local function pass_on(record, limits)
  if limits.order ~= '' then
    refill_order(record[TENANT], limits.order)
  end
  for _, gate in ipairs(gates_of(record, limits)) do
    refill(gate[1])
  end
end

local function debounce_field(record, limits)
  return 'D' .. whole(record[TENANT]) .. limits.debounce[1]
end

-- Nobody takes the place of a message that was handed out, or is gone.
local function forget_debounce(id, record, limits)
  if limits.debounce and not has(record, STARTED) then
    local field = debounce_field(record, limits)
    local current = call('HGET', counts, field)
    if current and cmsgpack.unpack(current)[1] == id then
      call('HDEL', counts, field)
    end
  end
end

-- A message that is leased takes its places; its hand-out counts for the rates the first time.
local function occupy(id, record, limits)
  if has_order(record, limits) then
    count('A' .. gate_name(record[TENANT], 'o', limits.order), '1')
  end
  for _, gate in ipairs(gates_of(record, limits)) do
    if gate[3] == 'c' then
      count('A' .. gate[1], '1')
    else
      call('ZADD', lines, '0', 't' .. gate[1] .. struct.pack('>dd', now + gate[4], numbers('1')))
      set_timer(gate[1])
    end
  end
  forget_debounce(id, record, limits)
end

local function vacate(record, limits)
  if has_order(record, limits) then
    count('A' .. gate_name(record[TENANT], 'o', limits.order), '-1')
  end
  for _, gate in ipairs(gates_of(record, limits)) do
    if gate[3] == 'c' then
      count('A' .. gate[1], '-1')
    end
  end
end

local function enter_order(id, record, limits)
  if has_order(record, limits) then
    call('ZADD', lines, '0', order_member(id, record, limits))
  end
end

-- Who is next in it is for `pass_on`.
local function leave_order(id, record, limits)
  if limits.order ~= '' then
    call('ZREM', lines, order_member(id, record, limits))
  end
end
