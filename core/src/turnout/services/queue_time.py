"""One time for all workers: the queue's. A deadline is a moment; it must not come early because a machine's clock is fast."""

from __future__ import annotations

import logging
from typing import Final

from turnout.interfaces.clock import Clock
from turnout.interfaces.queue import Lease

__all__ = ["QueueTime"]

_OFF_S: Final = 2.0
"""What a lease may take from the queue to here; only what is off by more is set right."""

_log = logging.getLogger("turnout.clock")


class QueueTime:
    """A worker's clock, set right by what its leases say: one that was just given runs out `lease_s` from the queue's now."""

    def __init__(self, clock: Clock, lease_s: float) -> None:
        self._clock = clock
        self._lease_s = lease_s
        self._off_s = 0.0

    def now(self) -> float:
        """The queue's time, to within two seconds; this machine's until the first lease is given."""
        return self._clock.now() + self._off_s

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)

    def given(self, lease: Lease) -> None:
        """To be called with each lease as soon as it is given."""
        off_s = lease.expires_at - self._lease_s - self._clock.now()
        if abs(off_s - self._off_s) > _OFF_S:
            _log.warning("this machine's clock is %+.0f s off the queue's time, which counts", -off_s)
            self._off_s = off_s
