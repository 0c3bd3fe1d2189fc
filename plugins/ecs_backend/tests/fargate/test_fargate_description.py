"""What a deployment on ECS comes to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session  # type: ignore[import-untyped]
import pytest
from botocore.validate import ParamValidator  # type: ignore[import-untyped]
from cfnlint.api import ManualArgs, lint  # type: ignore[import-untyped]
from turnout.cli import main
from turnout.deploy.cloudformation import cloudformation
from turnout.errors import BackendError, SettingsError
from turnout.interfaces.deployment import Deployment, Description, Placed, RouteShape, ServiceShape
from turnout.interfaces.permission import Permission
from turnout_ecs.fargate.description import describe
from turnout_ecs.fargate.sizes import SIZES, size_of

RUNNER = ServiceShape(name="runner")
RECOVERY = ServiceShape(name="recovery")
INGRESS = ServiceShape(name="ingress", routes=(RouteShape(method="POST", path="/hooks/{flow}"),))
USE = Permission(
    actions=("sqs:SendMessage",), resources=("arn:${AWS::Partition}:sqs:${AWS::Region}:${AWS::AccountId}:jobs",)
)
GROUP = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/shop/0123456789abcdef"
IMAGE = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/team/shop@sha256:" + "0" * 64
EVERYTHING = {
    "image": IMAGE,
    "architecture": "arm64",
    "cpu": {"runner": 2048},
    "disk": 40,
    "public_ip": True,
    "target_groups": {"ingress": GROUP},
    "scaling": {"runner": {"most": 10, "cpu": 70}},
    "log_days": 7,
    "datadog": {"site": "datadoghq.eu"},
    "alarm_topic": "arn:aws:sns:eu-central-1:123456789012:ops",
    "tags": {"team": "a"},
}


def described(*services: Placed, **given: Any) -> tuple[Deployment, Description]:
    placed = services or (
        Placed(shape=RUNNER, memory_bytes=3 * 10**9, processes=2),
        Placed(shape=RECOVERY),
        Placed(shape=INGRESS),
    )
    parts = {"variables": ("REDIS_URL", "TURNOUT_SECRET_KEY"), "permissions": (USE,), **given}
    made = Deployment(
        project="My shop", environment="production", root=Path("/x"), target="ecs", services=placed, **parts
    )
    return made, describe(made)


def template(*services: Placed, **given: Any) -> Any:
    return cloudformation(*described(*services, **given))


def container(made: Any, task: str) -> Any:
    [found] = made["Resources"][task]["Properties"]["ContainerDefinitions"]
    return found


@pytest.mark.parametrize("options", [{}, EVERYTHING, {"registry": "public"}], ids=["none", "all", "public"])
@pytest.mark.parametrize("variables", [(), ("TURNOUT_SECRET_KEY",)])
def test_the_template_is_what_cloudformation_takes(options: dict[str, Any], variables: tuple[str, ...]) -> None:
    made = template(options=options, variables=variables, permissions=(USE,) if options else ())

    found = lint(json.dumps(made), config=ManualArgs(regions=["eu-central-1"]))

    assert [str(one) for one in found if one.rule.id[0] in "EW"] == []


def as_the_api_has_it(value: Any, path: str = "") -> Any:
    """Names begin small there, and what the template refers to is a text."""
    if isinstance(value, dict):
        if value.keys() & {"Ref", "Fn::GetAtt", "Fn::Sub"}:
            return "known-when-deployed"
        if path == "Options":
            return {name: as_the_api_has_it(part) for name, part in value.items()}
        return {f"{name[0].lower()}{name[1:]}": as_the_api_has_it(part, name) for name, part in value.items()}
    return [as_the_api_has_it(part) for part in value] if isinstance(value, list) else value


def outside_enums(value: Any, shape: Any, path: str = "") -> Iterator[str]:
    """What botocore does not look at: whether a value is among those of its shape."""
    if shape.type_name == "structure":
        for name, part in value.items():
            yield from outside_enums(part, shape.members[name], f"{path}.{name}")
    elif shape.type_name == "list":
        for part in value:
            yield from outside_enums(part, shape.member, path)
    elif getattr(shape, "enum", None) and value not in shape.enum:
        yield f"{path}: {value}"


@pytest.mark.parametrize("options", [{}, EVERYTHING], ids=["none", "all"])
def test_a_task_definition_is_what_the_api_takes(options: dict[str, Any]) -> None:
    made = template(options=options)
    operation = botocore.session.get_session().get_service_model("ecs").operation_model("RegisterTaskDefinition")

    for name in ("RunnerTask", "IngressTask"):
        request = as_the_api_has_it(made["Resources"][name]["Properties"])

        assert ParamValidator().validate(request, operation.input_shape).generate_report() == ""
        assert list(outside_enums(request, operation.input_shape)) == []


def test_the_runner_is_a_worker_that_recovery_goes_with() -> None:
    made = template()

    found = container(made, "RunnerTask")
    assert found["Command"] == ["worker", "--health", "0.0.0.0:8480"]
    assert "127.0.0.1:8480/healthz" in found["HealthCheck"]["Command"][-1]
    assert container(made, "IngressTask")["Command"] == [
        *("service", "run", "ingress", "--host", "0.0.0.0", "--port", "8400")
    ]
    assert not [name for name in made["Resources"] if name.startswith("Recovery")]
    with pytest.raises(SettingsError, match=r"services\.recovery\.target: recovery runs in the runner's workers"):
        template(Placed(shape=RECOVERY))


def test_a_worker_keeps_the_four_capabilities_of_the_jail_and_others_none() -> None:
    made = template()

    capabilities = container(made, "RunnerTask")["LinuxParameters"]["Capabilities"]
    assert capabilities == {
        "Drop": [
            *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID"),
            *("MKNOD", "NET_BIND_SERVICE", "NET_RAW", "SETFCAP", "SETPCAP"),
        ]
    }
    assert container(made, "IngressTask")["LinuxParameters"]["Capabilities"] == {"Drop": ["ALL"]}


@pytest.mark.parametrize("task", ["RunnerTask", "IngressTask"])
def test_the_check_of_health_is_python_that_fails_where_nobody_answers(task: str) -> None:
    [kind, program, option, source] = container(template(), task)["HealthCheck"]["Command"]

    assert (kind, program, option) == ("CMD", "python", "-c")
    with pytest.raises(OSError, match="refused"):
        exec(source)


@pytest.mark.parametrize(
    ("memory_mb", "cpu", "size"),
    [
        (1, 256, (256, 512)),
        (512, 256, (256, 512)),
        (513, 256, (256, 1024)),
        (2048, 256, (256, 2048)),
        (2049, 256, (512, 3072)),
        (1, 1024, (1024, 2048)),
        (4097, 256, (1024, 5120)),
        (30_721, 256, (8192, 32_768)),
        (61_441, 256, (16_384, 65_536)),
        (122_880, 256, (16_384, 122_880)),
    ],
)
def test_the_smallest_size_is_chosen(memory_mb: int, cpu: int, size: tuple[int, int]) -> None:
    assert size_of(memory_mb, cpu) == size
    assert size[1] in SIZES[size[0]]


def test_more_memory_than_there_is_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"services\.runner\.memory: no Fargate task has 122881 MB"):
        template(Placed(shape=RUNNER, memory_bytes=122_881 * 1024**2))


def test_a_service_has_the_size_that_its_settings_ask_for() -> None:
    resources = template(options={"cpu": {"ingress": 1024}})["Resources"]

    sizes = {
        name: (resources[name]["Properties"]["Cpu"], resources[name]["Properties"]["Memory"])
        for name in ("RunnerTask", "IngressTask")
    }
    assert sizes == {"RunnerTask": ("512", "3072"), "IngressTask": ("1024", "2048")}


def allowed(made: Any, role: str) -> dict[str, Any]:
    return {
        action: one["Resource"]
        for policy in made["Resources"][role]["Properties"].get("Policies", ())
        for one in policy["PolicyDocument"]["Statement"]
        for action in one["Action"]
    }


def test_tasks_may_do_what_their_parts_do_and_no_more() -> None:
    made = template()

    assert allowed(made, "RunnerTaskRole") == {"sqs:SendMessage": [{"Fn::Sub": USE.resources[0]}]}
    assert allowed(made, "RunnerExecutionRole") == {
        "logs:CreateLogStream": [{"Fn::GetAtt": ["RunnerLogs", "Arn"]}],
        "logs:PutLogEvents": [{"Fn::GetAtt": ["RunnerLogs", "Arn"]}],
        "secretsmanager:GetSecretValue": [{"Ref": "RedisUrlSecret"}, {"Ref": "TurnoutSecretKeySecret"}],
        "ecr:GetAuthorizationToken": ["*"],
        **{
            key: [{"Ref": "RepositoryArn"}]
            for key in ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
        },
    }
    public = template(options={"registry": "public"}, variables=(), permissions=())
    assert allowed(public, "RunnerTaskRole") == {}
    assert allowed(public, "RunnerExecutionRole").keys() == {"logs:CreateLogStream", "logs:PutLogEvents"}


def test_secrets_are_in_the_template_by_reference_alone() -> None:
    made = template()

    found = container(made, "RunnerTask")
    assert found["Environment"] == [{"Name": "TURNOUT_ENV", "Value": "production"}]
    assert found["Secrets"] == [
        {"Name": "REDIS_URL", "ValueFrom": {"Ref": "RedisUrlSecret"}},
        {"Name": "TURNOUT_SECRET_KEY", "ValueFrom": {"Ref": "TurnoutSecretKeySecret"}},
    ]
    assert {"RedisUrlSecret", "TurnoutSecretKeySecret"} <= made["Parameters"].keys()


@pytest.mark.parametrize(("architecture", "platform"), [("x86_64", "linux/amd64"), ("arm64", "linux/arm64")])
def test_an_image_that_nobody_gives_is_built_for_the_tasks_processors(architecture: str, platform: str) -> None:
    _, description = described(options={"architecture": architecture})

    assert {name: (str(one.path), one.platform) for name, one in description.images.items()} == {
        "Image": ("image", platform)
    }
    assert described(options={"image": IMAGE})[1].images == {}


def test_who_locks_nobody_in_is_nobody() -> None:
    made = template()

    assert container(made, "IngressTask")["User"] == "65534:65534"
    assert "User" not in container(made, "RunnerTask"), "the jail takes a root with four capabilities"


def test_the_repository_is_that_of_the_image() -> None:
    parameters = template(options={"image": IMAGE})["Parameters"]

    assert parameters["Image"]["Default"] == IMAGE
    assert parameters["RepositoryArn"]["Default"] == "arn:aws:ecr:eu-central-1:123456789012:repository/team/shop"
    assert "Default" not in template()["Parameters"]["RepositoryArn"]


def test_a_service_that_is_scaled_leaves_its_number_to_the_scaling() -> None:
    resources = template(options=EVERYTHING)["Resources"]

    assert "DesiredCount" not in resources["RunnerService"]["Properties"]
    scaling = resources["RunnerScaling"]["Properties"]
    assert (scaling["MinCapacity"], scaling["MaxCapacity"]) == (2, 10)
    named = ["service", {"Ref": "Cluster"}, {"Fn::GetAtt": ["RunnerService", "Name"]}]
    assert scaling["ResourceId"] == {"Fn::Join": ["/", named]}
    policy = resources["RunnerScalingPolicy"]["Properties"]["TargetTrackingScalingPolicyConfiguration"]
    assert policy["PredefinedMetricSpecification"] == {"PredefinedMetricType": "ECSServiceAverageCPUUtilization"}
    assert policy["TargetValue"] == 70
    assert resources["IngressService"]["Properties"]["DesiredCount"] == 1
    assert template()["Resources"]["RunnerService"]["Properties"]["DesiredCount"] == 2


def test_routes_are_put_behind_the_load_balancer_that_is_named() -> None:
    ingress = template(options=EVERYTHING)["Resources"]["IngressService"]["Properties"]

    [balanced] = ingress["LoadBalancers"]
    assert (balanced["ContainerPort"], balanced["TargetGroupArn"]) == (8400, GROUP)
    _, description = described()
    assert any(note.startswith("ingress: reached within the network alone") for note in description.notes)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"architecture": "sparc"}, r"targets\.ecs\.architecture"),
        ({"memmory": 512}, r"targets\.ecs\.memmory: unknown setting: did you mean 'memory'"),
        ({"cpu": {"runner": 300}}, r"targets\.ecs\.cpu\.runner"),
        ({"disk": 20}, r"targets\.ecs\.disk"),
        ({"scaling": {"runner": {"most": 1}}}, r"targets\.ecs\.scaling\.runner\.most: 1 is less than"),
        ({"target_groups": {"runner": GROUP}}, r"targets\.ecs\.target_groups\.runner: 'runner' has no routes"),
    ],
)
def test_options_that_are_wrong_are_named(options: dict[str, Any], what: str) -> None:
    with pytest.raises(SettingsError, match=what):
        template(options=options)


def test_a_service_that_is_not_packaged_is_named() -> None:
    _, description = described(options={"cpu": {"runer": 512}})

    assert "targets.ecs.cpu: runer: not among the services that are packaged here" in description.notes


def test_what_fargate_would_not_take_is_told_before_it_is_deployed() -> None:
    with pytest.raises(BackendError, match="RunnerTask: variables: TURNOUT_ENV: a variable has one value"):
        template(variables=("TURNOUT_ENV",))


def test_two_services_that_would_be_the_same_resources_are_refused() -> None:
    with pytest.raises(SettingsError, match="a_b and a-b would be the same resources"):
        template(Placed(shape=ServiceShape(name="a-b")), Placed(shape=ServiceShape(name="a_b")))


def test_the_same_deployment_has_the_same_template() -> None:
    assert json.dumps(template(options=EVERYTHING)) == json.dumps(template(options=EVERYTHING))


PROJECT = """
[project]
name = "shop"
url = "https://hooks.shop.example"
[stores]
queue = "redis"
journal = "redis"
state = "redis"
records = "postgres"
catalog = "postgres"
payloads = "s3"
[backends.redis]
url = "env:REDIS_URL"
[backends.postgres]
url = "env:DATABASE_URL"
[backends.s3]
bucket = "shop-payloads"
[runner]
sandbox = "{sandbox}"
[services.runner]
target = "ecs"
memory = "2 GB"
processes = 2
[services.recovery]
target = "ecs"
[services.metadata]
target = "lambda"
[targets.ecs]
image = "registry.example/shop:1"
"""
CODE = """
integration: orders
version: 1.0.0
flows:
  main:
    trigger: {webhook: {}}
    steps: [{id: look, code: look.js}]
