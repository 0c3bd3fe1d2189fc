"""`turnout deploy` with the real tools: the packaged image is built, pushed to a registry, and what the stack is told runs."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest
from turnout.deploy.contents import digest_of_directory

from plugins.lambda_backend.tests.stand_in import StandIn
from tests.dev.commands import TURNOUT, environment
from tests.images.engine import Given, do, forget, run
from tests.images.registry import Registry, registry

pytestmark = pytest.mark.timeout(600)

ARN = "arn:aws:ecr:eu-central-1:123456789012:repository/team/shop"
GIVEN = {
    "RepositoryArn": ARN,
    "SubnetIds": "subnet-1",
    "SecurityGroupIds": "sg-1",
    "RedisUrlSecret": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:redis",
    "DatabaseUrlSecret": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:database",
    "TurnoutSecretKeySecret": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:key",
}


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[tuple[Registry, dict[str, str]]]:
    """ECR with its registry, the rest of AWS, and the variables by which commands find them."""
    with registry(tmp_path / "registry", "team/shop") as here, StandIn() as aws:
        (tmp_path / "registries.conf").write_text(f'[[registry]]\nlocation = "{here.address}"\ninsecure = true\n')
        yield (
            here,
            {
                "AWS_ACCESS_KEY_ID": "testing",
                "AWS_SECRET_ACCESS_KEY": "testing-secret",
                "AWS_DEFAULT_REGION": "eu-central-1",
                "AWS_CONFIG_FILE": "/dev/null",
                "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
                "AWS_ENDPOINT_URL": aws.url,
                "AWS_ENDPOINT_URL_ECR": f"http://{here.address}",
                "BUILDAH_ISOLATION": "chroot",
                "CONTAINERS_REGISTRIES_CONF": str(tmp_path / "registries.conf"),
            },
        )
        forget(f"{here.address}/team/shop")


def deployed(project: Path, env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    given = [part for name, value in GIVEN.items() for part in ("--parameter", f"{name}={value}")]
    done = subprocess.run(
        [TURNOUT, "deploy", *given, *arguments],
        cwd=project,
        env=environment(**env),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def image_of_the_stack(env: dict[str, str]) -> str:
    client = boto3.client(
        "cloudformation",
        endpoint_url=env["AWS_ENDPOINT_URL"],
        region_name="eu-central-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )
    try:
        (stack,) = client.describe_stacks(StackName="shop-ecs")["Stacks"]
    finally:
        client.close()
    found: str = {one["ParameterKey"]: one["ParameterValue"] for one in stack["Parameters"]}["Image"]
    return found


def test_the_packaged_image_is_built_pushed_once_and_runs(
    project: Path, package: Path, image: str, profile: Path, cloud: tuple[Registry, dict[str, str]]
) -> None:
    here, env = cloud

    first = deployed(project, env)
    again = deployed(project, env)

    tag = f"turnout-{digest_of_directory(package / 'image')}"
    assert here.tags.keys() == {tag}
    assert here.pushes == 1
    address = f"{here.address}/team/shop@{here.tags[tag]}"
    assert image_of_the_stack(env) == address
    assert "no resource changes" in again.stdout
    assert here.secret not in first.stdout + first.stderr
    pulled = Path(env["CONTAINERS_REGISTRIES_CONF"]).parent / "pull.json"
    pulled.write_text(json.dumps({"auths": {here.address: {"auth": here.secret}}}))
    do("podman", "pull", "--quiet", "--authfile", str(pulled), address, environment=env)
    said = run(address, Given(profile=profile), "version", "--json")
    do("podman", "rmi", address)
    assert json.loads(said.output)["turnout"]


@pytest.mark.parametrize("tool", ["podman", "buildah"])
def test_each_tool_builds_and_pushes(
    tool: str, project: Path, tmp_path: Path, cloud: tuple[Registry, dict[str, str]]
) -> None:
    here, env = cloud
    directory = tmp_path / "project"
    directory.mkdir()
    small_package(directory)
    only = tmp_path / "bin"
    only.mkdir()
    for name in (tool, "runc", "fuse-overlayfs", "newuidmap", "newgidmap"):
        (only / name).symlink_to(f"/usr/bin/{name}")

    done = deployed(directory, {**env, "PATH": str(only)})

    assert f"building dist/ecs/image by {tool}" in done.stderr
    assert here.pushes == 1


def small_package(project: Path) -> None:
    """One file on nothing."""
    (project / "turnout.toml").write_text('[project]\nname = "shop"\n')
    package = project / "dist" / "ecs"
    (package / "image").mkdir(parents=True)
    (package / "image" / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    parameters: dict[str, Any] = {name: {"Type": "String"} for name in ("Image", *GIVEN)}
    queue = {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "hints"}}
    (package / "template.json").write_text(json.dumps({"Parameters": parameters, "Resources": {"Hints": queue}}))
    image = {"path": "image", "platform": _platform(), "sha256": digest_of_directory(package / "image")}
    told = {"project": "shop", "environment": "", "target": "ecs", "artefacts": {}, "images": {"Image": image}}
    (package / "manifest.json").write_text(json.dumps(told))


def _platform() -> str:
    return "linux/arm64" if os.uname().machine == "aarch64" else "linux/amd64"
