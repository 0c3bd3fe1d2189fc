-- Making a change once, for scripts with the key `done`: what the change answered, for as long as that is remembered.

local function answered() return redis.call('GET', done) end

local function answer(text, remembered_ms)
  redis.call('SET', done, text, 'PX', remembered_ms)
  return text
end
