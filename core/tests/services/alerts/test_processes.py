"""Processes beside each other, and one that is killed: on a catalog on the disk, with a webhook that listens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import turnout
from turnout.interfaces.service import Invocation

from core.tests.services.alerts.alert_yard import runs
from core.tests.services.alerts.http_sides import HookSide
from core.tests.services.alerts.process import INCIDENTS, OnDisk

ROOT = Path(turnout.__file__).parents[3]


class CountingSide(HookSide):
    """Keeps the messages' ids; kills whoever sent the first before it gets an answer."""

    def __init__(self, *, kills: bool = False) -> None:
        super().__init__()
        self.ids: list[tuple[str, str]] = []
        self.victim = threading.Event()
        self.pid = 0
        self._kills = kills

    def answered(self, path: str, headers: Any, body: bytes) -> tuple[int, bytes]:
        status = super().answered(path, headers, body)
        self.ids.append((headers["webhook-id"], body.split(b'"', 4)[3].decode()))
        if self._kills and len(self.ids) == 1:
            assert self.victim.wait(60)
            os.kill(self.pid, signal.SIGKILL)
        return status


def start(folder: Path, side: CountingSide, what: str) -> subprocess.Popen[bytes]:
    arguments = ["-m", "core.tests.services.alerts.process", str(folder), side.url, side.secrets[0], what]
    return subprocess.Popen([sys.executable, *arguments], cwd=ROOT)


async def test_two_processes_that_take_the_same_events_tell_of_each_incident_once(tmp_path: Path) -> None:
    """Each takes all of the same ends, in its own time, and sends what it finds. A failure that one hears of after the other has
    heard of the success that followed begins no incident; one that began is over once."""
    with CountingSide() as side:
        assert isinstance(side, CountingSide)
        processes = [start(tmp_path, side, "take") for _ in range(2)]
        assert [process.wait(100) for process in processes] == [0, 0]
        yard = OnDisk(tmp_path, side.url, side.secrets[0], later_s=300)
        for _ in range(INCIDENTS):
            await yard.outbox.send_line("hook", Invocation())
            yard.clock.advance(60)
        [alert] = await yard.alerts()
        await yard.close()

        assert len(side.ids) == len(set(side.ids)) == 2 * alert.number
        assert 1 <= alert.number <= INCIDENTS
        told = Counter((arrival.incident, arrival.over) for arrival in side.taken)
        assert len(told) == 2 * alert.number
        assert set(told.values()) == {1}


async def test_a_process_that_is_killed_after_it_has_sent_leaves_it_to_another_under_the_same_id(
    tmp_path: Path,
) -> None:
    with CountingSide(kills=True) as side:
        assert isinstance(side, CountingSide)
        yard = OnDisk(tmp_path, side.url, side.secrets[0])
        await yard.give(*runs([False], yard.clock.now()))
        process = start(tmp_path, side, "send")
        side.pid = process.pid
        side.victim.set()
        assert process.wait(100) == -signal.SIGKILL

        await yard.outbox.send_line("hook", Invocation())
        assert len(side.ids) == 1
        yard.clock.advance(61)
        await yard.outbox.send_line("hook", Invocation())
        await yard.close()

        assert len(side.ids) == 2
        assert len(set(side.ids)) == 1
