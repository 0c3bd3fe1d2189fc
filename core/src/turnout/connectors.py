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
from turnout.interfaces.service import Request, Response
from turnout.model.payload import File
from turnout.values import Value

__all__ = [
    "API_VERSION",
    "Action",
    "ActionContext",
    "AfterCrash",
    "ConnectionType",
    "Connector",
    "Effect",
    "Effects",
    "File",
    "Inputs",
    "Request",
    "Response",
    "StepError",
    "StepTimeout",
    "Trigger",
    "TriggerEvent",
    "Value",
]
