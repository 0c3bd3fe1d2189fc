"""A definition in YAML to the model: every problem of form is found in one pass, with its place.

Form only: keys, types, names. Whether references, actions and connections hold is `turnout.definition.validation`'s to say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from turnout.definition import grammar, shapes
from turnout.definition.construct import config_variable, connection_slot, hook_of, limits_of, retry_of, step_of
from turnout.definition.grammar import KINDS, STEP, TRIGGERS
from turnout.definition.nodes import Entry, ListNode, MapNode, Node, ScalarNode
from turnout.definition.reading import INVALID, Reading, key_hint
from turnout.definition.shapes import Kind, Shape
from turnout.definition.yaml_source import read_file, read_text
from turnout.errors import DefinitionError
from turnout.model.definition import BranchArm, CodeSettings, Flow, Integration, PythonSettings, Step, Trigger
from turnout.model.duration import parse_duration

__all__ = ["load_yaml", "load_yaml_text"]

_FILE: Final = re.compile(r"[^\s{}()<>;=\"'`]+\.(?:[mc]?[jt]sx?|py)\Z")
"""A `code` of one word that ends like this is a file; everything else must be a module's text."""
_MODULE: Final = re.compile(r"\bexport\b")
_PYTHON: Final = re.compile(r"^(?:async )?def \w+\(|^(?:import|from) \w+", re.MULTILINE)
_CONTROL_ARM: Final = (
    shapes.Key(name="when", type=shapes.Condition(), doc="The arm runs if this holds and none before it did."),
    shapes.Key(name="steps", type=grammar.STEPS, doc="What it does.", required=True),
)

_LISTED_ARM: Final = (
    shapes.Key(name="name", type=shapes.Text(grammar.ID, "a name"), doc="What the arm is called.", required=True),
    shapes.Key(name="steps", type=grammar.STEPS, doc="What it does.", required=True),
)


def load_yaml(path: Path) -> Integration:
    """The integration in a YAML file. `DefinitionError` with every problem of form, in the order of the file."""
    return _load(read_file(path), str(path.resolve().parent))


def load_yaml_text(text: str | bytes, *, name: str = "integration.yaml", directory: str = "") -> Integration:
    """The same of text; `name` is what problems call it."""
    return _load(read_text(text, name=name), directory)


def _load(root: Node, directory: str) -> Integration:
    reading = _DefinitionReading()
    integration = reading.integration(root, directory)
    if reading.problems or integration is None:
        raise DefinitionError(sorted(reading.problems, key=lambda problem: (problem.line, problem.column)))
    return integration


