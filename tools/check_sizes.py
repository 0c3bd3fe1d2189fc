"""Fail where a module is longer than a reader can hold: no Python or JavaScript file above 500 lines."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

LONGEST = 500
ROOT = Path(__file__).parent.parent


def main() -> int:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py", "*.js", "*.mjs"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    sizes = {name: _lines(ROOT / name) for name in listed.stdout.splitlines() if (ROOT / name).is_file()}
    long = {name: size for name, size in sizes.items() if size > LONGEST}
    for name, size in sorted(long.items()):
        sys.stdout.write(f"{name}: {size} lines, more than {LONGEST}: divide it by what its parts know\n")
    return 1 if long else 0


def _lines(file: Path) -> int:
    return len(file.read_bytes().splitlines())


if __name__ == "__main__":
    sys.exit(main())
