"""The instances of the project's own files: as this process has read them, in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable

from turnout.errors import NotFound
from turnout.services.submission import Instance

__all__ = ["LocalInstances"]


class LocalInstances:
    """Instances by name. `check` refuses some to be there together."""

    def __init__(self, check: Callable[[Iterable[Instance]], None] = lambda instances: None) -> None:
        self._check = check
        self._instances: dict[str, Instance] = {}

    def deploy(self, instance: Instance) -> None:
        """Make it the one of its name: executions accepted from now on run it. `SettingsError` if it must not be beside the
        others."""
        after = {**self._instances, instance.name: instance}
        self._check(after.values())
        self._instances = after

    def withdraw(self, name: str) -> None:
        """Accept nothing more for it; its executions go on."""
        self._instances.pop(name, None)

    def all(self) -> tuple[Instance, ...]:
        return tuple(self._instances[name] for name in sorted(self._instances))

    async def active(self) -> AsyncIterator[Instance]:
        """Those that accept executions now."""
        for instance in self.all():
            yield instance

    async def get(self, name: str) -> Instance:
        """`NotFound` names what there is."""
        if name not in self._instances:
            known = ", ".join(sorted(self._instances)) or "none"
            raise NotFound("instance", name, hint=f"there are: {known}")
        return self._instances[name]
