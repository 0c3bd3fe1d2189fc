"""A jail that cannot be launched takes no user with it."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from turnout.errors import BackendError
from turnout.interfaces.sandbox import Limits
from turnout.testing.sandbox import bundle_of
from turnout_ecs.jail.options import ChrootOptions
from turnout_ecs.jail.sandbox import ChrootSandbox
from turnout_ecs.jail.uids import UidRange


async def test_a_user_comes_back_from_a_jail_that_cannot_be_launched(
    jail: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    users: list[int] = []
    take, give_back = UidRange.take, UidRange.give_back

    def taken(self: UidRange) -> int:
        users.append(take(self))
        return users[-1]

    def given_back(self: UidRange, uid: int, **how: Any) -> None:
        users.remove(uid)
        give_back(self, uid, **how)

    def none(*_: Any) -> Any:
        raise OSError(24, "Too many open files")

    sandbox = ChrootSandbox(ChrootOptions(jail=jail, warm_floor=0, warm_ceiling=1))
    await sandbox.start()
    monkeypatch.setattr(UidRange, "take", taken)
    monkeypatch.setattr(UidRange, "give_back", given_back)
    with monkeypatch.context() as without:
        without.setattr(socket, "socketpair", none)
        with pytest.raises(BackendError, match="Too many open files"):
            await sandbox.acquire("acme", bundle_of(tmp_path, {"step.mjs": ""}), Limits())
    assert users == []
    await sandbox.close()
