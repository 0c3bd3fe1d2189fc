-- Count. What has become due is lined up first.
-- keys: messages lines counts ring delayed timers leases last_leases dead idle policies
-- args: now lease_s max_attempts policed
-- reply: {ready, delayed, leased, dead, held, seconds since the oldest became due, tenant, number due or held, ...}
-- safe: yes
-- use: kept lining promoting

promote()
local late = call('ZCOUNT', delayed, '-inf', now)
local oldest = now
local tenants = {}

-- The tenants that have lines of this kind: the name of each, and its lines' beginning.
local function each_tenant(kind, visit)
  local after = '[' .. kind
  while true do
    local member = call('ZRANGEBYLEX', lines, after, '(' .. string.char(string.byte(kind) + 1), 'LIMIT', 0, 1)[1]
    if not member then
      return
    end
    -- whole('acme') is 4:acme; a held line has the whole name of its gate inside, which begins with the tenant's
    local digits = string.match(member, '^(%d+):', 2)
    local tenant = string.sub(member, #digits + 3, #digits + 2 + tonumber(digits))
    local prefix = kind .. whole(tenant)
    tenants[tenant] = (tenants[tenant] or 0) + number(prefix)
    visit(prefix)
    after = '(' .. prefix .. '\255'
  end
end

each_tenant('r', function(prefix)
  local after = '[' .. prefix
  while true do  -- the first of each rank and priority has waited longest of them
    local member = call('ZRANGEBYLEX', lines, after, '(' .. prefix .. '\255', 'LIMIT', 0, 1)[1]
    if not member then
      return
    end
    oldest = math.min(oldest, (struct.unpack('>d', member, #prefix + 6)))
    after = '(' .. string.sub(member, 1, #prefix + 5) .. '\255'
  end
end)
each_tenant('h', function() end)
if late > 0 then
  oldest = math.min(oldest, tonumber(call('ZRANGE', delayed, 0, 0, 'WITHSCORES')[2]))
end

local out = {
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
