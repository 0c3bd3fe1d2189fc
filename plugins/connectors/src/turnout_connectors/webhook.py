"""Connections for webhooks: what a flow's `verify` checks the senders' requests with. There are no actions."""

from __future__ import annotations

from pydantic import Field, SecretStr
from turnout.connectors import ConnectionType, Connector

__all__ = ["Login", "Secret", "Topic", "connector"]

connector = Connector(
    "webhook",
    title="Webhooks",
    description="The secrets that senders of webhooks prove themselves with, for a trigger's `verify`.",
    docs="https://www.standardwebhooks.com",
)


class _Secrets(ConnectionType):
    """They are for requests that come in: no code step may send them anywhere."""

    def hosts(self) -> tuple[str, ...]:
        return ()


class Secret(_Secrets):
    """A secret that the sender signs with, or sends as a key."""

    secret: SecretStr = Field(min_length=1, description="The secret, as the sender has it")
    previous: SecretStr | None = Field(
        default=None, description="The one before, while the sender is being changed: both are good"
    )
    verify_token: SecretStr | None = Field(
        default=None, description="Meta: the verify token that its subscription is confirmed with"
    )


class Login(_Secrets):
    """A name and a password."""

    username: str = Field(min_length=1, description="The user's name")
    password: SecretStr = Field(min_length=1, description="The password")
    previous: SecretStr | None = Field(default=None, description="The password before: both are good")


class Topic(_Secrets):
    """A topic of AWS SNS, whose messages are signed with a certificate of AWS's."""

    topic_arn: str = Field(min_length=1, description="The topic's ARN, `arn:aws:sns:eu-central-1:123456789012:orders`")


connector.connection("secret", Secret)
connector.connection("login", Login)
connector.connection("topic", Topic)
