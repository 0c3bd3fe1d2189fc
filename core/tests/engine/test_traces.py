"""Spans of executions: whose child each is, that none comes twice, and that a step's requests name its own."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from turnout.codec import encode_event
from turnout.connectors import ActionContext, AfterCrash, Connector, Effect, Inputs, StepError
from turnout.engine.backends import Backends
from turnout.engine.tracing import Tracing
from turnout.interfaces.journal import Row
from turnout.model.events import CancelRequested, Resumed
from turnout.model.span import Span, SpanKind
from turnout.model.trace import execution_context

from core.tests.engine.laboratory import Died, Laboratory


class Told(Inputs):
    """What the test's action takes: whether to fail, and how."""

    fail: str = ""


class Traced:
    """A laboratory whose spans are kept, with an action that keeps the headers it was given: by step, in order."""

    def __init__(self, lab: Laboratory, *, sample: float = 1.0) -> None:
        self.lab = lab
        self.spans: list[Span] = []
        self.sent: list[tuple[str, str]] = []
        self.failures: dict[str, list[str]] = {}
        lab.connectors["outside"] = self._connector()
        lab.backends = replace(lab.backends, tracing=Tracing(export=self.spans.append, sample=sample))

    def _connector(self) -> Connector:
        connector = Connector("outside")
        connector.connection_required = False

        @connector.action(effect=Effect.EFFECT, after_crash=AfterCrash.UPSERT)
        async def ask(context: ActionContext, inputs: Told) -> str:
            self.sent.append((context.step, context.trace_headers.get("traceparent", "")))
            failures = self.failures.get(context.step, [])
            match failures.pop(0) if failures else "":
                case "die":
                    raise Died
                case "fail":
                    raise StepError("it failed", kind="odd")
            return "answer"

        return connector

    async def run(self, steps: str) -> str:
        id = await self.lab.accept(FLOW + steps)
        await self.lab.again(id)
        return id

    def one(self, path: str) -> Span:
        [span] = self.all(path)
        return span

    def all(self, path: str) -> list[Span]:
        return [span for span in self.spans if span.attributes.get("turnout.step.path", "") == path]

    def check(self) -> None:
        """What holds of every trace that has ended: ids are unique, parents are there, requests name spans of their own step."""
        ids = Counter(span.context.span_id for span in self.spans)
        assert ids.most_common(1)[0][1] == 1
        by_id = {span.context.span_id: span for span in self.spans}
        assert all(span.parent is None or span.parent.span_id in by_id for span in self.spans)
        assert len({span.context.trace_id for span in self.spans}) == 1
        for step, sent in self.sent:
            assert by_id[sent[36:52]].attributes["turnout.step.path"] == step


FLOW = "integration: x\nversion: 1.0.0\nflows:\n  main:\n    trigger: {webhook: {}}\n    steps:\n"


@pytest.fixture
def traced(lab: Laboratory) -> Traced:
    return Traced(lab)


async def test_arms_and_branches_hang_below_their_step_and_skipped_steps_have_no_span(traced: Traced) -> None:
    await traced.run("""
      - id: both
        parallel:
          left: [{id: a, action: outside.ask}]
          right: [{id: b, branch: [{when: "${{ `true` }}", steps: [{id: c, action: outside.ask}]}]}]
      - {id: never, action: outside.ask, when: "${{ `false` }}"}
""")

    traced.check()
    root, both = traced.one(""), traced.one("both")
    assert both.parent == root.context
    assert traced.one("both.left.a").parent == both.context
    assert traced.one("both.right.b").parent == both.context
    assert traced.one("both.right.b.c").parent == traced.one("both.right.b").context
    assert traced.all("never") == []
    assert (traced.one("both.left.a").kind, both.kind, root.kind) == (
        SpanKind.CLIENT,
        SpanKind.INTERNAL,
        SpanKind.CONSUMER,
    )


async def test_what_a_retried_loop_does_again_has_spans_of_its_own(traced: Traced) -> None:
    traced.failures["outer[0].inner[1].ask"] = ["fail", "fail", "", "fail"]
    await traced.run("""
      - id: outer
        loop:
          over: [1, 2]
          steps:
            - id: inner
              loop: {over: [1, 2], steps: [{id: ask, action: outside.ask, retry: {attempts: 2, delay: 0s}}]}
              retry: {attempts: 2, delay: 0s}
""")

    traced.check()
    assert [span.attributes["turnout.step.attempt"] for span in traced.all("outer[0].inner")] == [1, 2]
    assert [span.failure for span in traced.all("outer[0].inner")] == ["it failed", None]
    first, second = traced.all("outer[0].inner[0].ask")
    items = traced.all("outer[0].inner[0]")
    assert [first.parent, second.parent] == [item.context for item in items]


