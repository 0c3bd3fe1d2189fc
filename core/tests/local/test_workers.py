"""A worker's lock says whether it lives; the sweep removes what the killed left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from turnout.errors import BackendError
from turnout.local.workers import WorkerLock, any_ended, is_alive, sweep

Stranger = tuple[subprocess.Popen[str], str]


@pytest.fixture
def stranger(tmp_path: Path) -> Iterator[Stranger]:
    """A worker in a process of its own: the process and the worker's name."""
    script = (
        "import sys; from pathlib import Path; from turnout.local.workers import WorkerLock\n"
        "lock = WorkerLock(Path(sys.argv[1])); print(lock.name, flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "workers")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield process, process.stdout.readline().strip()
        process.kill()


def test_a_worker_lives_until_its_process_is_killed(tmp_path: Path, stranger: Stranger) -> None:
    process, name = stranger

    before = is_alive(tmp_path / "workers", name)
    process.send_signal(signal.SIGKILL)
    process.wait()

    assert (before, is_alive(tmp_path / "workers", name)) == (True, False)
    assert list((tmp_path / "workers").iterdir()) == []


def test_its_name_says_host_and_process(stranger: Stranger) -> None:
    process, name = stranger

    assert name.startswith(f"{socket.gethostname()}:{process.pid}:")


def test_a_worker_lives_until_it_releases_its_lock_and_leaves_no_file(tmp_path: Path) -> None:
    lock = WorkerLock(tmp_path)

    before = is_alive(tmp_path, lock.name)
    lock.release()
    lock.release()

    assert (before, is_alive(tmp_path, lock.name)) == (True, False)
    assert list(tmp_path.iterdir()) == []


def test_a_process_with_the_id_of_a_dead_worker_is_not_taken_for_it(tmp_path: Path) -> None:
    lock = WorkerLock(tmp_path)
    host, _, key = lock.name.split(":")
    lock.release()

    assert is_alive(tmp_path, f"{host}:{os.getpid()}:{key}") is False


def test_nothing_is_known_of_a_worker_of_another_directory_that_shares_the_queue(tmp_path: Path) -> None:
    lock = WorkerLock(tmp_path / "one")
    lock.release()
    (tmp_path / "other").mkdir()

    assert is_alive(tmp_path / "one", lock.name) is False
    assert is_alive(tmp_path / "other", lock.name) is True


@pytest.mark.parametrize("name", ["elsewhere.example:1:0123456789abcdef", "no name of ours", "", "::../../etc/passwd"])
def test_nothing_is_known_of_workers_elsewhere(tmp_path: Path, name: str) -> None:
    assert is_alive(tmp_path, name) is True


def test_a_child_process_does_not_keep_its_parents_lock(tmp_path: Path) -> None:
    lock = WorkerLock(tmp_path)
    command = [sys.executable, "-c", "print('started', flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=False) as child:
        assert child.stdout
        child.stdout.readline()
        assert lock._file is not None
        os.close(lock._file)
        lock._file = None

        alive = is_alive(tmp_path, lock.name)
        child.communicate(b"\n")

    assert alive is False


def test_sweep_removes_what_the_killed_left_behind_and_nothing_else(tmp_path: Path, stranger: Stranger) -> None:
    (tmp_path / "workers" / "0000.lock").touch()

    sweep(tmp_path / "workers")

    assert is_alive(tmp_path / "workers", stranger[1])
    assert len(list((tmp_path / "workers").iterdir())) == 1


def test_a_killed_worker_is_noticed_until_it_is_swept(tmp_path: Path, stranger: Stranger) -> None:
    process, _ = stranger
    directory = tmp_path / "workers"

    before = any_ended(directory)
    process.send_signal(signal.SIGKILL)
    process.wait()
    after = any_ended(directory), any_ended(directory)
    sweep(directory)

    assert (before, after, any_ended(directory)) == (False, (True, True), False)
    assert any_ended(tmp_path / "nowhere") is False


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(BackendError, match="a worker's lock cannot be made there"):
        WorkerLock(tmp_path / "file" / "workers")
