"""Traces of `turnout dev` as a collector gets them: one an execution, a span a step, connected with those outside."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dev.commands import Dev, run, until
from tests.traces.collector import Collector, Seen, Site, collecting, serving_site

TRACE = "0af7651916cd43dd8448eb211c80319c"
SENDER = "b7ad6b7169203331"
SENT = f"00-{TRACE}-{SENDER}-01"
TOKEN = "planted-token-of-the-erp"  # looked for in all that is exported
COLLECTOR_TOKEN = "planted-token-of-the-collector"
PAYLOAD = "planted-payload"
CLIENT, CONSUMER = 3, 5

FLOWS = """
integration: shop
version: 1.2.0
connections:
  erp: {connector: http, type: bearer}
flows:
  orders:
    trigger: {webhook: {}}
    steps:
      - id: parse
        code: |
          export default ({ orders }, context) => orders.map((order) => ({ order, seen: context.traceparent }))
        with: {orders: "${{ trigger.body.orders }}"}
      - id: each
        loop:
          over: "${{ steps.parse }}"
          as: order
          steps:
            - {id: post, action: http.request, connection: erp, with: {method: PUT, url: "URL/post", json: "${{ order }}"}}
      - {id: bill, call: bill, with: {total: 3}}
      - {id: done, stop: {output: "${{ steps.parse[].seen }}"}}
  bill:
    trigger: {call: {}}
    steps:
      - {id: send, action: http.request, connection: erp, with: {method: PUT, url: "URL/bill", json: {a: 1}}}
  ask:
    trigger: {webhook: {}}
    steps:
      - {id: before, action: http.request, with: {url: "URL/before"}}
      - id: tell
        code: |
          export default ({ url }) => console.log(url)
        with: {url: "${{ callback_url('answer') }}"}
      - {id: answer, wait: {callback: true, timeout: 1h}}
      - {id: after, action: http.request, with: {url: "URL/after"}}
  fail:
    trigger: {webhook: {}}
    steps:
      - id: post
        action: http.request
        connection: erp
        with: {url: "URL/missing?key=${{ trigger.body.secret }}"}
        retry: {attempts: 2, delay: 0s, errors: [http_404]}
