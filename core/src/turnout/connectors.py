"""What a connector is written with: everything its author imports comes from here."""

from turnout.errors import StepError, StepTimeout
from turnout.interfaces.connector import (
    API_VERSION,
    Action,
    ActionContext,
    AfterCrash,
    ConnectionType,
    Connector,
    Effect,
    Effects,
    Inputs,
    Trigger,
    TriggerEvent,
)
from turnout.interfaces.connector_source import DESCRIPTIONS, ConnectorSource
from turnout.interfaces.oauth import ClientAuthentication, Grant, OAuth2, OAuth2Provider
from turnout.interfaces.polling import Found, Poll, PollingTrigger
from turnout.interfaces.schemes import SCHEMES, Scheme
from turnout.interfaces.service import Request, Response
from turnout.interfaces.signatures import Basic, Certificate, Signature, Token
from turnout.model.payload import File
from turnout.values import Value

__all__ = [
    "API_VERSION",
    "DESCRIPTIONS",
    "SCHEMES",
    "Action",
    "ActionContext",
    "AfterCrash",
    "Basic",
    "Certificate",
    "ClientAuthentication",
    "ConnectionType",
    "Connector",
    "ConnectorSource",
    "Effect",
    "Effects",
    "File",
    "Found",
    "Grant",
    "Inputs",
    "OAuth2",
    "OAuth2Provider",
    "Poll",
    "PollingTrigger",
    "Request",
    "Response",
    "Scheme",
    "Signature",
    "StepError",
    "StepTimeout",
    "Token",
    "Trigger",
    "TriggerEvent",
    "Value",
]
