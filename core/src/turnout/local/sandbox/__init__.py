"""The `process` sandbox: see `sandbox.py` for what it is, `pool.py` for how it is quick, `bootstrap/` for the other side."""

from turnout.local.sandbox.sandbox import ProcessSandbox

__all__ = ["ProcessSandbox"]
