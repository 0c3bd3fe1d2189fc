"""Finding plugins: entry points of group `turnout` in the installed distributions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points

__all__ = ["GROUP", "Plugin", "PluginFailure", "import_plugin", "installed"]

GROUP = "turnout"
"""The entry point group; an entry point's value is the module that holds the hook implementations."""

_CORE = "turnout"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """A plugin and where it comes from. `distribution` and `version` are empty for one given in process."""

    name: str
    distribution: str = ""
    version: str = ""
    entry_point: EntryPoint | None = field(default=None, repr=False, compare=False)

    @property
    def id(self) -> str:
        """Unique among the plugins of a registry: two distributions may use one name for their entry points."""
        return f"{self.distribution}:{self.name}" if self.distribution else self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginFailure:
    """What a plugin did wrong, for people: `distribution` is what to upgrade or remove, `name` the plugin's."""

    distribution: str
    name: str
    error: str

    def __str__(self) -> str:
        source = f" (from {self.distribution})" if self.distribution else ""
        return f"plugin {self.name!r}{source}: {self.error}"


def installed(blocked: Collection[str]) -> Iterator[Plugin]:
    """The plugins of all installed distributions, none imported yet, without those whose name is in `blocked`.

    Core's own come first, the others by distribution and name: of two that provide the same name the first keeps it,
    whatever order the machine lists its distributions in.
    """
    found = [_plugin(entry) for entry in entry_points(group=GROUP) if entry.name not in blocked]
    yield from _ordered(found)


def _plugin(entry: EntryPoint) -> Plugin:
    distribution = entry.dist
    return Plugin(
        name=entry.name,
        distribution=distribution.name if distribution else "",
        version=distribution.version if distribution else "",
        entry_point=entry,
    )


def _ordered(plugins: Iterable[Plugin]) -> list[Plugin]:
    return sorted(plugins, key=lambda plugin: (plugin.distribution != _CORE, plugin.distribution, plugin.name))


def import_plugin(plugin: Plugin) -> object:
    """The module that the plugin's entry point names; whatever its import raises."""
    assert plugin.entry_point is not None
    return plugin.entry_point.load()
