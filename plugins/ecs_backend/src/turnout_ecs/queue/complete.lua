-- Remove leased messages.
-- keys: messages lines counts ring delayed timers leases last_leases dead idle policies
-- args: now lease_s max_attempts policed ids_and_tokens...
-- reply: for each 1, or 0 if its lease is lost
-- full: runs
-- use: kept

local done, plain, other, tenants = {}, {}, {}, {}
local named = {}
for n = 5, #ARGV, 2 do
  local id = ARGV[n]
  local record = held_lease(id, ARGV[n + 1])
  local at = #done + 1
  done[at] = 0
  if record and not named[id] then
    done[at] = 1
    named[id] = true
    if record[LIMITS] == '' and policed == '' then
      call('HDEL', messages, id)
      plain[#plain + 1] = id
      tenants[record[TENANT]] = (tenants[record[TENANT]] or 0) - 1
    else
      other[#other + 1] = ARGV[n]
    end
  end
end
if #plain > 0 then
  if call('ZREM', leases, unpack(plain)) < #plain then
    call('ZREM', last_leases, unpack(plain))
  end
  for tenant, change in pairs(tenants) do
    count('I' .. tenant, change)
  end
end
if #other == 0 then
  return done
end

-- use: lining ending

local freed = false
for _, id in ipairs(other) do
  freed = finish(id, load(id)) or freed
end
if freed then
  -- use: served
end
return done
