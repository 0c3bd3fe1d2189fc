"""What a function on Lambda costs before it does anything: `python -m benchmarks.functions`.

The zip that `turnout package` makes runs under Lambda's own runtime client, against a Runtime API on this machine, PostgreSQL and a
Redis. The floor is a function that does nothing, in the same processes. Measured is processor time, which a busy machine does
not change, from the process's start to its first answer.
"""

from __future__ import annotations

import base64
import os
import statistics
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import boto3  # type: ignore[import-untyped]
from turnout_ecs.testing.servers import RedisServer
from turnout_postgres.standins.server import PostgresServer

from benchmarks.processes import cpu_s
from plugins.lambda_backend.tests.stand_in import StandIn
from tests.scenario.functions import Function, Host, functions, runtime_site
from tests.scenario.scenario import HOOK_SECRET, turnout
from tests.scenario.test_functions import AWS, SETTINGS, packaged, request, secrets

ROUNDS = 5
FLOOR = "def nothing(event, context):\n    return {}\n"


@dataclass
class Watched(Host):
    """Knows the process that it started last."""

    pids: list[int] = field(default_factory=list)

    def start(
        self, program: str, code: Path, site: Path, environment: Mapping[str, str], log: IO[str]
    ) -> subprocess.Popen[bytes]:
        process = super().start(program, code, site, environment, log)
        self.pids.append(process.pid)
        return process


def cold_s(function: Function, pid: int, event: object) -> float:
    """Processor seconds until the first answer."""
    answer = function.call(event)
    assert answer.error is None, answer.error
    return cpu_s(pid)


def measure() -> dict[str, list[float]]:
    """By function, a figure of each round."""
    found: dict[str, list[float]] = {}
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="turnout-bench-")))
        redis = stack.enter_context(RedisServer(root / "redis"))
        postgres = stack.enter_context(PostgresServer())
        aws = stack.enter_context(StandIn())
        os.environ.update(AWS)
        values = {
            "HOOK_SECRET": HOOK_SECRET,
            "REDIS_URL": redis.url,
            "DATABASE_URL": postgres.url,
            "TURNOUT_SECRET_KEY": base64.b64encode(os.urandom(32)).decode(),
        }
        s3 = boto3.client("s3", endpoint_url=aws.url)
        s3.create_bucket(Bucket="shop-payloads", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        s3.close()
        project = root / "project"
        project.mkdir()
        (project / "turnout.toml").write_text(SETTINGS % {"url": "http://127.0.0.1:9"})
        package = packaged(project)
        turnout(project, {**values, **AWS, "AWS_ENDPOINT_URL": aws.url}, "postgres", "migrate")
        parameters, machine = secrets(aws.url, values), {**AWS, "AWS_ENDPOINT_URL": aws.url}
        nothing = root / "nothing"
        nothing.mkdir()
        (nothing / "app.py").write_text(FLOOR)
        site = runtime_site(root / "site")
        for number in range(ROUNDS):
            host = Watched()
            with Function("app.nothing", nothing, site, root / f"floor-{number}", {}, 60.0, host) as floor:
                found.setdefault("floor", []).append(cold_s(floor, host.pids[-1], {}))
            host = Watched()
            with functions(package, root / f"round-{number}", parameters, machine, host) as made:
                for name, pid in zip(made, host.pids, strict=True):
                    event = request("/connect/nobody") if name == "oauth_http" else {}
                    found.setdefault(name, []).append(cold_s(made[name], pid, event))
    return found


def main() -> None:
    found = measure()
    floor = found.pop("floor")
    print("| function                | cold start, CPU s | ÷ floor    |")
    print("| ----------------------- | ----------------- | ---------- |")
    print(f"| {'nothing (the floor)':<23} | {figure(floor, '.3f'):<17} | 1          |")
    for name, cold in sorted(found.items()):
        ratios = [one / base for one, base in zip(cold, floor, strict=True)]
        print(f"| {name:<23} | {figure(cold, '.2f'):<17} | {figure(ratios, '.0f'):<10} |")


def figure(values: list[float], form: str) -> str:
    return f"{statistics.median(values):{form}} ({min(values):{form}}–{max(values):{form}})"


if __name__ == "__main__":
    main()
