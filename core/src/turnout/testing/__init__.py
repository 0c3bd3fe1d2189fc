"""Contract suites, a manual clock and fakes: what a plugin's author tests an implementation with.

Needs the extra `turnout[testing]` for the suites; the clock needs nothing. Assertion rewriting is registered here,
so that a suite's failing `assert` shows its values in a third party's tests too.
"""

from __future__ import annotations

import contextlib
import pkgutil

with contextlib.suppress(ImportError):  # pytest is an extra; the clock is useful without it
    import pytest

    pytest.register_assert_rewrite(*(f"{__name__}.{module.name}" for module in pkgutil.iter_modules(__path__)))
