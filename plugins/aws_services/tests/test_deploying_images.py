"""`turnout deploy` and images: what is built and pushed, when, and by which address the stack knows it. ECR is moto's; the tool
that builds is a stand-in, which says what it was asked. The real ones are tried in `tests/images`."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest
from click.testing import CliRunner, Result
from turnout.deploy.contents import digest_of_directory
from turnout.errors import BackendError, UserError
from turnout_aws.deploying.building import Builder, Login, find_builder
from turnout_aws.deploying.commands import deploy

from .deploying_parts import queue

ARN = "arn:aws:ecr:eu-central-1:123456789012:repository/team/shop"
ADDRESS = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/team/shop"
NAME = "shop-production-ecs"
TOOL = """#!{python}
import json, os, pathlib, sys, time
asked = pathlib.Path({asked!r})
auth = os.environ.get("REGISTRY_AUTH_FILE") or os.path.join(os.environ.get("DOCKER_CONFIG", "/nowhere"), "config.json")
known = json.loads(pathlib.Path(auth).read_text()) if os.path.exists(auth) else None
mode = oct(os.stat(auth).st_mode & 0o777) if known else None
with asked.open("a") as file:
    file.write(json.dumps({{"arguments": sys.argv[1:], "known": known, "mode": mode, "host": os.environ.get("DOCKER_HOST")}}) + "\\n")
if sys.argv[1] in ("version", "info"):
    print("1.0")
elif sys.argv[1] == "context":
    print("unix:///run/engine.sock")
elif sys.argv[1] == "build":
    print("STEP 1/2: FROM base")
    if (pathlib.Path(sys.argv[-1]) / "fails").exists():
        sys.exit("no space left on device")
    if (pathlib.Path(sys.argv[-1]) / "lasts").exists():
        print(os.getpid(), flush=True)
        time.sleep(600)
elif sys.argv[1] == "push":
    import boto3
    name, _, tag = sys.argv[2].partition("/")[2].rpartition(":")
    manifest = {{"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json", "config": {{"digest": tag}}}}
    boto3.client("ecr").put_image(repositoryName=name, imageManifest=json.dumps(manifest), imageTag=tag)
