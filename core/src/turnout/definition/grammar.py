"""The surface of a definition as one table: which keys stand where, of which type, and what they mean.

The loader reads YAML by it and the JSON Schema is made from it, so that the two cannot drift apart. The canonical
form is what the table says; the few other spellings that are read stand here too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from turnout.definition import webhook_grammar as webhooks
from turnout.definition.schedule_grammar import SCHEDULE
from turnout.definition.shapes import (
    Choice,
    Condition,
    Data,
    Duration,
    EitherOf,
    Flag,
    Key,
    Kind,
    ListOf,
    MapOf,
    Number,
    OrFlag,
    Shape,
    Special,
    Text,
    Type,
)
from turnout.model.definition import LANGUAGES, Backoff, ConfigType, OnCrash
from turnout.model.limits import Per

__all__ = [
    "CODE",
    "CONNECTOR_TRIGGER",
    "HANDLER",
    "ID",
    "IDENTIFIER",
    "INTEGRATION",
    "KINDS",
    "LIMITS",
    "MOST",
    "NAME",
    "PRIORITY",
    "STEP",
    "STEPS",
    "SYNONYMS",
    "TRIGGERS",
]

NAME: Final = r"[A-Za-z0-9_][A-Za-z0-9_-]{0,99}"
"""Of integrations, flows, connections and config variables: they stand in addresses."""
ID: Final = r"[A-Za-z_][A-Za-z0-9_-]{0,99}"
"""Of steps and arms."""
IDENTIFIER: Final = r"[A-Za-z_][A-Za-z0-9_]{0,99}"
"""Of what a loop calls its item: it is a root of expressions."""


STEPS: Final = Special("steps")
HANDLER: Final = Special("handler")
_DESCRIPTION: Final = Key(name="description", type=Text(empty=True), doc="For people.")
_INPUTS: Final = Key(name="with", type=Data(), doc="The inputs. Text in it may hold `${{ }}`.")

CONFIG: Final = Shape(
    "a config variable",
    (
        Key(name="type", type=Choice(tuple(ConfigType), "type"), doc="What values it takes; `string` unless said."),
        _DESCRIPTION,
        Key(name="default", type=Data(), doc="The value where an instance sets none."),
        Key(name="required", type=Flag(), doc="Whether an instance must set it; true unless there is a default."),
        Key(name="choices", type=ListOf(Data()), doc="The only values allowed."),
    ),
    short="type",
)

CONNECTION: Final = Shape(
    "a connection",
    (
        Key(name="connector", type=Text(), doc="The connector it is for.", required=True),
        Key(name="type", type=Text(), doc="The connection type, where the connector has several."),
        _DESCRIPTION,
    ),
    short="connector",
)

PYTHON_SETTINGS: Final = Shape(
    "`python`",
    (
        Key(
            name="requirements",
            type=Text(),
            doc="The pinned requirements of the code steps in Python, each with its hashes, relative to this file.",
            required=True,
        ),
    ),
    short="requirements",
)
CODE_SETTINGS: Final = Shape(
    "`code`",
    (
        Key(name="dependencies", type=Text(), doc="The npm lockfile of the code steps, relative to this file."),
        Key(name="python", type=PYTHON_SETTINGS, doc="Settings of the code steps in Python."),
        Key(
            name="hosts",
            type=ListOf(Text(), single=True),
            doc="The hosts that code steps may reach: names, addresses, networks, or `${{ config.… }}` that gives a host or URL.",
        ),
    ),
)

MOST: Final = Number(1, 1_000_000, integer=True, expression=True)
PRIORITY: Final = Number(-1000, 1000, integer=True, expression=True)
_PER: Final = Key(
    name="per",
    type=Choice(tuple(Per), "per"),
    doc="Which executions count together: those of the `flow`, of the whole `instance`, or of the `customer`; `flow` unless said.",
)
_LIMIT_KEY: Final = Key(
    name="key",
    type=Data(),
    doc="An expression: executions with an equal value count together, within `per`; all of them unless said.",
)
LIMITS: Final = Shape(
    "`limits`",
    (
        Key(
            name="concurrency",
            type=ListOf(
                Shape(
                    "`concurrency`",
                    (Key(name="most", type=MOST, doc="How many at once.", required=True), _PER, _LIMIT_KEY),
                    short="most",
                ),
                single=True,
            ),
            doc="How many executions run at once: a number, or more exactly; a list where several limits hold.",
        ),
        Key(
            name="rate",
            type=ListOf(
                Shape(
                    "`rate`",
                    (
                        Key(name="most", type=MOST, doc="How many begin within the window.", required=True),
                        Key(name="window", type=Duration(), doc="Any time of this length.", required=True),
                        _PER,
                        _LIMIT_KEY,
                    ),
                ),
                single=True,
            ),
            doc="How many executions begin within a window of time; a list where several limits hold.",
        ),
        Key(
            name="order",
            type=Shape("`order`", (_LIMIT_KEY, _PER), short="key"),
            doc="One at a time and in the order in which they were accepted, for equal values of an expression.",
        ),
        Key(
            name="debounce",
            type=Shape(
                "`debounce`",
                (
                    Key(name="wait", type=Duration(), doc="How long after the newest.", required=True),
                    Key(name="longest", type=Duration(), doc="How long after the first at the latest."),
                    _PER,
                    _LIMIT_KEY,
                ),
                short="wait",
            ),
            doc="Run only the newest of those that come shortly after each other; the others end as `cancelled`.",
        ),
        Key(
            name="deduplicate",
            type=Shape(
                "`deduplicate`",
                (
                    Key(
                        name="key",
                        type=Data(),
                        doc="An expression: requests with an equal value are one execution.",
                        required=True,
                    ),
                    Key(name="window", type=Duration(), doc="For how long; 24h unless said."),
                ),
                short="key",
            ),
            doc="Start one execution for all requests with an equal value of an expression.",
        ),
        Key(
            name="priority",
            type=PRIORITY,
            doc="Of the customer's executions that could begin, the highest is first; 0 unless said.",
        ),
    ),
)

FLOW: Final = Shape(
    "a flow",
    (
        _DESCRIPTION,
        Key(
            name="trigger",
            type=Special("trigger"),
            doc="What starts it: `webhook`, `schedule`, `call`, `on_deploy`, `on_delete` or a connector's trigger.",
        ),
        Key(name="timeout", type=Duration(), doc="From its acceptance to the end, waits included."),
        Key(name="limits", type=LIMITS, doc="How many executions run at once, how fast they begin, in which order."),
        Key(name="steps", type=STEPS, doc="What it does, in order.", required=True),
    ),
)

INTEGRATION: Final = Shape(
    "an integration",
    (
        Key(name="integration", type=Text(NAME, "a name"), doc="Its name.", required=True),
        Key(name="version", type=Text(), doc="Its version, raised with each release."),
        _DESCRIPTION,
        Key(name="config", type=MapOf(CONFIG, NAME, "config variable"), doc="Values that each instance sets."),
        Key(
            name="connections", type=MapOf(CONNECTION, NAME, "connection"), doc="Connections that each instance fills."
        ),
        Key(name="code", type=CODE_SETTINGS, doc="Settings of all code steps."),
        Key(name="flows", type=MapOf(FLOW, NAME, "flow", required=True), doc="Its flows by name.", required=True),
    ),
    extensions=True,
)

_CONNECTION_NAME: Final = Key(name="connection", type=Text(), doc="The name of a connection.")

_POLLED: Final = Key(name="every", type=Duration(), doc="How often it is polled, where it is a polling trigger.")

CONNECTOR_TRIGGER: Final = Shape(
    "a connector's trigger", (_CONNECTION_NAME, _INPUTS, _POLLED, webhooks.RESPOND_KEY, webhooks.CORS_KEY), empty=True
)
TRIGGERS: Final[Mapping[str, Type]] = {
    "webhook": webhooks.WEBHOOK,
    "schedule": SCHEDULE,
    "call": Shape("`call`", (), empty=True),
    "on_deploy": Shape("`on_deploy`", (), empty=True),
    "on_delete": Shape("`on_delete`", (), empty=True),
}

RETRY: Final = Shape(
    "`retry`",
    (
        Key(
            name="attempts",
            type=Number(1, 1000, integer=True),
            doc="How often in all, the first time included; 3 unless said.",
        ),
        Key(name="delay", type=Duration(), doc="The wait before the second attempt; 1s unless said."),
        Key(
            name="backoff", type=Choice(tuple(Backoff), "backoff"), doc="How the wait grows; `exponential` unless said."
        ),
        Key(name="max_delay", type=Duration(), doc="The longest wait; 5m unless said."),
        Key(name="jitter", type=Number(0, 1, flag=True), doc="The share of the wait that is random; 0.1 unless said."),
        Key(
            name="errors",
            type=ListOf(Text(), single=True),
            doc="Kinds of errors to retry (`timeout`, `http_5xx`, `TypeError`, or a status such as 503); all retryable ones unless said.",
        ),
    ),
    short="attempts",
)

STEP: Final[tuple[Key, ...]] = (
    Key(
        name="id",
        type=Text(ID, "an id"),
        doc="Its name, unique in the flow: `steps.<id>` is its output.",
        required=True,
    ),
    _DESCRIPTION,
    Key(name="when", type=Condition(), doc="An expression; where it is falsy the step is skipped."),
    Key(name="retry", type=RETRY, doc="Try again when it fails: a number of attempts, or more exactly."),
    Key(name="timeout", type=Duration(), doc="How long it may take."),
    Key(
        name="on_error",
        type=EitherOf(Choice(("fail", "continue"), "on_error"), HANDLER),
        doc="When it has failed for good: `fail` the flow, `continue` with null, or run these steps, which see `error`.",
    ),
    Key(
        name="on_crash",
        type=Choice((OnCrash.RETRY.value, OnCrash.PARK.value), "on_crash"),
        doc="When a crash leaves open whether it took effect: `retry` it, or `park` the execution for a person.",
    ),
)

CODE: Final = Shape(
    "`code`",
    (
        Key(name="file", type=Text(), doc="An ES module or a Python module, relative to this file."),
        Key(name="source", type=Text(), doc="A module, as text.", also=("inline",)),
        Key(
            name="language",
            type=Choice(LANGUAGES, "language"),
            doc="The language of `source`; `javascript` unless said. A file's is known by its suffix.",
        ),
    ),
)
_LOOP: Final = Shape(
    "`loop`",
    (
        Key(name="over", type=Data(), doc="A list, or an expression that gives one."),
        Key(
            name="as",
            type=Text(IDENTIFIER, "a name"),
            doc="What the item is called in expressions; `item` unless said.",
        ),
        Key(name="while", type=Condition(), doc="In place of `over`: repeat as long as this holds. Needs `limit`."),
        Key(
            name="limit",
            type=Number(1, 1_000_000, integer=True),
            doc="How often `while` may repeat.",
            also=("max", "bound", "max_iterations"),
        ),
        Key(
            name="concurrency",
            type=Number(1, 1000, integer=True),
            doc="How many items at the same time; 1 unless said.",
        ),
        Key(
            name="collect", type=Data(), doc="Evaluated at the end of each item: the loop's output is the list of them."
        ),
        Key(name="steps", type=STEPS, doc="What to do for each item.", required=True),
    ),
    short="over",
)
_CALL: Final = Shape(
    "`call`", (Key(name="flow", type=Text(), doc="A flow of this integration.", required=True), _INPUTS), short="flow"
)
_CALLBACK: Final = Shape(
    "`callback`",
    (Key(name="timeout", type=Duration(), doc="How long to wait for the callback."),),
    short="timeout",
    empty=True,
)
_WAIT: Final = Shape(
    "`wait`",
    (
        Key(name="for", type=Duration(expression=True), doc="This long."),
        Key(name="until", type=Text(), doc="Until this time: ISO 8601, or an expression that gives it."),
        Key(
            name="callback",
            type=OrFlag(_CALLBACK),
            doc="Until something is posted to the step's callback URL.",
        ),
        Key(
            name="timeout", type=Duration(), doc="How long to wait for the callback; the same as the step's `timeout`."
        ),
    ),
    short="for",
)
_STOP: Final = Shape(
    "`stop`",
    (
        Key(name="output", type=Data(), doc="What the flow gives back."),
        Key(name="error", type=Text(), doc="Fail, with this text."),
    ),
    empty=True,
)

KINDS: Final[Mapping[str, Kind]] = {
    kind.name: kind
    for kind in (
        Kind(
            name="action",
            doc="An action of a connector: `connector.action`.",
            block=Text(),
            beside=(_CONNECTION_NAME, _INPUTS),
        ),
        Kind(
            name="code",
            doc="JavaScript or Python: a file (one line that ends in .js, .mjs or .py), or a JavaScript module's text.",
            block=EitherOf(Text(), CODE),
            beside=(
                Key(
                    name="connections",
                    type=ListOf(Text(), single=True),
                    doc="Connections whose credentials the code may use, by name: `context.connections`.",
                ),
                _INPUTS,
            ),
        ),
        Kind(
            name="branch",
            doc="A list of `{when, steps}`; the first that holds runs. `{else: steps}` comes last.",
            block=Special("branch"),
            beside=(Key(name="else", type=HANDLER, doc="What to do where no `when` holds."),),
        ),
        Kind(name="loop", doc="Steps for each item of a list, or as long as something holds.", block=_LOOP),
        Kind(name="parallel", doc="Named lists of steps that run at the same time.", block=Special("arms")),
        Kind(name="call", doc="Another flow of this integration, as a sub-execution.", block=_CALL, beside=(_INPUTS,)),
        Kind(name="wait", doc="Leave the worker for a time, until a time, or until a callback.", block=_WAIT),
        Kind(name="stop", doc="End the flow.", block=_STOP),
    )
}

SYNONYMS: Final[Mapping[str, tuple[str, ...]]] = {
    "name": ("id", "integration"),
    "if": ("when",),
    "condition": ("when", "while"),
    "input": ("with",),
    "inputs": ("with",),
    "params": ("with",),
    "args": ("with",),
    "uses": ("action",),
    "then": ("steps",),
    "do": ("steps",),
    "foreach": ("loop",),
    "for_each": ("loop",),
    "items": ("over",),
    "max": ("max_delay", "most", "longest"),
    "times": ("limit",),
    "max_rounds": ("limit",),
    "cases": ("arms",),
    "case": ("when",),
    "branches": ("arms",),
    "default": ("else",),
    "otherwise": ("else",),
    "cron": ("schedule",),
    "every": ("schedule",),
    "timer": ("schedule",),
    "http": ("webhook",),
    "manual": ("call",),
    "message": ("error",),
    "text": ("source",),
    "factor": ("backoff",),
    "duration": ("for", "window"),
    "parallelism": ("concurrency",),
    "var": ("as",),
    "each": ("over",),
    "script": ("code",),
    "run": ("code",),
    "sleep": ("wait",),
    "delay": ("wait",),
    "switch": ("branch",),
    "choose": ("branch",),
    "return": ("stop",),
    "end": ("stop",),
    "max_attempts": ("attempts",),
    "enum": ("choices",),
    "concurrency": ("limits",),
    "concurrency_limit": ("concurrency", "limits"),
    "throttle": ("rate", "limits"),
    "rate_limit": ("rate", "limits"),
    "ratelimit": ("rate", "limits"),
    "rate": ("limits",),
    "debounce": ("limits",),
    "fifo": ("order",),
    "queue": ("limits",),
    "idempotency": ("deduplicate",),
    "idempotency_key": ("deduplicate",),
    "dedupe": ("deduplicate",),
    "deduplication": ("deduplicate",),
    "count": ("most",),
    "limit": ("most", "limits"),
    "max_runs": ("most",),
    "scope": ("per",),
    "group": ("key", "per"),
    "expression": ("key",),
    "by": ("key",),
    "period": ("window", "wait"),
    "ttl": ("window",),
    "catch": ("on_error",),
    "connection": ("connections",),
    "allowed_hosts": ("hosts",),
    "egress": ("hosts",),
    "network": ("hosts",),
    "allow": ("hosts",),
    "secret": ("connection",),
    "secrets": ("connection", "fields"),
    "signature": ("verify",),
    "auth": ("verify",),
    "authentication": ("verify",),
    "hmac": ("verify",),
    "provider": ("scheme",),
    "response": ("respond",),
    "reply": ("respond",),
    "status_code": ("status",),
    "method": ("methods",),
    "origins": ("cors",),
}
"""What other systems call things, for hints; they are not read."""
