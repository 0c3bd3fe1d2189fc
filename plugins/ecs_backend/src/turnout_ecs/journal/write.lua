-- Writing rows, for scripts whose last arguments are rows, three each: kind, `body` or `at`, the body or the id of a separate
-- one. They have these keys:
--
-- last        the last position that was given
-- rows        stream of all rows; an entry's id is its position
-- unfinished  sorted set: executions by their first position
-- positions   list of this execution's rows: a position, and after a space the id of a separate body
-- owner       hash: `fence`; `by`, who began it; `writer`, who opened it last; `n:<writer>`, the number of that writer's last
--             append

-- Whether the separate bodies KEYS[first..] are all there; if so they stay. To be called before anything is written.
local function keep_bodies(first)
  for i = first, #KEYS do
    if redis.call('EXISTS', KEYS[i]) == 0 then return false end
  end
  for i = first, #KEYS do redis.call('PERSIST', KEYS[i]) end
  return true
end

-- The next `count` positions follow the one returned. They never fall behind the time in microseconds: readers who remember
-- a position of rows that the server has lost still see what comes after.
local function draw(count)
  local drawn = redis.call('INCRBY', last, count) - count
  local now = redis.call('TIME')
  local least = now[1] * 1000000 + now[2]
  if drawn < least then
    drawn = least
    redis.call('SET', last, string.format('%.0f', drawn + count))
  end
  return drawn
end

local function note_end(execution, ended)
  if ended then
    redis.call('ZREM', unfinished, execution)
  elseif not redis.call('ZSCORE', unfinished, execution) then
    local first = string.match(redis.call('LINDEX', positions, 0), '^%d+')
    redis.call('ZADD', unfinished, first, execution)
  end
end

-- Write the rows ARGV[first..].
local function write(execution, first)
  local count = (#ARGV - first + 1) / 3
  if count == 0 then return end
  local position = draw(count)
  for i = first, #ARGV, 3 do
    position = position + 1
    local id = string.format('%.0f', position)
    redis.call('XADD', rows, id, 'of', execution, 'kind', ARGV[i], ARGV[i + 1], ARGV[i + 2])
    redis.call('RPUSH', positions, ARGV[i + 1] == 'at' and id .. ' ' .. ARGV[i + 2] or id)
  end
  redis.call('PERSIST', owner)
  note_end(execution, ARGV[#ARGV - 2] == 'ended')
end
