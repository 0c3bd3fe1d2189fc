"""The forms in which Terraform's provider takes what CloudFormation takes as a property.

A table of properties has for each its form; the name alone is that of an argument which takes the value as it is.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias

from turnout.deploy.terraform.expressions import Expressions, literal

__all__ = [
    "Apart",
    "Block",
    "Encoded",
    "Form",
    "Hoisted",
    "Item",
    "Made",
    "Mapped",
    "Pairs",
    "Properties",
    "ResourceType",
    "Switch",
    "Target",
]

_SWITCHED: Final = {"ENABLED": True, "DISABLED": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What one resource comes to besides its own arguments: `label` is its name, `address` that with its
    type, `values` are local values, `parts` are resources of their own (type and label to arguments)."""

    label: str
    address: str
    expressions: Expressions
    values: dict[str, Any] = field(default_factory=dict)
    parts: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)

    def arguments(self, given: Any, properties: Properties, path: str = "") -> dict[str, Any]:
        """`BackendError` names a property that the table does not know."""
        if not isinstance(given, Mapping):
            raise self.expressions.fault(path, "must be an object")
        body: dict[str, Any] = {}
        for name, value in given.items():
            at = f"{path}.{name}" if path else name
            form = properties.get(name)
            if form is None:
                raise self.expressions.fault(at, "no argument is known for this property")
            if isinstance(form, str):
                body[form] = self.expressions.value(value, at)
            else:
                form.write(body, value, at, self)
        return body


class _Form(ABC):
    __slots__ = ()

    @abstractmethod
    def write(self, body: dict[str, Any], given: Any, path: str, made: Made) -> None:
        """Write the property into the arguments `body`, or beside them."""


Form: TypeAlias = str | _Form
Properties: TypeAlias = Mapping[str, Form]


@dataclass(frozen=True, slots=True)
class Switch(_Form):
    """ENABLED or DISABLED there, true or false here."""

    name: str

    def write(self, body: dict[str, Any], given: Any, path: str, made: Made) -> None:
        if given not in _SWITCHED:
            raise made.expressions.fault(path, f"must be {' or '.join(_SWITCHED)}")
        body[self.name] = _SWITCHED[given]


@dataclass(frozen=True, slots=True)
class Mapped(_Form):
    """An object whose names are its author's."""

    name: str

    def write(self, body: dict[str, Any], given: Any, path: str, made: Made) -> None:
        if not isinstance(given, Mapping):
            raise made.expressions.fault(path, "must be an object")
        values = {literal(name): made.expressions.value(value, f"{path}.{name}") for name, value in given.items()}
        body[self.name] = values


@dataclass(frozen=True, slots=True)
class Pairs(_Form):
    """A list of names with values there (`Key` and `Value`, of tags), an object here."""

    name: str
    key: str

    def write(self, body: dict[str, Any], given: Any, path: str, made: Made) -> None:
        pairs: dict[str, Any] = {}
        for one in _items(given):
            if set(one) != {self.key, "Value"}:
                raise made.expressions.fault(path, f"each must have {self.key} and Value")
            name = made.expressions.value(one[self.key], path)
            if name in pairs:
                raise made.expressions.fault(path, f"{name!r} is there twice")
            pairs[name] = made.expressions.value(one["Value"], f"{path}.{name}")
        body[self.name] = pairs


@dataclass(frozen=True, slots=True)
class Block(_Form):
    """An object or a list of objects there, nested blocks here."""

    name: str
    arguments: Properties

    def write(self, body: dict[str, Any], given: Any, path: str, made: Made) -> None:
        body[self.name] = [made.arguments(one, self.arguments, path) for one in _items(given)]


@dataclass(frozen=True, slots=True)
class Item(_Form):
    """An object or a list of objects in both, with other names."""

    name: str
    arguments: Properties

    def write(self, body: dict[str, Any], given: Any, path: str, made: Made) -> None:
        items = [made.arguments(one, self.arguments, path) for one in _items(given)]
        body[self.name] = items[0] if isinstance(given, Mapping) else items


@dataclass(frozen=True, slots=True)
class Hoisted(_Form):
    """An object there whose parts are arguments of what it is in here."""

    arguments: Properties

    def write(self, body: dict[str, Any], given: Any, path: str, made: Made) -> None:
        body.update(made.arguments(given, self.arguments, path))


@dataclass(frozen=True, slots=True)
class Encoded(_Form):
    """A document there, its JSON as a text here: a local value that Terraform encodes, as what it refers to may have
    quotes in it, or be a list. Without `arguments` names of its parts are its author's."""

    name: str
    arguments: Properties | None = None

    def write(self, body: dict[str, Any], given: Any, path: str, made: Made) -> None:
        label = f"{made.label}_{self.name}"
        if self.arguments is None:
            made.values[label] = made.expressions.document(given, path)
        else:
            scratch: dict[str, Any] = {}
            Item(self.name, self.arguments).write(scratch, given, path, made)
            made.values[label] = scratch[self.name]
        body[self.name] = f"${{jsonencode(local.{label})}}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Apart(_Form):
    """A part there (or each of a list), a resource of its own here. `owner` is the argument that says whose it is, and the
    owner's attribute; `key` the property that it is named after; `value` the argument, where it is no object."""

    type: str
    owner: tuple[str, str]
    arguments: Properties = field(default_factory=dict)
    key: str = ""
    value: str = ""

    def write(self, body: dict[str, Any], given: Any, path: str, made: Made) -> None:
        argument, attribute = self.owner
        for number, one in enumerate(_items(given), 1):
            name = one.get(self.key) if self.key and isinstance(one, Mapping) else None
            suffix = re.sub(r"\W", "_", name) if isinstance(name, str) else str(number)
            label = f"{made.label}_{suffix}"
            if (self.type, label) in made.parts:
                raise made.expressions.fault(path, f"{name!r} is there twice")
            inner = replace(made, label=label)
            at = f"{path}.{name or number}"
            own = (
                {self.value: made.expressions.value(one, at)}
                if self.value
                else inner.arguments(one, self.arguments, at)
            )
            made.parts[self.type, label] = {argument: f"${{{made.address}.{attribute}}}", **own}


@dataclass(frozen=True, slots=True)
class Target(_Form):
    """A reference to a resource there, several of its attributes here."""

    arguments: tuple[str, ...]

    def write(self, body: dict[str, Any], given: Any, path: str, made: Made) -> None:
        body.update({name: made.expressions.attribute(given, name, path) for name in self.arguments})


def _items(given: Any) -> Sequence[Any]:
    return given if isinstance(given, Sequence) and not isinstance(given, str) else [given]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceType:
    """A type of CloudFormation's in Terraform's terms.

    `ref` and `attributes` are what `Ref` and `Fn::GetAtt` give, with `{name}` for each attribute. What CloudFormation does
    where a property is not given, and Terraform does not: `named` is the property of a name that it makes up, `implied`
    what it takes instead, `initial` what it begins with and then leaves to others. `always` are arguments without which
    Terraform does something else.
    """

    type: str
    properties: Properties
    ref: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    named: str = ""
    implied: Mapping[str, Any] = field(default_factory=dict)
    initial: Mapping[str, Any] = field(default_factory=dict)
    always: Mapping[str, Any] = field(default_factory=dict)
