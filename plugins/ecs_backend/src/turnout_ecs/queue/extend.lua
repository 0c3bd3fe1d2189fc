-- Renew leases from now.
-- keys: messages lines counts ring delayed timers leases last_leases dead idle policies
-- args: now lease_s max_attempts policed leases_held...
-- reply: for each lease H (held), L (lost) or C (held, and to be cancelled)
-- full: runs
-- safe: yes
-- use: kept

local states = {}
for n = 5, #ARGV, 2 do
  local id = ARGV[n]
  local record = held_lease(id, ARGV[n + 1])
  if not record then
    states[#states + 1] = 'L'
  else
    if record[STATE] == HANDED then
      record[STATE] = LEASED
      call('ZREM', leases, id)
      save(id, record)
    end
    local last = record[ATTEMPTS] >= tonumber(max_attempts)
    call('ZADD', last and last_leases or leases, leased_until, id)
    states[#states + 1] = has(record, CANCELLED) and 'C' or 'H'
  end
end
return states
