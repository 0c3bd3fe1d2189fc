-- What time brings.

local LOOKED_AT = 128

-- What has become due since anybody looked goes into the lines.
local function promote()
  for _, id in ipairs(call('ZRANGEBYSCORE', delayed, '-inf', now, 'LIMIT', 0, LOOKED_AT)) do
    call('ZREM', delayed, id)
    line_up(id, load(id))
  end
  for _, name in ipairs(call('ZRANGEBYSCORE', timers, '-inf', now, 'LIMIT', 0, LOOKED_AT)) do
    call('ZREM', timers, name)
    local prefix = 't' .. name
    call('ZREMRANGEBYLEX', lines, '[' .. prefix, '(' .. prefix .. struct.pack('>d', now) .. '\255')
    gates().refill(name)
    gates().set_timer(name)
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
