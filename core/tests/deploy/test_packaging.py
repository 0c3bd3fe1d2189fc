"""From settings to packages, with a target that a plugin might provide."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import BaseModel, ConfigDict
from turnout.config import AlertSettings, ServiceSettings, Settings
from turnout.deploy.contents import digest_of_directory
from turnout.deploy.packaging import FORMATS, package
from turnout.deploy.placing import deployments
from turnout.errors import BackendError, SettingsError
from turnout.interfaces.deployment import (
    Deployment,
    Description,
    ImageContext,
    Parameter,
    Resource,
    ServiceShape,
    TimerShape,
)
from turnout.interfaces.permission import Permission
from turnout.interfaces.target import Target, TargetLimits
from turnout.local.target import LocalTarget


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid")

    region: str = "here"


class Cloud(Target):
    name: ClassVar[str] = "cloud"
    limits: ClassVar[TargetLimits] = TargetLimits(keeps_files=False)

    @classmethod
    def describe(cls, deployment: Deployment, directory: Path, tell: Callable[[str], None]) -> Description:
        region = deployment.read(Options).region
        (directory / "code.txt").write_text(region)
        (directory / "image").mkdir()
        (directory / "image" / "Dockerfile").write_text("FROM scratch")
        tell(f"making {deployment.name}")
        bucket = Resource(
            id="Data", type="AWS::S3::Bucket", properties={"Tags": [{"Key": "at", "Value": region}]}, keep=True
        )
        functions = [
            Resource(
                id=f"{placed.shape.name.capitalize()}{timer.name.capitalize()}",
                type="AWS::Serverless::Function",
                properties={"MemorySize": placed.memory_bytes, "CodeUri": {"Ref": "Code"}},
                depends_on=("Data",),
            )
            for placed in deployment.services
            for timer in placed.shape.timers
        ]
        return Description(
            resources=(bucket, *functions),
            parameters=(Parameter(name="Code", description="Where it is."),),
            outputs={"Data": {"Ref": "Data"}},
            artefacts={"Code": Path("code.txt")},
            images={"Image": ImageContext(path=Path("image"), platform="linux/arm64")},
            notes=("it is a cloud",),
        )


class Broken(Cloud):
    @classmethod
    def describe(cls, deployment: Deployment, directory: Path, tell: Callable[[str], None]) -> Description:
        super().describe(deployment, directory, tell)
        raise BackendError("no wheel for this platform")


ALERTS = ServiceShape(name="alerts", timers=(TimerShape(name="look", every_s=30.0),))
LOGS = ServiceShape(name="logs")
TARGETS: dict[str, type[Target]] = {"cloud": Cloud, "local": LocalTarget}


def settings(root: Path, **given: object) -> Settings:
    placed = {"alerts": ServiceSettings(target="cloud", memory_bytes=256_000_000, processes=2)}
    return Settings(root=root, environment="production", services=placed, **given)  # type: ignore[arg-type]


def test_each_target_gets_its_services_with_what_the_settings_say(tmp_path: Path) -> None:
    use = Permission(actions=("sqs:SendMessage",), resources=("arn:aws:sqs:*:*:jobs",))
    given = settings(tmp_path / "shop", targets={"cloud": {"region": "there"}})

    cloud, local = deployments(given, [LOGS, ALERTS], [use])

    assert (cloud.target, local.target, cloud.name) == ("cloud", "local", "shop-production")
    [placed] = cloud.services
    assert (placed.shape, placed.memory_bytes, placed.processes) == (ALERTS, 256_000_000, 2)
    assert [one.shape for one in local.services] == [LOGS]
    assert (cloud.options, local.options, cloud.permissions) == ({"region": "there"}, {}, (use,))


def test_every_variable_that_the_settings_refer_to_is_known(tmp_path: Path) -> None:
    given = settings(
        tmp_path,
        backends={
            "redis": {"url": "env:REDIS_URL", "nested": {"names": ["env:ONE", "env:TWO"]}, "plain": "envy:THREE"}
        },
        alerts=AlertSettings(channels={"ops": {"kind": "slack", "url": "env:SLACK_URL"}}),
    )

    [first, *_] = deployments(given, [ALERTS])

    assert first.variables == ("ONE", "REDIS_URL", "SLACK_URL", "TURNOUT_SECRET_KEY", "TWO")


def test_a_package_has_a_template_the_artefacts_and_their_digests(tmp_path: Path) -> None:
    told: list[str] = []

    [made] = package(
        deployments(settings(tmp_path / "shop"), [ALERTS, LOGS]), TARGETS, tmp_path / "dist", tell=told.append
    )

    assert made.directory == tmp_path / "dist" / "cloud"
    template = json.loads(made.template.read_text())
    assert template["Transform"] == "AWS::Serverless-2016-10-31"
    assert template["Parameters"] == {"Code": {"Type": "String", "Description": "Where it is."}}
    assert template["Resources"]["AlertsLook"] == {
        "Type": "AWS::Serverless::Function",
        "DependsOn": ["Data"],
        "Properties": {"MemorySize": 256_000_000, "CodeUri": {"Ref": "Code"}},
    }
    assert (
        template["Resources"]["Data"]["DeletionPolicy"]
        == template["Resources"]["Data"]["UpdateReplacePolicy"]
        == "Retain"
    )
    assert template["Outputs"] == {"Data": {"Value": {"Ref": "Data"}}}
    manifest = json.loads((made.directory / "manifest.json").read_text())
    assert manifest["artefacts"]["Code"]["path"] == "code.txt"
    assert manifest["images"]["Image"] == {
        "path": "image",
        "platform": "linux/arm64",
        "sha256": digest_of_directory(made.directory / "image"),
    }
    assert manifest["services"] == ["alerts"]
    assert told == ["making shop-production"]


class Queues(Cloud):
    @classmethod
    def describe(cls, deployment: Deployment, directory: Path, tell: Callable[[str], None]) -> Description:
        return Description(resources=(Resource(id="Jobs", type="AWS::SQS::Queue", properties={}),))


def test_a_package_for_terraform_has_a_configuration_in_place_of_the_template(tmp_path: Path) -> None:
    placed = deployments(settings(tmp_path), [ALERTS])
    package(placed, {"cloud": Queues}, tmp_path / "dist")

    [made] = package(placed, {"cloud": Queues}, tmp_path / "dist", target_format=FORMATS["terraform"])

    assert sorted(path.name for path in made.directory.iterdir()) == ["main.tf.json", "manifest.json"]
    assert made.template == tmp_path / "dist" / "cloud" / "main.tf.json"
    assert json.loads(made.template.read_text())["resource"] == {"aws_sqs_queue": {"Jobs": {}}}


def test_what_terraform_has_no_word_for_leaves_the_package_before(tmp_path: Path) -> None:
    placed = deployments(settings(tmp_path), [ALERTS])
    before = package(placed, TARGETS, tmp_path / "dist")[0]

    with pytest.raises(BackendError, match="Data: the type AWS::S3::Bucket is not known"):
        package(placed, TARGETS, tmp_path / "dist", target_format=FORMATS["terraform"])

    assert before.template.exists()


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    placed = deployments(settings(tmp_path / "shop"), [ALERTS])

    made = [package(placed, TARGETS, tmp_path / name)[0].directory for name in ("one", "other")]

    assert digest_of_directory(made[0]) == digest_of_directory(made[1])


def test_a_package_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    out = tmp_path / "dist"
    before = package(deployments(settings(tmp_path), [ALERTS]), TARGETS, out)[0].directory
    (before / "old.txt").write_text("of yesterday")

    after = package(deployments(settings(tmp_path), [ALERTS]), TARGETS, out)[0].directory

    assert (after == before, (after / "old.txt").exists()) == (True, False)
    assert [path.name for path in out.iterdir()] == ["cloud"]


def test_a_package_that_fails_leaves_the_one_before(tmp_path: Path) -> None:
    out = tmp_path / "dist"
    placed = deployments(settings(tmp_path), [ALERTS])
    before = package(placed, TARGETS, out)[0]

    with pytest.raises(BackendError, match="no wheel for this platform"):
        package(placed, {"cloud": Broken}, out)

    assert before.template.exists()
    assert [path.name for path in out.iterdir()] == ["cloud"]


def test_what_is_wrong_in_a_targets_table_is_named(tmp_path: Path) -> None:
    given = settings(tmp_path, targets={"cloud": {"regoin": "there"}})

    with pytest.raises(SettingsError, match=r"targets\.cloud\.regoin: unknown setting: did you mean 'region'"):
        package(deployments(given, [ALERTS]), TARGETS, tmp_path / "dist")


def test_a_target_that_nobody_provides_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"services\.alerts\.target: there is no target 'cloud'"):
        package(deployments(settings(tmp_path), [ALERTS]), {}, tmp_path / "dist")


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "dist").write_text("a file")

    with pytest.raises(BackendError, match="dist: the package cannot be written"):
        package(deployments(settings(tmp_path), [ALERTS]), TARGETS, tmp_path / "dist")
