"""Which services move from where to where, and in which order stacks change so that no service is nowhere: gain first, then lose.

Two places may run a service at once, as all of its state is in stores that both see. Nobody running it is what loses webhooks
and delays schedules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from turnout.errors import UserError

__all__ = [
    "LOCAL",
    "SERVICES",
    "Move",
    "Services",
    "Step",
    "moves_of",
    "order",
    "remains",
    "services_of",
    "together",
    "wanted_of",
]

LOCAL: Final = "local"
SERVICES: Final = "turnout:services"
"""In a template's `Metadata`: the names of the services that it runs, with commas between."""
_BEFORE: Final = "Before"
_SECTIONS: Final = ("Mappings", "Conditions", "Parameters", "Resources", "Outputs")
"""Outputs too: the old address is one to look up while both work."""
_ADDRESS: Final = "callers reach it at another address: change what `project.url` names (its DNS record), and send callers there, before the old one goes"
_DRAIN: Final = (
    "the old one takes nothing more and has its drain time to finish; what it does not finish goes on at the new place"
)

Services = Mapping[str, frozenset[str]]
"""The names of the services that each target runs, by the target's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """`origin` and `to` are targets; `local` is any machine where somebody starts it. `risks` are sentences for people."""

    service: str
    origin: str
    to: str
    risks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A change of a target's stack: `loses` whether what its package lacks goes, or stays beside what the package has."""

    target: str
    loses: bool


def services_of(template: Mapping[str, Any]) -> frozenset[str]:
    """Those that a deployed template runs."""
    told = template.get("Metadata", {})
    names = str(told.get(SERVICES, "")) if isinstance(told, Mapping) else ""
    return frozenset(name for name in names.split(",") if name)


def wanted_of(packages: Mapping[str, Sequence[str]], placed: Callable[[str], str]) -> Services:
    """What each package is to run, without those that nothing is placed on any more. `placed` is where settings place a service.
    `UserError` where a package was made before a service moved."""
    wanted = {}
    for target, services in packages.items():
        stale = sorted(name for name in services if placed(name) != target)
        if services and len(stale) == len(services):
            continue
        if stale:
            raise UserError(
                f"{target}: it was packaged with {', '.join(stale)}, and settings place that elsewhere: run `turnout package` again"
            )
        wanted[target] = frozenset(services)
    return wanted


def moves_of(running: Services, wanted: Services, placed: Callable[[str], str]) -> tuple[Move, ...]:
    """Each service that leaves a stack, by its name. `UserError` where settings place it on a target whose package lacks it."""
    found = []
    for origin in sorted(running):
        for service in sorted(running[origin] - wanted.get(origin, frozenset())):
            to = next((target for target in sorted(wanted) if service in wanted[target]), LOCAL)
            if to == LOCAL != placed(service):
                raise UserError(
                    f"{service}: settings place it on {placed(service)!r}, and no package has it: run `turnout package` again"
                )
            found.append(Move(service=service, origin=origin, to=to, risks=tuple(_risks(service))))
    return tuple(sorted(found, key=lambda one: (one.service, one.origin)))


def order(running: Services, wanted: Services, moves: Sequence[Move], held: frozenset[str]) -> tuple[Step, ...]:
    """The steps that bring `running` to `wanted`, so that no stack loses a service before the one that gains it is up. A target
    has two only where targets wait for each other. Those that are `held` lose nothing; those without a package come last."""
    waits = [(one.origin, one.to, one.service) for one in moves if one.to != LOCAL]
    up = {target: set(services) for target, services in running.items()}
    left, steps = sorted(wanted), list[Step]()
    while left:
        ready = [
            one for one in left if one in held or all(name in up.get(to, ()) for at, to, name in waits if at == one)
        ]
        target = ready[0] if ready else _gains(left, up, wanted)
        steps.append(Step(target=target, loses=bool(ready) and target not in held))
        up.setdefault(target, set()).update(wanted[target])
        if ready:
            left.remove(target)
    gone = sorted(one for one in running if running[one] and one not in wanted and one not in held)
    return (*steps, *(Step(target=one, loses=True) for one in gone))


