"""What the role that Turnout runs with has to be allowed follows from the settings, and asks for nothing and nobody."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from turnout.errors import SettingsError
from turnout.interfaces.opening import Openable, Opening
from turnout.interfaces.permission import Permission
from turnout_aws.cloudwatch_logs import CloudWatchLogs
from turnout_aws.kms_keys import KmsKeyWrapper
from turnout_aws.ses_notifier import SesNotifier
from turnout_aws.sns_notifier import SnsNotifier

ROLE = "arn:aws:iam::123456789012:role/turnout"
TOPIC = "arn:aws:sns:eu-central-1:123456789012:alerts"
KEY = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd"
HERE = "arn:${AWS::Partition}:%s:${AWS::Region}:${AWS::AccountId}:"
MAIL = {"from": "alerts@shop.example", "to": ["ops@shop.example"]}
LOGS = ("logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents")
KMS = ("kms:Encrypt", "kms:Decrypt", "kms:DescribeKey")


def permissions(kind: type[Openable], **options: Any) -> list[Permission]:
    return list(kind.permissions(Opening(directory=Path(), table="t", name="x", options=options)))


@pytest.mark.parametrize(
    ("kind", "options", "actions", "resources"),
    [
        (
            CloudWatchLogs,
            {"group": "/turnout/prod"},
            LOGS,
            (HERE % "logs" + "log-group:/turnout/prod", HERE % "logs" + "log-group:/turnout/prod:*"),
        ),
        (
            CloudWatchLogs,
            {"group": "g", "region": "eu-west-1", "retention_days": 7},
            (*LOGS, "logs:PutRetentionPolicy"),
            tuple(
                f"arn:${{AWS::Partition}}:logs:eu-west-1:${{AWS::AccountId}}:{one}"
                for one in ("log-group:g", "log-group:g:*")
            ),
        ),
        (
            SesNotifier,
            {**MAIL, "configuration_set": "alerts"},
            ("ses:SendEmail",),
            tuple(
                HERE % "ses" + one
                for one in ("identity/alerts@shop.example", "identity/shop.example", "configuration-set/alerts")
            ),
        ),
        (SnsNotifier, {"phone": "+4915112345678"}, ("sns:Publish",), ("*",)),
        (SnsNotifier, {"topic": TOPIC}, ("sns:Publish",), (TOPIC,)),
        (KmsKeyWrapper, {"key_id": KEY, "former_key_ids": ["5678"]}, KMS, (KEY, HERE % "kms" + "key/5678")),
        (KmsKeyWrapper, {"key_id": "alias/turnout"}, KMS, (HERE % "kms" + "key/*",)),
        (CloudWatchLogs, {"group": "g", "role": ROLE}, ("sts:AssumeRole",), (ROLE,)),
        (SnsNotifier, {"phone": "+4915112345678", "role": ROLE}, ("sts:AssumeRole",), (ROLE,)),
    ],
)
def test_what_is_needed_is_named_and_no_more(
    kind: type[Openable], options: dict[str, Any], actions: tuple[str, ...], resources: tuple[str, ...]
) -> None:
    assert permissions(kind, **options) == [Permission(actions=actions, resources=resources)]


def test_an_option_that_is_wrong_is_named() -> None:
    with pytest.raises(SettingsError, match=r"t\.x\.group: it must be set"):
        permissions(CloudWatchLogs)