"""


@pytest.fixture
def site() -> Iterator[Site]:
    with serving_site() as site:
        yield site


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture
def project(tmp_path: Path, site: Site) -> Path:
    (tmp_path / "turnout.toml").write_text("")
    (tmp_path / "integration.yaml").write_text(FLOWS.replace("URL", site.url))
    (tmp_path / "connections.yaml").write_text('erp: {token: "env:ERP_TOKEN"}\n')
    return tmp_path


def dev(project: Path, collector: Collector | None = None, settings: str = "", **env: str) -> Dev:
    if collector is not None:
        (project / "turnout.toml").write_text(f'[telemetry]\notlp = "{collector.url}"\n{settings}')
    return Dev(project, ("--connections", "connections.yaml"), {"ERP_TOKEN": TOKEN, **env})


def start(served: Dev, flow: str, sent: str = SENT, **more: str) -> str:
    body = {"orders": [{"id": PAYLOAD}, {"id": 2}], "secret": PAYLOAD}
    headers = {"traceparent": sent, **more} if sent else more
    answer = served.post(flow, wait="", instance="shop", json=body, headers=headers)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["execution"])


def one(spans: list[Seen], path: str) -> Seen:
    [found] = [span for span in spans if span.path == path]
    return found


def test_a_webhooks_trace_goes_through_the_steps_into_the_requests(
    project: Path, collector: Collector, site: Site
) -> None:
    with dev(project, collector) as served:
        execution = start(served, "orders", tracestate="vendor=1")
        record = served.record(execution, "succeeded")
        spans = collector.ended(execution)
        [called] = {str(span.attributes["turnout.execution"]) for span in collector.spans} - {execution}
        below = collector.of(called)

    root = one(spans, "")
    assert {span.trace for span in collector.spans} == {TRACE} == {record["trace_id"]}
    assert (root.parent, root.name, root.kind) == (SENDER, "shop orders", CONSUMER)
    assert {span.path: span.parent for span in spans} == {
        "": SENDER,
        "parse": root.id,
        "each": root.id,
        "each[0]": one(spans, "each").id,
        "each[0].post": one(spans, "each[0]").id,
        "each[1]": one(spans, "each").id,
        "each[1].post": one(spans, "each[1]").id,
        "bill": root.id,
        "done": root.id,
    }
    assert one(below, "").parent == one(spans, "bill").id
    assert one(below, "send").parent == one(below, "").id
    senders = [one(spans, "each[0].post"), one(spans, "each[1].post"), one(below, "send")]
    assert site.parents == [f"00-{TRACE}-{span.id}-01" for span in senders]
    assert {span.kind for span in senders} == {CLIENT}
    assert {headers["tracestate"] for _, headers in site.requests} == {"vendor=1"}
    assert record["output"] == [f"00-{TRACE}-{one(spans, 'parse').id}-01"] * 2
    assert all(root.start <= span.start <= span.end <= root.end for span in spans)


def test_after_sigkill_the_trace_goes_on_and_no_span_comes_twice(
    project: Path, collector: Collector, site: Site
) -> None:
    with dev(project, collector) as served:
        site.hold.clear()
        execution = start(served, "orders", sent="")
        until(lambda: site.requests)
        until(lambda: collector.of(execution))
        served.kill()
    before = [span.path for span in collector.of(execution)]
    site.hold.set()

    with dev(project, collector) as served:
        assert served.record(execution)["status"] == "succeeded"
        spans = collector.ended(execution)

    ids = [span.id for span in collector.spans]
    assert before == ["parse"]
    assert len(ids) == len(set(ids))
    assert len({span.trace for span in collector.spans}) == 1
    assert {span.parent for span in collector.spans} <= {"", *ids}
    assert sorted(span.path for span in spans) == sorted(
        ["", "parse", "each", "each[0]", "each[0].post", "each[1]", "each[1].post", "bill", "done"]
    )
    first, again = site.parents[:2]
    assert first == again == f"00-{spans[0].trace}-{one(spans, 'each[0].post').id}-01"


def test_a_wait_over_two_processes_is_one_span_linked_with_its_callback(
    project: Path, collector: Collector, site: Site
) -> None:
    other = f"00-{'c' * 32}-{'d' * 16}-01"
    with dev(project, collector) as served:
        execution = start(served, "ask")
        served.record(execution, "waiting")
        until(lambda: [span for span in collector.of(execution) if span.path == "tell"])
        lines = served.client.get(f"/api/v1/executions/{execution}/logs").json()["items"]
        path = re.sub("^http://[^/]+", "", lines[0]["message"])
        served.kill()

    with dev(project, collector) as served:
        served.client.post(path, json={}, headers={"traceparent": other}).raise_for_status()
        served.record(execution)
        spans = collector.ended(execution)

    answer, root = one(spans, "answer"), one(spans, "")
    assert sorted(span.path for span in spans) == ["", "after", "answer", "before", "tell"]
    assert answer.links == (("c" * 32, "d" * 16),)
    assert answer.attributes["turnout.wait.callback"] is True
    assert {span.parent for span in spans} == {SENDER, root.id}
    assert answer.start < one(spans, "after").start
    assert site.parents == [f"00-{TRACE}-{one(spans, path).id}-01" for path in ("before", "after")]


def test_failures_are_told_with_their_attempts_and_nothing_that_is_secret(
    project: Path, collector: Collector, site: Site
) -> None:
    settings = 'service_name = "shop-runner"\nheaders = {x-token = "env:COLLECTOR_TOKEN"}\n'
    with dev(project, collector, settings, COLLECTOR_TOKEN=COLLECTOR_TOKEN) as served:
        failed = start(served, "fail")
        served.record(failed, "failed")
        spans = collector.ended(failed)
        succeeded = start(served, "orders")
        served.record(succeeded)
        collector.ended(succeeded)
        log = served.log()

    assert "Traceback" not in log
    attempts = [span for span in spans if span.path == "post"]
    assert [span.attributes["turnout.step.attempt"] for span in attempts] == [1, 2]
    assert all(span.failed and span.attributes["error.type"] == "http_404" for span in spans)
    assert site.parents[:2] == [f"00-{TRACE}-{span.id}-01" for span in attempts]
    assert [name for name, _ in one(spans, "").events] == ["began", "exception"]
    assert {resource["service.name"] for resource in collector.resources} == {"shop-runner"}
    assert {headers["x-token"] for _, headers, _ in collector.requests} == {COLLECTOR_TOKEN}
    exported = b"".join(body for _, _, body in collector.requests)
    for planted in (TOKEN, COLLECTOR_TOKEN, PAYLOAD):
        assert planted.encode() not in exported
        assert planted not in log
    assert b"http_404" in exported


def test_what_the_sender_does_not_sample_is_not_exported_and_says_so_to_the_next(
    project: Path, collector: Collector, site: Site
) -> None:
    with dev(project, collector) as served:
        unsampled = start(served, "orders", f"00-{TRACE}-{SENDER}-00")
        served.record(unsampled)
        parents = list(site.parents)
        sampled = start(served, "orders", "")
        collector.ended(sampled)

    assert collector.of(unsampled) == []
    assert len(set(parents)) == 3
    assert all(parent.startswith(f"00-{TRACE}-") and parent.endswith("-00") for parent in parents)


def test_without_a_collector_a_trace_is_handed_on_as_it_came_and_none_is_begun(project: Path, site: Site) -> None:
    with dev(project) as served:
        served.record(start(served, "orders"))
        with_trace = list(site.parents)
        site.requests.clear()
        served.record(start(served, "orders", ""))
        without = list(site.parents)
        site.requests.clear()
        served.record(start(served, "orders", "00-not-a-trace-01"))

    assert with_trace == [SENT] * 3
    assert without == [""] * 3
    assert site.parents == [""] * 3


def test_the_share_to_sample_is_of_the_traces_that_begin_here(project: Path, collector: Collector, site: Site) -> None:
    with dev(project, collector, "sample = 0") as served:
        own = start(served, "orders", "")
        served.record(own)
        parents = list(site.parents)
        others = start(served, "orders")
        collector.ended(others)

    assert collector.of(own) == []
    assert all(re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-00", parent) for parent in parents)


def test_a_replay_is_a_trace_of_its_own_that_names_the_one_it_repeats(project: Path, collector: Collector) -> None:
    with dev(project, collector) as served:
        first = start(served, "orders")
        served.record(first)
        root = one(collector.ended(first), "")
        replayed = run("executions", "replay", first, "--detach", "--json", cwd=project, env={"ERP_TOKEN": TOKEN})
        assert replayed.returncode == 0, replayed.stderr
        second = until(
            lambda: (
                {
                    str(span.attributes["turnout.execution"])
                    for span in collector.spans
                    if "-" not in str(span.attributes["turnout.execution"])
                }
                - {first}
            )
        ).pop()
        again = one(collector.ended(second), "")

    assert again.trace != TRACE
    assert again.parent == ""
    assert again.links == ((TRACE, root.id),)
    assert again.attributes["turnout.replay_of"] == first


def test_a_resumed_execution_adds_a_span_below_its_first(project: Path, collector: Collector) -> None:
    with dev(project, collector) as served:
        execution = start(served, "fail")
        served.record(execution, "failed")
        collector.ended(execution)
        resumed = run("executions", "resume", execution, "--detach", cwd=project, env={"ERP_TOKEN": TOKEN})
        assert resumed.returncode == 0, resumed.stderr
        spans = collector.ended(execution, runs=2)

    first, second = sorted((span for span in spans if not span.path), key=lambda span: span.start)
    assert second.parent == first.id
    assert len({span.id for span in spans}) == len(spans) == 6
    assert sorted(span.parent for span in spans if span.path) == sorted([first.id] * 2 + [second.id] * 2)


def test_a_collector_that_fails_harms_nothing_and_is_told_once(project: Path, collector: Collector) -> None:
    collector.status = 400
    with dev(project, collector) as served:
        for _ in range(3):
            assert served.record(start(served, "orders"))["status"] == "succeeded"
            until(lambda: "do not reach" in served.log())
        served.process.terminate()
        served.process.wait(timeout=30)
        log = served.log()

    assert log.count("do not reach") == 1
    assert "spans did not reach http://127.0.0.1" in log
    assert served.process.returncode == 0


def test_the_standard_variables_are_enough(project: Path, collector: Collector) -> None:
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_EXPORTER_OTLP_HEADERS": "x-team=orders",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        "OTEL_SERVICE_NAME": "by-variable",
    }
    with dev(project, None, "", **env) as served:
        execution = start(served, "orders")
        collector.ended(execution)

    path, headers, _ = collector.requests[0]
    assert (path, headers["x-team"], headers["content-encoding"]) == ("/v1/traces", "orders", "gzip")
    assert collector.resources[0]["service.name"] == "by-variable"
