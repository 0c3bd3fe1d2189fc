"""Users for sandboxes: none is given to two, whatever dies; none that is somebody's is given at all."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from turnout.errors import BackendError, Overloaded, SettingsError
from turnout_ecs.jail.uids import BLOCK, UidRange, users_alive

FIRST: Final = 300 * BLOCK
SUPERVISOR: Final = (
    "import os, signal, sys; from pathlib import Path; from turnout_ecs.jail.uids import UidRange\n"
    "users = UidRange(int(sys.argv[1]), int(sys.argv[2]), locks=Path(sys.argv[3])); print(users.take(), flush=True)\n"
    "sys.stdin.read(1)"
)

pytestmark = pytest.mark.usefixtures("needs_root")


@contextlib.contextmanager
def living(uid: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process of that user, which has entered it."""
    with subprocess.Popen(["/bin/cat"], user=uid, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def supervisor(first: int, last: int, locks: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Another process that has taken one of the range."""
    process = subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, str(first), str(last), str(locks)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


def test_each_user_is_given_once_and_then_the_one_that_rested_longest(tmp_path: Path) -> None:
    with UidRange(FIRST, FIRST + 9, locks=tmp_path) as users:
        taken = [users.take() for _ in range(10)]
        for uid in (taken[3], taken[7], taken[1]):
            users.give_back(uid)

        assert taken == list(range(FIRST, FIRST + 10))
        assert [users.take(), users.take(), users.take()] == [taken[3], taken[7], taken[1]]


def test_when_all_are_in_use_it_says_so_until_one_is_given_back(tmp_path: Path) -> None:
    with UidRange(FIRST, FIRST + 1, locks=tmp_path) as users:
        taken = users.take(), users.take()
        with pytest.raises(
            Overloaded, match=rf"backends\.chroot\.uids: every user from {FIRST} to {FIRST + 1} is in use"
        ):
            users.take()
        users.give_back(taken[1])

        assert users.take() == taken[1]


def test_what_was_not_taken_is_not_taken_back(tmp_path: Path) -> None:
    with UidRange(FIRST, FIRST, locks=tmp_path) as users:
        taken = users.take()
        users.give_back(taken + 1)
        users.give_back(taken)
        users.give_back(taken)
        users.take()

        with pytest.raises(Overloaded):
            users.take()


def test_a_supervisor_takes_a_block_more_when_it_needs_one(tmp_path: Path) -> None:
    with UidRange(FIRST + 10, FIRST + BLOCK + 4, locks=tmp_path) as users:
        taken = [users.take() for _ in range(BLOCK - 5)]

        assert taken == list(range(FIRST + 10, FIRST + BLOCK + 5))
        with pytest.raises(Overloaded):
            users.take()


def test_supervisors_of_one_machine_never_share_a_user_even_if_their_ranges_overlap(tmp_path: Path) -> None:
    with (
        UidRange(FIRST, FIRST + 3 * BLOCK - 1, locks=tmp_path) as one,
        supervisor(FIRST + 5, FIRST + 2 * BLOCK - 1, tmp_path) as (_, other),
        UidRange(FIRST + 7, FIRST + 4 * BLOCK - 1, locks=tmp_path) as third,
    ):
        assert one.take() == FIRST
        assert other == FIRST + BLOCK
        assert third.take() == FIRST + 2 * BLOCK
        with pytest.raises(Overloaded):
            UidRange(FIRST, FIRST + 3 * BLOCK - 1, locks=tmp_path)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_the_users_of_a_supervisor_that_died_are_given_again(tmp_path: Path, end: signal.Signals) -> None:
    with supervisor(FIRST, FIRST + 9, tmp_path) as (process, taken):
        with pytest.raises(Overloaded):
            UidRange(FIRST, FIRST + 9, locks=tmp_path)
        process.send_signal(end)
        process.wait()

    with UidRange(FIRST, FIRST + 9, locks=tmp_path) as users:
        assert users.take() == taken


def test_a_user_who_outlived_the_supervisor_is_given_to_nobody_until_he_is_gone(tmp_path: Path) -> None:
    with living(FIRST + 1) as left, UidRange(FIRST, FIRST + 2, locks=tmp_path) as users:
        taken = [users.take(), users.take()]
        with pytest.raises(Overloaded):
            users.take()
        left.kill()
        left.wait()

        assert taken == [FIRST, FIRST + 2]
        assert users.take() == FIRST + 1


def test_a_zombie_is_a_user_still(tmp_path: Path) -> None:
    with living(FIRST) as left:
        left.kill()
        os.waitid(os.P_PID, left.pid, os.WEXITED | os.WNOWAIT)

        assert users_alive([FIRST]) == {FIRST}
        left.wait()
        assert users_alive([FIRST]) == set()


def test_a_user_of_whom_it_is_not_certain_that_he_is_gone_is_looked_for(tmp_path: Path) -> None:
    with UidRange(FIRST, FIRST + 1, locks=tmp_path) as users:
        taken = users.take()
        users.take()
        with living(taken) as left:
            users.give_back(taken, certain=False)
            with pytest.raises(Overloaded):
                users.take()
            left.kill()
            left.wait()
            assert users.take() == taken

            users.give_back(taken)  # the control: who is certain is believed
            assert users.take() == taken


def test_a_user_is_taken_in_less_than_20_microseconds(tmp_path: Path) -> None:
    with UidRange(FIRST, FIRST + BLOCK - 1, locks=tmp_path) as users:
        began = time.thread_time()
        for _ in range(10_000):
            users.give_back(users.take())

        assert (time.thread_time() - began) / 10_000 < 20e-6


def test_closed_it_lets_others_have_its_blocks(tmp_path: Path) -> None:
    users = UidRange(FIRST, FIRST, locks=tmp_path)
    users.close()
    users.close()

    with UidRange(FIRST, FIRST, locks=tmp_path) as others:
        assert others.take() == FIRST


ETC: Final = {
    "passwd": "root:x:0:0:root:/var/empty:/bin/sh\nann:x:70010:100:Ann:/nonexistent:/bin/sh\nnonsense\n::\n",
    "group": "staff:x:71020:\n",
    "subuid": "ann:80000:1000\n",
    "subgid": "ann:90000:10\nbob:x:y\n",
}


@pytest.mark.parametrize(
    ("first", "last", "told"),
    [
        (70000, 70100, "/passwd gives 70010 to ann"),
        (70010, 70010, "/passwd gives 70010 to ann"),
        (71000, 71999, "/group gives 71020 to staff"),
        (79000, 80000, "/subuid gives 80000-80999 to ann"),
        (80999, 81000, "/subuid gives 80000-80999 to ann"),
        (80500, 80600, "/subuid gives 80000-80999 to ann"),
        (89000, 95000, "/subgid gives 90000-90009 to ann"),
        (0, 70000, "it must go upwards, from 1000"),
        (999, 2000, "it must go upwards, from 1000"),
        (72001, 72000, "it must go upwards"),
        (2**31 - 5, 2**31, "to 2147483647 at most"),
        (65000, 66000, "65534 is nobody's"),
    ],
)
def test_a_range_that_is_somebodys_is_refused(tmp_path: Path, first: int, last: int, told: str) -> None:
    for name, text in ETC.items():
        (tmp_path / name).write_text(text)

    with pytest.raises(SettingsError) as refused:
        UidRange(first, last, locks=tmp_path / "locks", etc=tmp_path)

    assert str(refused.value).startswith(f"backends.chroot.uids: {first}-{last} cannot be used: ")
    assert told in str(refused.value)
    assert refused.value.setting == "backends.chroot.uids"


def test_a_range_between_others_and_a_system_without_such_files_are_fine(tmp_path: Path) -> None:
    for name, text in ETC.items():
        (tmp_path / name).write_text(text)

    UidRange(81000, 89999, locks=tmp_path / "locks", etc=tmp_path).close()
    UidRange(70000, 70100, locks=tmp_path / "locks", etc=tmp_path / "nowhere").close()


def test_users_that_a_container_may_not_use_are_refused(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from turnout_ecs.jail.uids import UidRange\n"
        "try: UidRange(70000, 70999, locks=Path(sys.argv[1]))\n"
        "except Exception as error: print(error)"
    )
    locks = str(tmp_path)

    def told(*around: str) -> str:
        return subprocess.run(
            [*around, sys.executable, "-c", script, locks], capture_output=True, text=True, check=True
        ).stdout

    assert told() == ""
    assert "this container may not use all of it (/proc/self/uid_map" in told("unshare", "--user", "--map-root-user")


@pytest.mark.parametrize(
    "text", ["", "70000", "70000-", "-70000", "a-b", "70000-80000-90000", "7e4-8e4", "70000–80000"]
)
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"backends\.chroot\.uids: .* is no range of users: 70000-89999 is one"):
        UidRange.parse(text)


def test_locks_are_not_kept_where_others_could_hold_them(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)

    with pytest.raises(SettingsError, match="others than root may write to"):
        UidRange(FIRST, FIRST, locks=tmp_path / "locks")


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / str(FIRST // BLOCK)).symlink_to(tmp_path / "elsewhere")

    with pytest.raises(BackendError, match="by which supervisors divide users, cannot be opened"):
        UidRange(FIRST, FIRST, locks=tmp_path)
    assert not (tmp_path / "elsewhere").exists()


def test_where_one_place_for_locks_cannot_be_had_the_next_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("turnout_ecs.jail.uids._LOCKS", (tmp_path / "file" / "locks", tmp_path / "locks"))
    UidRange(FIRST, FIRST).close()
    monkeypatch.setattr("turnout_ecs.jail.uids._LOCKS", (tmp_path / "file" / "locks",))
    with pytest.raises(BackendError, match="for which no directory can be had"):
        UidRange(FIRST, FIRST)

    assert [path.name for path in (tmp_path / "locks").iterdir()] == [str(FIRST // BLOCK)]
