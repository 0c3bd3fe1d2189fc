-- Whatever is in line now goes to takers who wait, if any do.
if call('EXISTS', idle) == 1 then
  -- use: ending handing promoting

  local function next_idle()
    local member = call('ZRANGEBYSCORE', idle, '(' .. string.format('%.17g', now), '+inf', 'LIMIT', 0, 1)[1]
    if member then
      return member, string.match(member, '^(%S+) (%S+) (.*)$')
    end
  end

  local function letter(taker, time, id, packed)
    return string.format('%s %.17g %d ', taker, time, #id) .. id .. packed
  end

  -- Send a lease to who waits for it; forget those who do not listen any more. The result is whether somebody got it.
  local function send(id, packed, member, channel, taker, worker)
    while member do
      call('ZREM', idle, member)
      local record = cmsgpack.unpack(packed)
      if record[WORKER] ~= worker then
        record[WORKER] = worker
        packed = save(id, record)
      end
      if call('PUBLISH', channel, letter(taker, now + lease_s, id, packed)) > 0 then
        return true
      end
      member, channel, taker, worker = next_idle()
    end
    take_back(id, cmsgpack.unpack(packed))
    return false
  end

  -- What is in line goes to takers who wait. If there is nothing, but soon will be, one of them is told when.
  local function serve()
    for _ = 1, AT_ONCE do
      local member, channel, taker, worker = next_idle()
      if not member then
        return
      end
      local out, more = hand_out(1, HANDED, worker)
      if out[1] then
        if not send(out[1], out[2], member, channel, taker, worker) then
          return
        end
      elseif not more then
        local soon = next_event(false)
        if soon and soon < 1 then
          call('PUBLISH', channel, letter(taker, soon, '', ''))
        end
        return
      end
    end
  end

  serve()
end
