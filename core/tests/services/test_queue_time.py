"""The queue's time counts, whatever a worker's own clock says."""

from __future__ import annotations

import pytest
from turnout.interfaces.queue import Lease, Message
from turnout.services.queue_time import QueueTime
from turnout.testing.clock import ManualClock

LEASE_S = 30.0


def lease(at: float) -> Lease:
    """Given when the queue's clock stood at `at`."""
    message = Message(id="one", tenant="acme")
    return Lease(message=message, worker="here", token=1, attempt=1, expires_at=at + LEASE_S)


@pytest.mark.parametrize("off_s", [3600.0, -3600.0])
def test_a_clock_that_is_an_hour_off_follows_the_queues(off_s: float) -> None:
    own = ManualClock(start=10_000.0 + off_s)
    time = QueueTime(own, LEASE_S)

    time.given(lease(at=10_000.0))
    own.advance(5)

    assert time.now() == 10_005.0


def test_a_clock_that_is_set_right_is_followed_again() -> None:
    own = ManualClock(start=13_600.0)
    time = QueueTime(own, LEASE_S)
    time.given(lease(at=10_000.0))

    time.given(lease(at=13_600.0))

    assert time.now() == 13_600.0


def test_the_way_from_the_queue_to_here_moves_no_clock() -> None:
    own = ManualClock(start=10_000.0)
    time = QueueTime(own, LEASE_S)

    time.given(lease(at=9_998.5))

    assert time.now() == 10_000.0
