"""CloudFormation's references as Terraform's expressions, in its JSON syntax: each string there is a template.

https://developer.hashicorp.com/terraform/language/syntax/json#expression-mapping
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from turnout.errors import BackendError

__all__ = ["SOURCES", "Expressions", "Known", "Names", "literal"]

SOURCES: Final[Mapping[str, tuple[str, str]]] = {
    "AWS::AccountId": ("aws_caller_identity", "account_id"),
    "AWS::Partition": ("aws_partition", "partition"),
    "AWS::Region": ("aws_region", "region"),
    "AWS::URLSuffix": ("aws_partition", "dns_suffix"),
}
"""What CloudFormation knows by itself, and the data source and attribute that say it."""
_PLACE: Final = re.compile(r"\$\{(!?)([^}]*)\}")
_ATTRIBUTE: Final = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A resource that others refer to: its address, and what a reference to it or to one of its attributes is, with `{name}`
    for each of Terraform's attributes."""

    address: str
    ref: str
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What can be referred to. `parameters` says of each whether it is a list."""

    parameters: Mapping[str, bool]
    resources: Mapping[str, Known]


def literal(text: str) -> str:
    """The template whose value is this text."""
    return text.replace("${", "$${").replace("%{", "%%{")


@dataclass(frozen=True, slots=True, kw_only=True)
class Expressions:
    """Those of one place. `fault` makes the error for a path within it and what is wrong there. What was referred to is
    noted: ids of resources in `referred`, types of data sources in `sources`."""

    names: Names
    fault: Callable[[str, str], BackendError]
    referred: set[str] = field(default_factory=set)
    sources: set[str] = field(default_factory=set)

    def value(self, given: Any, path: str) -> Any:
        """A value, a list of such, or a reference. An object is none: its names would have to be known."""
        if isinstance(given, str):
            return literal(given)
        if isinstance(given, bool | int | float):
            return given
        if isinstance(given, Mapping):
            if not _is_reference(given):
                raise self.fault(path, "its parts are not known")
            return self._reference(given, path)
        if isinstance(given, Sequence):
            return [self.value(one, f"{path}.{number}") for number, one in enumerate(given)]
        raise self.fault(path, f"{given!r} cannot be written")

    def document(self, given: Any, path: str) -> Any:
        """A value with objects whose names are their author's, references among them."""
        if isinstance(given, Mapping) and not _is_reference(given):
            return {literal(name): self.document(part, f"{path}.{name}") for name, part in given.items()}
        if isinstance(given, Sequence) and not isinstance(given, str):
            return [self.document(one, f"{path}.{number}") for number, one in enumerate(given)]
        return self.value(given, path)

    def attribute(self, given: Any, name: str, path: str) -> str:
        """Another attribute of the resource that is referred to."""
        if not isinstance(given, Mapping) or list(given) != ["Ref"] or given["Ref"] not in self.names.resources:
            raise self.fault(path, "must be a `Ref` to a resource of the same description")
        return self._of(given["Ref"], f"{{{name}}}")

    def _reference(self, given: Mapping[str, Any], path: str) -> str:
        [(function, argument)] = given.items()
        if function == "Ref":
            return self._ref(argument, path)
        if function == "Fn::GetAtt":
            parts = argument.split(".", 1) if isinstance(argument, str) else list(argument)
            return self._get(*parts, path=path)
        if function == "Fn::Sub":
            return self._sub(argument, path)
        if function == "Fn::Join":
            return self._join(argument, path)
        raise self.fault(path, f"{function} has no counterpart here")

    def _ref(self, name: str, path: str) -> str:
        if name in SOURCES:
            source, attribute = SOURCES[name]
            self.sources.add(source)
            return f"${{data.{source}.current.{attribute}}}"
        if name in self.names.parameters:
            return f"${{var.{name}}}"
        if name in self.names.resources:
            return self._of(name, self.names.resources[name].ref)
        raise self.fault(path, f"refers to {name!r}, which there is not")

    def _get(self, name: str, attribute: str, *, path: str) -> str:
        if name not in self.names.resources:
            raise self.fault(path, f"refers to {name!r}, which there is not")
        attributes = self.names.resources[name].attributes
        if attribute not in attributes:
            raise self.fault(path, f"the attribute {attribute!r} of {name!r} is not known")
        return self._of(name, attributes[attribute])

    def _of(self, name: str, template: str) -> str:
        self.referred.add(name)
        address = self.names.resources[name].address
        return _ATTRIBUTE.sub(lambda found: f"${{{address}.{found[1]}}}", template)

    def _sub(self, argument: Any, path: str) -> str:
        text, given = (argument, {}) if isinstance(argument, str) else argument
        parts, end = [], 0
        for found in _PLACE.finditer(text):
            parts += [literal(text[end : found.start()]), self._placed(found, given, path)]
            end = found.end()
        return "".join([*parts, literal(text[end:])])

    def _placed(self, found: re.Match[str], given: Mapping[str, Any], path: str) -> str:
        escaped, name = found[1], found[2].strip()
        if escaped:
            return literal(f"${{{found[2]}}}")
        if name in given:
            return self._text(given[name], path)
        if "." in name:
            return self._get(*name.split(".", 1), path=path)
        return self._text({"Ref": name}, path)

    def _join(self, argument: Any, path: str) -> str:
        between, given = argument
        if isinstance(given, Mapping):
            raise self.fault(path, "Fn::Join takes its parts one by one here")
        return literal(between).join(self._text(one, path) for one in given)

    def _text(self, given: Any, path: str) -> str:
        """What may stand within a text."""
        if isinstance(given, Mapping) and self.names.parameters.get(given.get("Ref", "")):
            raise self.fault(path, f"a list, {given['Ref']!r}, within a text")
        made = self.value(given, path)
        if not isinstance(made, str):
            raise self.fault(path, f"{given!r} within a text")
        return made


def _is_reference(given: Mapping[str, Any]) -> bool:
    [*names] = given
    return len(names) == 1 and (names[0] == "Ref" or names[0].startswith("Fn::"))
