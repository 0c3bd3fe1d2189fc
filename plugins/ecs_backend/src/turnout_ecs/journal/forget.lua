-- Remove an execution's rows, unless it has gone on after the position `through` (empty: whatever it did).
--
-- keys: rows unfinished positions owner waste
-- args: execution through
-- reply: how much waste there is
-- full: runs
-- safe: yes
--
-- Few rows go at once; many, and separate bodies, become waste, which sweep.lua removes bit by bit, since a long history must
-- not hold up the others. `waste` is a list of entries of `positions`.

local latest = redis.call('LINDEX', positions, -1)
if latest and through ~= '' and tonumber(string.match(latest, '^%d+')) > tonumber(through) then
  return redis.call('LLEN', waste)
end

local entries = redis.call('LRANGE', positions, 0, -1)
redis.call('DEL', positions, owner)
redis.call('ZREM', unfinished, execution)
for i, entry in ipairs(entries) do
  if i <= 200 and not string.find(entry, ' ', 1, true) then
    redis.call('XDEL', rows, entry)
  else
    redis.call('RPUSH', waste, entry)
  end
end
return redis.call('LLEN', waste)