async def test_steps_that_deal_with_a_failure_hang_below_the_attempt_that_failed_last(traced: Traced) -> None:
    traced.failures["ask"] = ["fail", "fail"]
    await traced.run("""
      - id: ask
        action: outside.ask
        retry: {attempts: 2, delay: 0s}
        on_error: [{id: tell, action: outside.ask}]
""")

    traced.check()
    assert traced.one("ask.tell").parent == traced.all("ask")[1].context
    assert traced.one("").failure is None


@pytest.mark.parametrize("dies_at", ["a", "each[1].b", "each[1].c", "ask.tell", "d"])
async def test_a_worker_that_dies_leaves_a_whole_trace(traced: Traced, dies_at: str) -> None:
    traced.failures = {"ask": ["fail", "fail", "fail"], "each[1].b": ["fail"]}
    traced.failures[dies_at] = [*traced.failures.get(dies_at, []), "die"]
    id = await traced.lab.accept(
        FLOW
        + """
      - {id: a, action: outside.ask}
      - id: each
        loop: {over: [1, 2, 3], steps: [{id: b, action: outside.ask, retry: 3}, {id: c, action: outside.ask}]}
      - {id: ask, action: outside.ask, on_error: [{id: tell, action: outside.ask}]}
      - {id: d, action: outside.ask}
"""
    )
    with pytest.raises(Died):
        await traced.lab.again(id)

    await traced.lab.again(id)

    traced.check()
    assert {span.attributes.get("turnout.step.path") for span in traced.spans} == {
        None, "a", "each", "ask", "ask.tell", "d", *(f"each[{n}]{step}" for n in range(3) for step in ("", ".b", ".c"))
    }  # fmt: skip


async def test_a_step_begins_no_later_than_what_is_inside_it_when_another_worker_ends_it(traced: Traced) -> None:
    lab = traced.lab
    traced.failures["each[1].b"] = ["die"]
    id = await lab.accept(FLOW + "\n      - {id: each, loop: {over: [1, 2], steps: [{id: b, action: outside.ask}]}}\n")
    begun = lab.clock.at
    with pytest.raises(Died):
        await lab.again(id)
    lab.clock.at += 60

    await lab.again(id)

    traced.check()
    assert traced.one("each").started_at == traced.one("each[0].b").started_at == begun
    assert traced.one("each").ended_at == begun + 60


async def test_the_first_items_of_a_loop_have_spans_and_the_others_are_counted(traced: Traced) -> None:
    await traced.run(
        """
      - id: each
        loop:
          over: "${{ trigger.body }}"
          steps: [{id: ask, action: outside.ask}]
""".replace('"${{ trigger.body }}"', str(list(range(130))))
    )

    loop = traced.one("each")
    assert len(traced.spans) == 2 + 2 * 100
    assert (loop.attributes["turnout.loop.items"], loop.attributes["turnout.loop.items_without_spans"]) == (130, 30)
    by_id = {span.context.span_id: span.attributes.get("turnout.step.path") for span in traced.spans}
    sent = [by_id[header[36:52]] for _, header in traced.sent]
    assert sent == [f"each[{n}].ask" for n in range(100)] + ["each"] * 30


async def test_what_an_item_without_a_span_calls_has_no_spans_either(traced: Traced) -> None:
    await traced.run(f"""
      - id: each
        loop: {{over: {list(range(102))}, steps: [{{id: call, call: other}}]}}
  other:
    steps: [{{id: ask, action: outside.ask}}]
""")

    called = [span for span in traced.spans if span.attributes["turnout.flow"] == "other"]
    assert len(called) == 2 * 100
    assert [header[-2:] for _, header in traced.sent] == ["01"] * 100 + ["00"] * 2


async def test_a_sub_execution_is_a_part_of_the_step_that_calls_it(traced: Traced) -> None:
    await traced.run("""
      - {id: sub, call: other}
  other:
    steps: [{id: ask, action: outside.ask}]
""")

    roots = {span.attributes["turnout.flow"]: span for span in traced.all("")}
    main, other = roots["main"], roots["other"]
    assert other.parent == traced.one("sub").context
    assert (other.kind, other.remote) == (SpanKind.INTERNAL, False)
    assert other.attributes["turnout.parent"] == main.attributes["turnout.execution"]
    assert traced.one("sub").attributes["turnout.called_flow"] == "other"
    traced.check()