def together(
    new: Mapping[str, Any], old: Mapping[str, Any], values: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """The new template with all that the old one alone has, as it is: where its resources refer to a parameter, they go on with
    its value of `values`, under a name of its own (old functions keep the code that they are in). The template, and these
    parameters' values."""
    alone = {name: one for name, one in old.get("Resources", {}).items() if name not in new["Resources"]}
    declared, used = old.get("Parameters", {}), set(_names(alone))
    renamed = {name: _free(name, declared) for name in declared if name in values and name in used}
    parts = {section: {**_renamed(old.get(section, {}), renamed), **new.get(section, {})} for section in _SECTIONS}
    for name, other in renamed.items():
        parts["Parameters"][other] = {key: part for key, part in declared[name].items() if key != "Default"}
    needed = set(new.get("Parameters", {})) | set(_names({name: parts[name] for name in ("Conditions", "Resources")}))
    parts["Parameters"] = {name: one for name, one in parts["Parameters"].items() if name in needed}
    made = {**new, **{name: part for name, part in parts.items() if part}}
    return made, {other: values[name] for name, other in renamed.items()}


def remains(old: Mapping[str, Any], holds: Callable[[Mapping[str, Any]], bool]) -> dict[str, Any] | None:
    """Of a stack that runs nothing any more: what `holds` data, and what that refers to. None where that is nothing."""
    resources = old.get("Resources", {})
    kept, more = set[str](), {name for name, one in resources.items() if holds(one)}
    if not more:
        return None
    while more:
        kept |= more
        more = {name for name in _names({one: resources[one] for one in kept}) if name in resources} - kept
    left = {
        **old,
        "Resources": {name: one for name, one in resources.items() if name in kept},
        "Outputs": {},
        "Metadata": {},
    }
    used = set(_names(left["Resources"]))
    left["Parameters"] = {name: one for name, one in old.get("Parameters", {}).items() if name in used}
    return {name: part for name, part in left.items() if part}


def _free(name: str, declared: Mapping[str, Any]) -> str:
    other = f"{name}{_BEFORE}"
    return _free(other, declared) if other in declared else other


def _gains(left: Sequence[str], up: Mapping[str, set[str]], wanted: Services) -> str:
    """The first that has something to gain: without one nobody would wait."""
    return next(one for one in left if wanted[one] - up.get(one, set()))


def _risks(service: str) -> Iterator[str]:
    if service in {"ingress", "oauth", "api"}:
        yield _ADDRESS
    if service == "runner":
        yield _DRAIN


def _names(part: Any) -> Iterator[str]:
    """What it refers to: resources and parameters."""
    if isinstance(part, Mapping):
        for key, value in part.items():
            match key, value:
                case "Ref", str():
                    yield value
                case "Fn::GetAtt", [str() as name, *_]:
                    yield name
                case "Fn::Sub", _:
                    text = value if isinstance(value, str) else value[0]
                    yield from (one.partition("}")[0].partition(".")[0] for one in text.split("${")[1:])
                    yield from _names(value)
                case "DependsOn", _:
                    yield from [value] if isinstance(value, str) else value
                case _:
                    yield from _names(value)
    elif isinstance(part, list):
        for one in part:
            yield from _names(one)


def _renamed(part: Any, names: Mapping[str, str]) -> Any:
    if isinstance(part, Mapping):
        return {
            key: names.get(value, value) if key == "Ref" and isinstance(value, str) else _substituted(key, value, names)
            for key, value in part.items()
        }
    return [_renamed(one, names) for one in part] if isinstance(part, list) else part


def _substituted(key: str, value: Any, names: Mapping[str, str]) -> Any:
    if key == "Fn::Sub" and isinstance(value, str):
        for name, other in names.items():
            value = value.replace(f"${{{name}}}", f"${{{other}}}")
        return value
    return _renamed(value, names)
