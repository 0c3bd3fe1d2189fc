"""What an attack is, and how what came of it is told in a line: data that the tests run and the documentation lists."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from turnout.errors import StepError
from turnout.interfaces.sandbox import Outcome, Success
from turnout.model.execution import LogLine
from turnout.sandbox.bundle_files import OverChannel
from turnout.sandbox.code_view import CodeSource
from turnout.sandbox.conversation import Conversation
from turnout.sandbox.launch import Launch
from turnout.sandbox.process import NodeProcess
from turnout.values import Value

__all__ = ["GROUPS", "KIT", "MODULE", "THEN", "Attack", "Control", "Group", "evidence"]

Group = Literal[
    "globals and prototypes",
    "process",
    "memory",
    "processes and threads",
    "files and descriptors",
    "signals",
    "network and metadata",
    "result channel",
    "log channel",
    "broker",
    "pool",
    "npm layer",
    "timing",
]
GROUPS: Final[tuple[Group, ...]] = Group.__args__  # type: ignore[attr-defined]
MODULE: Final = "attack.mjs"
THEN: Final = "then.mjs"
KIT: Final = "kit.mjs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """The same code without what stops it. `off` are layers of the jail. `got` is a pattern of the whole evidence.
    `open_broker`: all hosts are listed, all addresses open, all credentials everybody's, all limits high.

    `same_process`: a second execution runs in the process of the first, whosever it is. `same_user`: the process that stands
    for the victim has the user of the attacker's. `timeout_s` is the job's; `wait_s` is how long an outcome is waited for,
    after which the evidence is `still running`. `launch` starts the process instead of the jail's launcher (it is given a
    directory to work in), `conversation` and `source` serve it, and `adjust` loosens something in it once it is ready.
    """

    got: str
    off: Sequence[str] = ()
    memory_mb: int = 64
    result_bytes: int = 1024 * 1024
    log_bytes: int = 10_000
    files: int = 100
    files_bytes: int = 4_000_000
    timeout_s: float = 60.0
    wait_s: float = 10.0
    open_broker: bool = False
    same_process: bool = False
    same_user: bool = False
    launch: Callable[[Path], Launch] | None = None
    conversation: type[Conversation] = Conversation
    source: Callable[[], CodeSource] = OverChannel
    adjust: Callable[[NodeProcess], None] = field(default=lambda process: None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """One attempt. `code` is the body of an async function of `input`, the world around it (`Arena.world`): what it
    returns it got, what it throws refused it. With `module` the whole module is given instead.

    `held` is a pattern of the whole evidence where everything is on: see `evidence`. `stopped_by` names what stops it.
    `then` is the body of a second execution's function, of another tenant unless `same_tenant`; its evidence counts. With
    `reuse` the sandbox renews its processes for their tenants; with `warm` a process has been made ready for the attacker's next
    execution when the second one begins. `files` of the bundle are text, or copies of files; `links` in
    it are symbolic, with `$ARENA` for the arena's directory.
    """

    name: str
    group: Group
    stopped_by: str
    held: str
    control: Control
    code: str = ""
    module: str = ""
    then: str = ""
    same_tenant: bool = False
    reuse: bool = False
    warm: bool = False
    files: Mapping[str, str | Path] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = 10.0
    memory_mb: int = 64

    @property
    def next_tenant(self) -> str:
        """Whose the second execution is."""
        return "mallory" if self.same_tenant else "other"

    @property
    def modules(self) -> dict[str, str]:
        """By name, the sources of the executions."""
        first = {MODULE: self.module or module_of(self.code)}
        return {**first, THEN: module_of(self.then)} if self.then else first


def module_of(body: str) -> str:
    """A module that tells what became of the attempt."""
    return f"""import * as kit from "./{KIT}";
const {{ fs, require, util }} = kit;
const attempt = async (input, context) => {{
{body}
}};
export default async (input, context) => {{
  try {{
    return {{ got: (await attempt(input, context)) ?? null }};
  }} catch (error) {{
    return {{ refused: `${{error?.code ?? error?.message ?? error}}` }};
  }}
}};
"""


def evidence(outcome: Outcome, lines: Sequence[LogLine]) -> str:
    """`got …`, `refused …`, `returned …` (of a module that does not tell) or `failed <kind>: …`, then each line of the log
    on one of its own, as `<level>: …`, with `⏎` for the ends of lines in it."""
    told = [f"{line.level}: {line.message}".replace("\n", "⏎") for line in lines]
    return "\n".join([_of(outcome), *told])


def _of(outcome: Outcome) -> str:
    if not isinstance(outcome, Success):
        return f"failed {outcome.kind}: {outcome.message}"
    try:
        value = Value.from_encoded(outcome.output).load()
    except StepError as error:
        return f"failed {error.kind}: {error.message}"
    if isinstance(value, dict) and value.keys() == {"got"}:
        got = value["got"]
        return f"got {got if isinstance(got, str) else json.dumps(got, ensure_ascii=False)}"
    if isinstance(value, dict) and value.keys() == {"refused"}:
        return f"refused {value['refused']}"
    return f"returned {json.dumps(value, ensure_ascii=False)[:2000]}"
