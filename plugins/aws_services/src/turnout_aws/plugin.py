"""The entry point: what this distribution provides. It loads none of it until it is asked, and boto3 not before it is used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from turnout.hookspecs import hookimpl

if TYPE_CHECKING:
    import click

__all__: list[str] = []


@hookimpl
def turnout_stores() -> Mapping[str, type]:
    from turnout_aws.cloudwatch_logs import CloudWatchLogs
    from turnout_aws.cloudwatch_metrics import CloudWatchMetrics
    from turnout_aws.kms_keys import KmsKeyWrapper
    from turnout_aws.secrets_manager import AwsSecrets
    from turnout_aws.ses_notifier import SesNotifier
    from turnout_aws.sns_notifier import SnsNotifier

    return {
        "alerts:ses": SesNotifier,
        "alerts:sns": SnsNotifier,
        "keys:kms": KmsKeyWrapper,
        "logs:cloudwatch": CloudWatchLogs,
        "metrics:cloudwatch": CloudWatchMetrics,
        "secrets:aws-secretsmanager": AwsSecrets,
    }


@hookimpl
def turnout_commands() -> Mapping[str, click.Command]:
    from turnout_aws.deploying.commands import deploy, destroy, status

    return {"deploy": deploy, "destroy": destroy, "status": status}