"""


class Tool:
    """What it was asked, oldest first."""

    def __init__(self, directory: Path, name: str) -> None:
        self._asked = directory / "asked.jsonl"
        script = directory / name
        script.write_text(TOOL.format(python=sys.executable, asked=str(self._asked)))
        script.chmod(0o755)

    def asked(self, *verbs: str) -> list[dict[str, Any]]:
        lines = self._asked.read_text().splitlines() if self._asked.exists() else []
        return [one for one in map(json.loads, lines) if one["arguments"][0] in (verbs or ("build", "push"))]


@pytest.fixture
def tool(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Tool:
    directory = tmp_path_factory.mktemp("bin")
    monkeypatch.setenv("PATH", str(directory))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    return Tool(directory, "buildah")


@pytest.fixture
def moto(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    with urllib.request.urlopen(urllib.request.Request(f"{server}/moto-api/reset", method="POST")) as answered:
        assert answered.status == 200
    made = {name: boto3.client(name, endpoint_url=server) for name in ("cloudformation", "ecr")}
    made["ecr"].create_repository(repositoryName="team/shop")
    yield made.__getitem__
    for one in made.values():
        one.close()


def write_package(project: Path, text: str = "FROM base\n", **parameters: Any) -> Path:
    directory = project / "dist" / "ecs"
    context = directory / "image"
    context.mkdir(parents=True, exist_ok=True)
    (context / "Dockerfile").write_text(text)
    declared = {"Image": {"Type": "String"}, "RepositoryArn": {"Type": "String", "Description": "Where it is."}}
    template = {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Parameters": {**declared, **parameters},
        "Resources": {"Hints": queue("hints", Tags=[{"Key": "image", "Value": {"Ref": "Image"}}])},
    }
    (directory / "template.json").write_text(json.dumps(template))
    image = {"path": "image", "platform": "linux/arm64", "sha256": digest_of_directory(context)}
    told = {
        "project": "shop",
        "environment": "production",
        "target": "ecs",
        "artefacts": {},
        "images": {"Image": image},
    }
    (directory / "manifest.json").write_text(json.dumps(told))
    return context


def run(*arguments: str) -> Result:
    return CliRunner().invoke(deploy, arguments)


def deployed_image(moto: Callable[[str], Any]) -> str:
    (stack,) = moto("cloudformation").describe_stacks(StackName=NAME)["Stacks"]
    address: str = {one["ParameterKey"]: one["ParameterValue"] for one in stack["Parameters"]}["Image"]
    return address


def test_an_image_is_built_and_pushed_and_known_by_its_digest(
    project: Path, moto: Callable[[str], Any], tool: Tool
) -> None:
    context = write_package(project)

    result = run("--parameter", f"RepositoryArn={ARN}")

    assert result.exit_code == 0, result.output
    tag = f"turnout-{digest_of_directory(context)}"
    [built, pushed] = tool.asked()
    assert built["arguments"] == [
        *("build", "--format", "docker", "--layers", "--platform", "linux/arm64"),
        *("--tag", f"{ADDRESS}:{tag}", "dist/ecs/image"),
    ]
    assert pushed["arguments"] == ["push", f"{ADDRESS}:{tag}"]
    [one] = moto("ecr").describe_images(repositoryName="team/shop")["imageDetails"]
    assert one["imageTags"] == [tag]
    assert deployed_image(moto) == f"{ADDRESS}@{one['imageDigest']}"
    assert "buildah: STEP 1/2: FROM base" in result.output


def test_credentials_are_in_a_file_of_the_push_alone(project: Path, moto: Callable[[str], Any], tool: Tool) -> None:
    write_package(project)

    result = run("--parameter", f"RepositoryArn={ARN}")

    [built, pushed] = tool.asked()
    secret = moto("ecr").get_authorization_token()["authorizationData"][0]["authorizationToken"]
    assert (built["known"], pushed["mode"]) == (None, "0o600")
    assert pushed["known"] == {"auths": {ADDRESS.split("/", maxsplit=1)[0]: {"auth": secret}}}
    password = base64.b64decode(secret).decode().partition(":")[2]
    assert secret not in result.output + repr(pushed["arguments"])
    assert password not in result.output
    assert secret not in repr(Login(host="x", secret=secret))


def test_the_same_again_builds_and_pushes_nothing(project: Path, moto: Callable[[str], Any], tool: Tool) -> None:
    write_package(project)
    assert run("--parameter", f"RepositoryArn={ARN}").exit_code == 0
    before = deployed_image(moto)

    again = run()

    assert again.exit_code == 0, again.output
    assert len(tool.asked()) == 2
    assert f"{NAME}: no resource changes" in again.output
    assert deployed_image(moto) == before


def test_what_changed_is_another_image(project: Path, moto: Callable[[str], Any], tool: Tool) -> None:
    write_package(project)
    assert run("--parameter", f"RepositoryArn={ARN}").exit_code == 0
    before = deployed_image(moto)
    write_package(project, "FROM other\n")

    again = run()

    assert again.exit_code == 0, again.output
    assert len(tool.asked("push")) == 2
    assert deployed_image(moto) != before


def test_a_dry_run_builds_nothing_and_says_what_it_would(project: Path, moto: Callable[[str], Any], tool: Tool) -> None:
    write_package(project)

    result = run("--dry-run", "--parameter", f"RepositoryArn={ARN}")

    assert result.exit_code == 0, result.output
    assert tool.asked() == []
    assert f"dist/ecs/image: it would be built, and pushed to {ADDRESS}" in result.output
    assert moto("cloudformation").describe_stacks()["Stacks"] == []


def test_an_image_that_is_given_is_taken_as_it_is(project: Path, moto: Callable[[str], Any], tool: Tool) -> None:
    write_package(project)

    result = run("--parameter", f"RepositoryArn={ARN}", "--parameter", "Image=elsewhere/shop:1")

    assert result.exit_code == 0, result.output
    assert (tool.asked(), deployed_image(moto)) == ([], "elsewhere/shop:1")


def test_without_a_repository_it_is_asked_for_and_nothing_is_built(
    project: Path, moto: Callable[[str], Any], tool: Tool
) -> None:
    write_package(project)

    result = run()

    assert isinstance(result.exception, UserError)
    assert "RepositoryArn: Where it is." in str(result.exception)
    assert "  Image:" not in str(result.exception)
    assert tool.asked() == []


def test_a_repository_that_is_none_is_refused(project: Path, moto: Callable[[str], Any], tool: Tool) -> None:
    write_package(project)

    wrong = run("--parameter", "RepositoryArn=team/shop")
    other = run("--parameter", f"RepositoryArn={ARN}s")

    assert isinstance(wrong.exception, UserError)
    assert "'team/shop' is not the ARN of a repository" in str(wrong.exception)
    assert isinstance(other.exception, BackendError)
    assert "RepositoryNotFoundException" in str(other.exception)
    assert tool.asked() == []


def test_a_build_that_fails_deploys_nothing_and_says_why(project: Path, moto: Callable[[str], Any], tool: Tool) -> None:
    context = write_package(project)
    (context / "fails").touch()
    told = json.loads((context.parent / "manifest.json").read_text())
    told["images"]["Image"]["sha256"] = digest_of_directory(context)
    (context.parent / "manifest.json").write_text(json.dumps(told))

    result = run("--parameter", f"RepositoryArn={ARN}")

    assert isinstance(result.exception, BackendError)
    assert "buildah build ended with 1:" in str(result.exception)
    assert "no space left on device" in str(result.exception)
    assert tool.asked("push") == []
    assert moto("cloudformation").describe_stacks()["Stacks"] == []


def test_a_context_that_was_changed_is_not_built(project: Path, moto: Callable[[str], Any], tool: Tool) -> None:
    context = write_package(project)
    (context / "more").write_text("x")

    result = run("--parameter", f"RepositoryArn={ARN}")

    assert isinstance(result.exception, UserError)
    assert "image: it is not what was packaged" in str(result.exception)


def test_where_nothing_can_build_it_says_what_would(
    project: Path, moto: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_package(project)
    client = tmp_path / "bin" / "docker"
    client.parent.mkdir()
    client.write_text("#!/bin/sh\nexit 1\n")  # an engine that does not answer
    client.chmod(0o755)
    monkeypatch.setenv("PATH", str(client.parent))

    result = run("--parameter", f"RepositoryArn={ARN}")

    assert isinstance(result.exception, UserError)
    assert "docker does not answer, podman is not there, buildah is not there" in str(result.exception)


async def test_docker_keeps_its_engine_while_the_credentials_stand_in_for_its_configuration(
    moto: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker = Tool(tmp_path, "docker")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    told: list[str] = []
    found = find_builder(told.append)

    await found.build(tmp_path, f"{ADDRESS}:1", platform="linux/amd64")
    await found.push(f"{ADDRESS}:1", Login(host="x", secret="c2VjcmV0"))

    assert found == Builder(tool="docker", path=str(tmp_path / "docker"), tell=found.tell)
    [built, pushed] = docker.asked()
    assert built["arguments"][:3] == ["build", "--platform", "linux/amd64"]
    assert (built["host"], pushed["host"]) == (None, "unix:///run/engine.sock")
    assert pushed["known"] == {"auths": {"x": {"auth": "c2VjcmV0"}}}


async def test_a_build_that_is_interrupted_ends_with_its_tool(
    tmp_path: Path, tool: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lasts").touch()
    told: asyncio.Queue[str] = asyncio.Queue()
    building = asyncio.create_task(find_builder(told.put_nowait).build(tmp_path, "shop:1", platform="linux/amd64"))
    lines = [await told.get(), await told.get()]

    building.cancel()

    with pytest.raises(asyncio.CancelledError):
        await building
    with pytest.raises(ProcessLookupError):
        os.kill(int(lines[1].removeprefix("buildah: ")), 0)
