"""Where the Python of code steps is and how it is started: the interpreter that this process runs on, without its packages."""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path
from typing import Final

from turnout.errors import BackendError

__all__ = ["PYTHON_BOOTSTRAP", "python_binary", "python_options"]

PYTHON_BOOTSTRAP: Final = Path(__file__).parent / "bootstrap_python"
"""The directory of what Python runs; `main.py` is where it begins."""


@cache
def python_binary() -> str:
    """The path of the interpreter itself, not of a virtual environment's link to it. `BackendError` where it is not there."""
    binary = os.path.realpath(sys.executable) if sys.executable else ""
    if sys.implementation.name != "cpython" or not os.access(binary, os.X_OK):
        raise BackendError(f"code steps in Python need CPython, this is {sys.implementation.name} at {binary or '?'}")
    return binary


def python_options() -> list[str]:
    """Python's own arguments: nothing of the environment, of the user or of installed packages, and nothing written."""
    return [
        *("-I", "-S", "-B"),
        *("-X", "frozen_modules=on"),
        *("-X", "utf8=1"),
        *("-X", "int_max_str_digits=0"),
    ]
