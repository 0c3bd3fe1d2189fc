-- Remove the oldest waste, unless somebody else has done so.
--
-- keys: rows waste bodies...
-- args: entries...
-- reply: how much waste is left
-- full: runs
-- safe: yes
--
-- `entries` are the oldest of `waste`, as read before; `bodies` are those that they name.

if redis.call('LINDEX', waste, 0) == ARGV[1] then
  for _, entry in ipairs(ARGV) do redis.call('XDEL', rows, string.match(entry, '^%d+')) end
  if #KEYS > 2 then redis.call('UNLINK', unpack(KEYS, 3)) end
  redis.call('LTRIM', waste, #ARGV, -1)
end
return redis.call('LLEN', waste)
