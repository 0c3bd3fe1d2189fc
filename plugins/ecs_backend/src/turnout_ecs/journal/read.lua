-- Reading an execution's rows, for scripts with the keys `rows`, the stream of all, and `positions`, the list of its own.

-- The fields of up to `count` rows after the first `skipped`.
local function read(skipped, count)
  local found = {}
  for _, entry in ipairs(redis.call('LRANGE', positions, skipped, skipped + count - 1)) do
    local position = string.match(entry, '^%d+')
    found[#found + 1] = redis.call('XRANGE', rows, position, position)[1][2]
  end
  return found
end