async def test_a_share_of_nothing_exports_nothing_and_says_so(lab: Laboratory) -> None:
    traced = Traced(lab, sample=0.0)

    id = await traced.run("\n      - {id: ask, action: outside.ask}\n")

    [info] = [event.info for _, event in lab.events if hasattr(event, "info")]
    assert traced.spans == []
    assert traced.sent == [("ask", traced.sent[0][1])]
    assert traced.sent[0][1].startswith(f"00-{execution_context(info).trace_id}-")
    assert traced.sent[0][1].endswith("-00")
    assert id == info.id


async def test_without_tracing_no_headers_are_made(lab: Laboratory) -> None:
    traced = Traced(lab)
    lab.backends = replace(lab.backends, tracing=None)

    await traced.run("\n      - {id: ask, action: outside.ask}\n")

    assert traced.sent == [("ask", "")]


async def test_an_exporter_that_fails_harms_nothing(lab: Laboratory, caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: Span) -> None:
        raise RuntimeError("the exporter is broken")

    lab.backends = replace(lab.backends, tracing=Tracing(export=broken))

    outcome = await lab.run(FLOW + "\n      - {id: a, action: world.put, with: {value: 1}}\n")

    assert outcome.status == "succeeded"
    assert "a span is missing from its trace" in caplog.text


async def test_a_parked_execution_ends_its_trace_once_a_person_has_decided(traced: Traced) -> None:
    lab = traced.lab
    lab.world.failures["note"] = [Died()]
    id = await lab.accept(FLOW + "\n      - {id: pay, action: world.note, with: {value: 1}}\n")
    with pytest.raises(Died):
        await lab.again(id)
    await lab.again(id)
    parked = list(traced.spans)
    await lab.journal.signal(id, Row(*encode_event(Resumed(at=lab.clock.at, decide="pay"))))

    await lab.again(id)

    assert parked == []
    assert [span.name for span in traced.spans] == ["pay", "x main"]
    traced.check()


async def test_an_execution_that_cannot_begin_has_a_span_with_its_error(traced: Traced) -> None:
    id = await traced.lab.accept(FLOW + "\n      - {id: ask, action: outside.ask}\n")

    def without(backends: Backends) -> Backends:
        return replace(backends, connectors={})

    await traced.lab.again(id, change=without)

    [span] = traced.spans
    assert (span.attributes["error.type"], span.attributes["turnout.status"]) == ("settings", "failed")


async def test_what_is_cancelled_while_it_waits_ends_with_the_steps_around(traced: Traced) -> None:
    lab = traced.lab
    id = await lab.accept(
        FLOW
        + """
      - id: each
        loop: {over: [1, 2], steps: [{id: ask, action: outside.ask}, {id: call, call: other}]}
  other:
    steps:
      - {id: inner, loop: {over: [1], steps: [{id: ask, action: outside.ask}, {id: wait, wait: {callback: true}}]}}
"""
    )
    await lab.again(id)
    await lab.journal.signal(id, Row(*encode_event(CancelRequested(at=lab.clock.at))))

    await lab.again(id)

    traced.check()
    ended = Counter(str(span.attributes.get("turnout.step.path")) for span in traced.spans)
    assert ended == Counter(
        ["None", "None", "each", "each[0]", "each[0].ask", "each[0].call", "inner", "inner[0]", "inner[0].ask"]
    )
    assert {span.attributes["turnout.status"] for span in traced.all("inner[0]")} == {"cancelled"}


async def test_messages_are_bounded_and_outputs_and_inputs_are_left_out(lab: Laboratory) -> None:
    traced = Traced(lab)
    lab.world.failures["put"] = [StepError("long " * 1000, kind="odd", stack="at " * 1000, details={"a": "planted"})]

    await lab.run(FLOW + "\n      - {id: a, action: world.put, with: {value: planted}}\n", {"body": "planted"})

    texts: list[Any] = [value for span in traced.spans for value in span.attributes.values()]
    texts += [value for span in traced.spans for event in span.events for value in event.attributes.values()]
    assert all("planted" not in str(text) and len(str(text)) <= 1000 for text in texts)
    assert max(len(str(text)) for text in texts) == 1000
