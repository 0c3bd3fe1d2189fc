"""The command line: the one place that turns errors into text and exit statuses.

Quick to start: a command's module, and what it needs, is imported only when that command runs.
"""

from turnout.cli.program import main

__all__ = ["main"]
