"""What runs: small forms of the standard workloads, and what each of their executions has to have done in the end.

Each is a definition whose effects carry the execution's id and `part`, so that the other side's log says by itself what was
done for whom. `{url}` of a definition's config is the other side.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.counterpart import FILES_TOKEN

__all__ = ["BIG_BYTES", "ITEMS", "WORKLOADS", "Workload", "write_projects"]

ROOT = Path(__file__).parents[2]
ITEMS = 20
BIG_BYTES = 6_000_000
"""Larger than what a worker whose disk is full may write."""

_HEAD = """
integration: {name}
version: 1.0.0
config: {{url: {{type: string}}}}
flows:
  main:
    trigger: {{webhook: {{}}}}
"""

_POST = """
      - id: {id}
        action: http.request
        with:
          method: {method}
          url: "${{{{ config.url }}}}/effects/{name}"
          json: {{execution: "${{{{ execution.id }}}}", number: "${{{{ trigger.body.number }}}}", part: {part}}}
"""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """`parts` are the effects that an execution has, in their order; `keyed` whether each carries an idempotency key, so
    that the other side recognises repetitions; `dies` that each of its executions kills its worker."""

    name: str
    text: str
    parts: tuple[str, ...]
    keyed: bool = True
    ordered: bool = False
    dies: bool = False
    connections: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def body(self, number: int, order: str) -> dict[str, Any]:
        """What the webhook is sent."""
        return {"number": number, "order": order, "items": [f"item-{index:02d}" for index in range(ITEMS)]}


def _post(name: str, id: str, *, part: str = "", method: str = "POST", keyed: bool = True) -> str:
    text = _POST.format(name=name, id=id, part=part or id, method=method)
    return text + "          idempotency_header: Idempotency-Key\n" * keyed


def _indented(text: str, by: int) -> str:
    return "".join(f"{' ' * by}{line}\n" if line else "\n" for line in text.splitlines())


def _loop() -> str:
    """GET, a line of customer code, and an effect for each item."""
    return (
        _HEAD.format(name="loop")
        + """
    steps:
      - id: each
        loop:
          over: "${{ trigger.body.items }}"
          as: name
          steps:
            - {id: get, action: http.request, with: {url: "${{ config.url }}/prices/${{ name }}"}}
            - id: double
              code: |
                export default ({ price }) => price * 2
              with: {price: "${{ steps.get.json.price }}"}
"""
        + _indented(_post("loop", "put", part='"${{ name }}"'), 6)
    )


_ORDER = """json:
            execution: "${{ execution.id }}"
            number: "${{ trigger.body.number }}"
            part: post
            batch: "${{ steps.batch.value }}"
            orders: "${{ length(steps.large) }}"
          idempotency_header: Idempotency-Key"""


def _orders() -> str:
    """The 6-step integration of the examples; its POST says for whom it is, and has a key."""
    text = (ROOT / "examples" / "orders" / "integration.yaml").read_text(encoding="utf-8")
    for old, new in (
        ("integration: orders-to-erp", "integration: orders"),
        ("  sync-orders:", "  main:"),
        ('json: {batch: "${{ steps.batch.value }}", orders: "${{ steps.large }}"}', _ORDER),
        ('/orders"', '/effects/orders"'),
    ):
        assert old in text, f"examples/orders has changed: {old!r} is not there"
        text = text.replace(old, new)
    return text


_STEPS = "    steps:"
_WAIT = """
      - id: answer
        wait: {callback: true}
"""
_DIE = """
      - id: look
        action: http.request
        with: {url: "${{ config.url }}/prices/poison"}
      - {id: die, action: chaos.die}
"""
_SLOW = """
      - id: think
        code: |
          export default () => new Promise((resolve) => setTimeout(resolve, 300, "thought"))
"""
_BIG = f"""
      - id: big
        code: |
          export default () => "x".repeat({BIG_BYTES})
"""

WORKLOADS: Mapping[str, Workload] = {
    workload.name: workload
    for workload in (
        Workload(
            name="orders",
            text=_orders(),
            parts=("post",),
            connections={
                "files": {"access_token": FILES_TOKEN, "base_url": "{url}"},
                "erp": {"token": "erp-secret"},
            },
        ),
        Workload(name="loop", text=_loop(), parts=tuple(f"item-{index:02d}" for index in range(ITEMS))),
        Workload(
            name="fifo",
            text=_HEAD.format(name="fifo")
            + '    limits: {order: "${{ trigger.body.order }}"}\n'
            + _STEPS
            + _post("fifo", "begin")
            + _post("fifo", "end"),
            parts=("begin", "end"),
            ordered=True,
        ),
        Workload(
            name="upsert",
            text=_HEAD.format(name="upsert") + _STEPS + _post("upsert", "put", method="PUT", keyed=False),
            parts=("put",),
        ),
        Workload(
            name="plain",
            text=_HEAD.format(name="plain") + _STEPS + _post("plain", "post", keyed=False),
            parts=("post",),
            keyed=False,
        ),
        Workload(
            name="callback",
            text=_HEAD.format(name="callback")
            + _STEPS
            + _post("callback", "ask").replace("part: ask", "part: ask, link: \"${{ callback_url('answer') }}\"")
            + _WAIT
            + _post("callback", "thank"),
            parts=("ask", "thank"),
        ),
        Workload(
            name="slow",
            text=_HEAD.format(name="slow") + _STEPS + _SLOW + _post("slow", "post"),
            parts=("post",),
        ),
        Workload(
            name="big",
            text=_HEAD.format(name="big") + _STEPS + _BIG + _post("big", "post"),
            parts=("post",),
        ),
        Workload(
            name="poison",
            text=_HEAD.format(name="poison") + _STEPS + _post("poison", "before") + _DIE,
            parts=("before",),
            dies=True,
        ),
    )
}


def write_projects(directory: Path) -> None:
    """The definitions as projects, each in a directory of its name."""
    for workload in WORKLOADS.values():
        project = directory / workload.name
        if workload.name == "orders":
            ignored = shutil.ignore_patterns("*.py", "*.md", "*.toml", ".turnout", "node_modules", "__pycache__")
            shutil.copytree(ROOT / "examples" / "orders", project, ignore=ignored)
        project.mkdir(parents=True, exist_ok=True)
        (project / "integration.yaml").write_text(workload.text, encoding="utf-8")
