-- Count. What has become due is lined up first. Tenants are looked at a page at a time.
-- keys: messages lines counts ring delayed timers leases last_leases dead idle policies
-- args: now lease_s max_attempts policed from most
-- reply: {where the next page begins or empty, ready, delayed, leased, dead, held, seconds since the oldest became due,
--   tenant, number due or held, ...}
-- safe: yes
-- use: kept lining promoting

if from == '' then
  promote()
  from = '[r'
end
local late = call('ZCOUNT', delayed, '-inf', now)
local oldest = now
local tenants = {}

-- The tenant of a line's member, and how it begins. whole('acme') is 4:acme; a held line has the whole name of its gate
-- inside, which begins with the tenant's.
local function owner(member)
  local digits = string.match(member, '^(%d+):', 2)
  local length = 2 + #digits + tonumber(digits)
  return string.sub(member, #digits + 3, length), string.sub(member, 1, length)
end

local visited = #from > 2 and owner(string.sub(from, 2)) or nil
for _ = 1, tonumber(most) do
  local kind = string.sub(from, 2, 2)
  local member = call('ZRANGEBYLEX', lines, from, '(' .. string.char(string.byte(kind) + 1), 'LIMIT', 0, 1)[1]
  if not member then
    visited, from = nil, kind == 'r' and '[h' or ''
  else
    local tenant, prefix = owner(member)
    if tenant ~= visited then
      tenants[tenant] = (tenants[tenant] or 0) + number(prefix)
      visited = tenant
    end
    if kind == 'r' then
      -- the first of each rank and priority has waited longest of them
      oldest = math.min(oldest, (struct.unpack('>d', member, #prefix + 6)))
      prefix = string.sub(member, 1, #prefix + 5)
    end
    from = '(' .. prefix .. '\255'
  end
  if from == '' then
    break
  end
end
if late > 0 then
  oldest = math.min(oldest, tonumber(call('ZRANGE', delayed, 0, 0, 'WITHSCORES')[2]))
end

local out = {
  from,
  number('r') + late,
  call('ZCARD', delayed) - late,
  call('ZCARD', leases) + call('ZCARD', last_leases),
  call('ZCARD', dead),
  number('h'),
  string.format('%.17g', now - oldest),
}
for tenant, waiting in pairs(tenants) do
  out[#out + 1] = tenant
  out[#out + 1] = waiting
end
return out
