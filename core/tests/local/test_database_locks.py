"""Connections of one process keep their locks while others of it, and of other processes, come and go."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from turnout.local.database import Database

_VISIT = (
    "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); print(c.execute('SELECT count(*) FROM t').fetchone()[0])"
)


def visit(file: Path) -> int:
    """The rows that another process sees, which then leaves."""
    done = subprocess.run([sys.executable, "-c", _VISIT, str(file)], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_a_visitor_does_not_take_the_log_away_from_under_two_connections(tmp_path: Path) -> None:
    file = tmp_path / "t.db"
    first = Database(file)
    first.execute("CREATE TABLE t (x)")
    second = first.another()
    assert visit(file) == 0

    first.execute("INSERT INTO t VALUES (1)")

    assert visit(file) == 1
    assert second.query("SELECT x FROM t") == [(1,)]
    second.close()
    first.close()
    assert visit(file) == 1
