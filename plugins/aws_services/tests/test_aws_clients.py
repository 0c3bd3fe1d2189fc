"""Clients: whose credentials they use, where boto3 is loaded, and on which thread it works."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from turnout.errors import BackendError, SettingsError
from turnout_aws.clients import AwsOptions, call, connect_client

from .gate import Gate, gate, xml_refusal

ROLE = "arn:aws:iam::123456789012:role/turnout"
NOTHING_HEAVY = """
import sys
from turnout.plugins import load_plugins
registry = load_plugins()
found = [name for name in ("logs:cloudwatch", "alerts:ses", "alerts:sns", "keys:kms") if name not in registry.stores]
print(found, sorted({"boto3", "botocore"} & set(sys.modules)))
"""


@pytest.fixture
def way(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """For STS and for what is asked with what it gives."""
    with gate(server) as made:
        monkeypatch.setenv("AWS_ENDPOINT_URL", made.url)
        yield made


def key_of(way: Gate, number: int) -> str:
    """The id of the key that a request was signed with."""
    return way.asked[number].headers["authorization"].partition("Credential=")[2].partition("/")[0]


def test_the_plugin_loads_and_names_what_it_provides_without_boto3() -> None:
    done = subprocess.run([sys.executable, "-c", NOTHING_HEAVY], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[] []"


async def test_a_role_is_taken_on_once_and_its_credentials_sign_what_follows(way: Gate) -> None:
    client = await connect_client("logs", AwsOptions(region="eu-central-1", role=ROLE), setting="logs.x.options")
    assert way.asked == []

    await call("it lists", client.describe_log_groups)
    await call("it lists", client.describe_log_groups)

    assert [asked.operation for asked in way.asked] == ["AssumeRole", "DescribeLogGroups", "DescribeLogGroups"]
    assert way.asked[0].form["RoleArn"] == ROLE
    assert way.asked[0].form["RoleSessionName"] == "turnout"
    assert key_of(way, 0) == "testing"
    assert key_of(way, 1) == key_of(way, 2) != "testing"
    assert way.asked[1].headers["x-amz-security-token"]
    client.close()


async def test_a_role_that_may_not_be_taken_on_is_told(way: Gate) -> None:
    way.answer = lambda asked: xml_refusal("AccessDenied", "not authorized to perform: sts:AssumeRole", 403)
    client = await connect_client("logs", AwsOptions(region="eu-central-1", role=ROLE), setting="logs.x.options")

    with pytest.raises(BackendError, match=r"it lists: AccessDenied: not authorized to perform: sts:AssumeRole"):
        await call("it lists", client.describe_log_groups)
    client.close()


async def test_a_profile_gives_credentials_and_a_region(
    way: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").write_text(
        "[profile ops]\naws_access_key_id = of-the-profile\naws_secret_access_key = hunter22\nregion = eu-west-1\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.delenv("AWS_DEFAULT_REGION")

    client = await connect_client("logs", AwsOptions(profile="ops"), setting="logs.x.options")
    await call("it lists", client.describe_log_groups)

    assert client.meta.region_name == "eu-west-1"
    assert key_of(way, 0) == "of-the-profile"
    with pytest.raises(SettingsError, match=r"logs\.x\.options\.profile: AWS's own files have no profile") as caught:
        await connect_client("logs", AwsOptions(profile="absent"), setting="logs.x.options")
    assert caught.value.setting == "logs.x.options.profile"
    client.close()


async def test_the_event_loop_goes_on_while_a_client_is_made_and_asks(
    way: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_on: list[threading.Thread] = []
    asked_on: list[threading.Thread] = []
    import botocore.session  # type: ignore[import-untyped]

    made = botocore.session.Session.create_client

    def create(self: object, *arguments: object, **named: object) -> object:
        made_on.append(threading.current_thread())
        return made(self, *arguments, **named)

    monkeypatch.setattr(botocore.session.Session, "create_client", create)
    client = await connect_client("logs", AwsOptions(region="eu-central-1"), setting="logs.x.options")
    client.meta.events.register("before-send", lambda **_: asked_on.append(threading.current_thread()))

    await asyncio.gather(*(call("it lists", client.describe_log_groups) for _ in range(4)))

    assert len(made_on) == 1
    assert len(asked_on) == 4
    assert threading.main_thread() not in {*made_on, *asked_on}
    client.close()
