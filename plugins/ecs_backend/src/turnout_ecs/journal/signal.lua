-- Write a row from outside, whatever the fence, unless the execution has no rows.
--
-- keys: last rows unfinished positions owner sent bodies...
-- args: execution resent_ms row...
-- reply: 'written', 'none', or 'expired' if the separate body is no longer there
-- use: write
-- safe: yes
--
-- `sent` is there for `resent_ms` once this was written: by then nobody sends it again.

if redis.call('EXISTS', sent) == 1 then return 'written' end
if redis.call('EXISTS', positions) == 0 then return 'none' end
if not keep_bodies(7) then return 'expired' end

write(execution, 3)
redis.call('SET', sent, '', 'PX', resent_ms)
return 'written'