class _DefinitionReading(Reading):
    """What the grammar's tables cannot say: steps of eight kinds, triggers, arms."""

    def integration(self, root: Node, directory: str) -> Integration | None:
        values = self.shape(root, grammar.INTEGRATION)
        if values is INVALID:
            return None
        flows = values.get("flows", {})
        return Integration(
            name=values.get("integration", ""),
            version=values.get("version", "0.0.0"),
            description=values.get("description", ""),
            config={name: config_variable(name, item) for name, item in values.get("config", {}).items()},
            connections={name: connection_slot(name, item) for name, item in values.get("connections", {}).items()},
            code=_code_settings(values.get("code", {})),
            flows={name: self._flow(name, item, root) for name, item in flows.items()},
            directory=directory,
        )

    def special(self, name: str, node: Node) -> Any:
        match name:
            case "steps":
                return self._steps(node)
            case "handler":
                return self._arm_steps(node)
            case "trigger":
                return self._trigger(node)
            case "arms":
                return self._parallel_arms(node)
            case _:
                return self._branch_arms(node)

    def _flow(self, name: str, values: Mapping[str, Any], root: Node) -> Flow:
        assert isinstance(root, MapNode)
        flows = root.entries["flows"].value
        assert isinstance(flows, MapNode)
        return Flow(
            name=name,
            trigger=values.get("trigger", Trigger()),
            steps=values.get("steps", ()),
            timeout_s=values.get("timeout"),
            description=values.get("description", ""),
            limits=limits_of(values.get("limits", {})),
            position=flows.entries[name].position,
        )

    def _trigger(self, node: Node) -> Any:
        if isinstance(node, ScalarNode) and node.value is not None:
            node = MapNode(node.position, {node.text: Entry(node.position, _nothing(node))})
        beside = {key.name for key in grammar.CONNECTOR_TRIGGER.keys}
        names = [name for name in node.entries if name not in beside] if isinstance(node, MapNode) else []
        if not isinstance(node, MapNode) or len(names) != 1:
            kinds = ", ".join(TRIGGERS)
            return self.problem(node.position, f"a trigger is a mapping with one key: {kinds}, or connector.trigger")
        [name] = names
        value = node.entries[name].value
        if name in TRIGGERS:
            for key in beside & set(node.entries):
                self.problem(node.entries[key].position, f"the trigger {name} has no {key!r}")
            options = self._trigger_options(name, value)
            if options is INVALID:
                return INVALID
            if name == "webhook":
                hook, connection = hook_of(options)
                return Trigger(type=name, hook=hook, connection=connection)
            return Trigger(type=name, options=options)
        if not re.fullmatch(r"[^.\s]+\.[^.\s]+", name):
            return self.problem(node.entries[name].position, f"there is no trigger {name!r}", key_hint(name, TRIGGERS))
        inner = self.shape(value, grammar.CONNECTOR_TRIGGER)
        keys = grammar.CONNECTOR_TRIGGER.keys
        outer = self.keys(node, keys, f"the trigger {name}", skip=(name,))
        values = {**outer, **({} if inner is INVALID else inner)}
        hook, _ = hook_of(values)
        options = values.get("with") or {}
        return Trigger(
            type=name,
            connection=values.get("connection", ""),
            options=options,
            hook=hook,
            every_s=values.get("every"),
        )

    def _trigger_options(self, name: str, node: Node) -> Any:
        if name == "schedule" and isinstance(node, ScalarNode) and node.value is not None:
            return {"every": parse_duration(node.text)} if _is_duration(node.text) else {"cron": node.text}
        options = self.read(node, TRIGGERS[name], f"`{name}`")
        if name == "schedule" and isinstance(options, dict) and len(options.keys() & {"cron", "every", "at"}) != 1:
            return self.problem(node.position, "a schedule needs `cron`, `every` or `at`, one of them")
        if name == "schedule" and isinstance(options, dict) and _is_duration(every := str(options.get("every", ""))):
            return {**options, "every": parse_duration(every)}
        return options

    def _steps(self, node: Node) -> Any:
        if not isinstance(node, ListNode):
            return self.problem(node.position, "`steps` is a list: each step begins with `- id: …`")
        if not node.items:
            return self.problem(node.position, "at least one step is needed here")
        steps = [self._step(item) for item in node.items]
        return tuple(step for step in steps if step is not INVALID)

    def _step(self, node: Node) -> Step | Any:
        if not isinstance(node, MapNode):
            return self.problem(node.position, "a step is a mapping with `id` and " + ", ".join(KINDS))
        present = [name for name in node.entries if name in KINDS]
        if len(present) != 1:
            return self._kind_problem(node, present)
        kind = KINDS[present[0]]
        beside = self._keys_beside(kind)
        what = "a step" if kind.name in ("action", "code") else f"a {kind.name} step"
        values = self.keys(node, (*STEP, *beside), what, skip=(kind.name,))
        self.required(node, STEP, values, "a step")
        self._block(kind, node, values)
        if isinstance(retry := values.get("retry"), dict):
            values["retry"] = retry_of(retry)
        return step_of(kind.name, values, node.position)

    def _kind_problem(self, node: MapNode, present: list[str]) -> Any:
        if len(present) > 1:
            both = " and ".join(repr(name) for name in present)
            return self.problem(node.entries[present[1]].position, f"a step does one thing, this one has {both}")
        known = {key.name for key in STEP}
        for name, entry in node.entries.items():
            if name in known or name in ("with", "connection"):
                continue
            return self.problem(entry.position, f"there is no kind of step {name!r}", key_hint(name, KINDS))
        return self.problem(node.position, "a step needs one of " + ", ".join(KINDS))

    @staticmethod
    def _keys_beside(kind: Kind) -> tuple[shapes.Key, ...]:
        if not isinstance(kind.block, Shape):
            return kind.beside
        taken = {key.name for key in (*STEP, *kind.beside)}
        return (*kind.beside, *(key for key in kind.block.keys if key.name not in taken))

    def _block(self, kind: Kind, node: MapNode, values: dict[str, Any]) -> None:
        """Read what stands under the kind's own key into `values`."""
        inner = node.entries[kind.name].value
        match kind.name:
            case "action":
                self._action(inner, values)
            case "code":
                self._code(inner, values)
            case "branch":
                self._branch(inner, node, values)
            case "parallel":
                arms = self._parallel_arms(inner)
                values["arms"] = {} if arms is INVALID else arms
            case _:
                assert isinstance(kind.block, Shape)
                self._control(kind.block, inner, node, values)

    def _control(self, shape: Shape, inner: Node, node: MapNode, values: dict[str, Any]) -> None:
        """A control step: its keys stand in the block, or beside it."""
        optional = Shape(shape.what, tuple(replace(key, required=False) for key in shape.keys), shape.short, empty=True)
        block = self.shape(inner, optional)
        if block is INVALID:
            return
        for name, value in block.items():
            if name in values:
                self.problem(inner.position, f"`{name}` stands in {shape.what} and beside it")
            values[name] = value
        written = set(inner.entries) if isinstance(inner, MapNode) else set()
        for key in shape.keys:
            if key.required and key.name not in values and key.name not in written | set(node.entries):
                self.problem(inner.position, f"{shape.what} needs `{key.name}`", key.doc)

    def _action(self, node: Node, values: dict[str, Any]) -> None:
        text = self.read(node, shapes.Text(), "`action`")
        if text is INVALID:
            return
        if not re.fullmatch(r"[^.\s]+\.[^.\s]+", text):
            self.problem(
                node.position, f"{text[:120]!r} is not an action: write connector.action, such as http.request"
            )
        values["action"] = text

    def _code(self, node: Node, values: dict[str, Any]) -> None:
        if not isinstance(node, ScalarNode):
            block = self.shape(node, grammar.CODE)
            if block is INVALID:
                return
            if ("file" in block) == ("source" in block):
                self.problem(node.position, "`code` needs `file` or `source`, one of them")
            values.update(block)
            source = node.entries.get("source") if isinstance(node, MapNode) else None
            if source is not None and isinstance(source.value, ScalarNode):
                values["source_position"] = source.value.body
        elif _FILE.match(node.text):
            values["file"] = node.text
        elif _MODULE.search(node.text):
            values["source"] = node.text
            values["source_position"] = node.body
        elif _PYTHON.search(node.text):
            hint = "write `code: {language: python, source: …}`, or put it into a file that ends in .py"
            self.problem(node.position, "`code` looks like Python, a text alone is JavaScript", hint)
        else:
            self.problem(
                node.position,
                "`code` is neither a file nor a module",
                "a file is one word that ends in .js, .mjs or .py; "
                "a module's text has `export default (input, context) => …`",
            )

    def _branch(self, inner: Node, node: MapNode, values: dict[str, Any]) -> None:
        arms = self._branch_arms(inner)
        found: list[BranchArm] = [] if arms is INVALID else list(arms)
        otherwise = values.pop("else", None)
        if "else" in node.entries and found and not found[-1].when:
            self.problem(node.entries["else"].position, "this branch has `else` twice")
        elif otherwise is not None:
            found.append(BranchArm(steps=otherwise))
        values["arms"] = found

    def _branch_arms(self, node: Node) -> Any:
        """A list of arms; `{arms, else}` is the same in one mapping, `{when, steps, else}` the common case of two."""
        if isinstance(node, MapNode) and "arms" in node.entries:
            self.keys(node, (), "`branch`", skip=("arms", "else"))
            arms = self._branch_arms(node.entries["arms"].value)
            if arms is INVALID or "else" not in node.entries:
                return arms
            if arms and not arms[-1].when:
                return self.problem(node.entries["else"].position, "this branch has `else` twice")
            return [*arms, *self._else(node)]
        if isinstance(node, MapNode) and "when" in node.entries:
            arm = self._branch_arm(node, skip=("else",))
            arms = [] if arm is INVALID else [arm]
            return [*arms, *self._else(node)] if "else" in node.entries else arms
        if not isinstance(node, ListNode) or not node.items:
            hint = "`branch:` and below it `- when: …` with `steps: …`, and at the end `- else: …`"
            return self.problem(node.position, "`branch` is a list of arms", hint)
        arms = []
        for number, item in enumerate(node.items):
            if isinstance(item, MapNode) and "else" in item.entries and "when" not in item.entries:
                if number < len(node.items) - 1:
                    self.problem(item.position, "`else` must be the last arm")
                arms.extend(self._else(item))
            elif (arm := self._branch_arm(item)) is not INVALID:
                arms.append(arm)
        return arms

    def _else(self, node: MapNode) -> list[BranchArm]:
        """Its steps stand below `else`, or beside it where `else` has no value or is true."""
        inner = node.entries["else"].value
        marked = isinstance(inner, ScalarNode) and inner.value in (None, True) and "steps" in node.entries
        if "when" not in node.entries and "arms" not in node.entries:
            self.keys(node, (), "the `else` arm", skip=("else", "steps") if marked else ("else",))
        steps = self._arm_steps(node.entries["steps"].value if marked and "when" not in node.entries else inner)
        return [] if steps is INVALID else [BranchArm(steps=steps)]

    def _arm_steps(self, node: Node) -> Any:
        """Steps, or a mapping with nothing but `steps`."""
        if isinstance(node, MapNode) and list(node.entries) == ["steps"]:
            node = node.entries["steps"].value
        return self._steps(node)

    def _branch_arm(self, node: Node, *, skip: tuple[str, ...] = ()) -> Any:
        if not isinstance(node, MapNode):
            return self.problem(node.position, "an arm of a branch is a mapping with `when` and `steps`, or `else`")
        values = self.keys(node, _CONTROL_ARM, "an arm of a branch", skip=skip)
        before = len(self.problems)
        self.required(node, _CONTROL_ARM, values, "an arm of a branch")
        if "when" not in node.entries:
            return self.problem(node.position, "an arm of a branch needs `when`", "the last one may be `else: …`")
        if len(self.problems) > before or "when" not in values:
            return INVALID
        return BranchArm(when=values["when"], steps=values.get("steps", ()))

    def _parallel_arms(self, node: Node) -> Any:
        if isinstance(node, MapNode) and list(node.entries) == ["arms"] and isinstance(_of_arms(node), MapNode):
            node = _of_arms(node)
        if isinstance(node, ListNode) and node.items:
            return self._listed_arms(node)
        if not isinstance(node, MapNode) or not node.entries:
            hint = "`parallel:` and below it `left: [steps]`, `right: [steps]`"
            return self.problem(node.position, "`parallel` is a mapping of arms by name, each a list of steps", hint)
        arms = {}
        for name, entry in node.entries.items():
            self.name(entry.position, name, grammar.ID, "the name of an arm")
            if (steps := self._arm_steps(entry.value)) is not INVALID:
                arms[name] = steps
        return arms

    def _listed_arms(self, node: ListNode) -> Any:
        """The arms as a list, each with its name: `- {name: left, steps: […]}`."""
        arms: dict[str, Any] = {}
        for item in node.items:
            if not isinstance(item, MapNode) or not {"name", "steps"} <= set(item.entries):
                hint = "or a mapping: `parallel:` and below it `left: [steps]`, `right: [steps]`"
                self.problem(item.position, "an arm in a list is a mapping with `name` and `steps`", hint)
                continue
            values = self.keys(item, _LISTED_ARM, "an arm of `parallel`")
            name = values.get("name")
            if name in arms:
                self.problem(item.entries["name"].position, f"there are two arms called {name!r}")
            elif name is not INVALID and values["steps"] is not INVALID:
                arms[str(name)] = values["steps"]
        return arms


def _code_settings(values: Mapping[str, Any]) -> CodeSettings:
    python = PythonSettings(requirements=values.get("python", {}).get("requirements", ""))
    return CodeSettings(
        dependencies=values.get("dependencies", ""), python=python, hosts=tuple(values.get("hosts", ()))
    )


def _of_arms(node: MapNode) -> Node:
    return node.entries["arms"].value


def _nothing(node: ScalarNode) -> ScalarNode:
    return ScalarNode(None, "", node.position, "", node.position)


def _is_duration(text: str) -> bool:
    try:
        parse_duration(text)
    except ValueError:
        return False
    return True
