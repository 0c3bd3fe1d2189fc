"""Which of root's rights this process has: a container may have been started without some of them."""

from __future__ import annotations

from typing import Final

from turnout.errors import BackendError

from turnout_ecs.jail.status import status_of

__all__ = ["must_have"]

_NUMBERS: Final = {"KILL": 5, "SETGID": 6, "SETUID": 7, "SYS_CHROOT": 18}


def must_have(sandbox: str, *names: str) -> None:
    """`BackendError` names those of the capabilities `names` that are missing. Without KILL nothing else would tell: code
    would run, and could not be ended."""
    effective = int(status_of("self")["CapEff"], 16)
    missing = [name for name in names if not effective >> _NUMBERS[name] & 1]
    if missing:
        raise BackendError(
            f"the {sandbox} sandbox needs the {'capability' if len(missing) == 1 else 'capabilities'} {', '.join(missing)}, "
            "which root does not have here: start the container with "
            + " ".join(f"`--cap-add {name}`" for name in missing)
        )