"""


def project(directory: Path, sandbox: str) -> None:
    (directory / "turnout.toml").write_text(PROJECT.replace("{sandbox}", sandbox))
    (directory / "integration.yaml").write_text(CODE)
    (directory / "look.js").write_text("export default async () => 1;\n")


def test_a_project_is_packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project(tmp_path, "chroot")
    monkeypatch.chdir(tmp_path)

    assert main(["package", "--service", "runner"]) == 0

    made = json.loads((tmp_path / "dist" / "ecs" / "template.json").read_text())
    assert container(made, "RunnerTask")["Name"] == "shop-runner"
    assert {one["Name"] for one in container(made, "RunnerTask")["Secrets"]} == {
        *("DATABASE_URL", "REDIS_URL", "TURNOUT_SECRET_KEY")
    }
    assert "s3:GetObject" in allowed(made, "RunnerTaskRole")
    told = json.loads((tmp_path / "dist" / "ecs" / "manifest.json").read_text())
    assert (told["artefacts"], told["images"]) == ({}, {}), "the image is one that is there"


def test_a_project_is_packaged_for_terraform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project(tmp_path, "chroot")
    monkeypatch.chdir(tmp_path)

    assert main(["package", "--service", "runner", "--target-format", "terraform"]) == 0

    assert sorted(path.name for path in (tmp_path / "dist" / "ecs").iterdir()) == ["main.tf.json", "manifest.json"]
    made = json.loads((tmp_path / "dist" / "ecs" / "main.tf.json").read_text())
    assert made["resource"]["aws_ecs_task_definition"]["RunnerTask"]["family"] == "shop-runner"
    [runs] = made["locals"]["RunnerTask_container_definitions"]
    assert runs["image"] == "${var.Image}"
    assert {one["name"] for one in runs["secrets"]} == {"DATABASE_URL", "REDIS_URL", "TURNOUT_SECRET_KEY"}


def test_a_sandbox_that_fargate_cannot_run_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project(tmp_path, "bubblewrap")
    monkeypatch.chdir(tmp_path)

    assert main(["package", "--service", "runner"]) == 2

    assert "needs namespaces, which 'ecs' does not allow" in capsys.readouterr().err
