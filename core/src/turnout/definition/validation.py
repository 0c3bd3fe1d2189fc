"""Everything that can be known to be wrong with an integration before it runs."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Final

from turnout.definition.action_checks import ActionChecks
from turnout.definition.config_checks import config_faults
from turnout.definition.host_checks import host_faults
from turnout.definition.limit_checks import LimitChecks
from turnout.definition.places import Places
from turnout.definition.references import References
from turnout.definition.schedules import schedule_faults
from turnout.definition.structure import Structure
from turnout.definition.webhook_checks import WebhookChecks
from turnout.errors import Problem
from turnout.interfaces.connector import Connector
from turnout.model.definition import Integration

__all__ = ["validate"]

_MOST: Final = 200
"""Wrong references told of one flow: each is compared with all names to find the nearest."""


def validate(integration: Integration, connectors: Mapping[str, Connector]) -> list[Problem]:
    """All problems (of references the first 200 of a flow), in the order of the file; an integration without any of severity `error` can be deployed.

    `connectors` are those installed, by name. Names and literal values are checked wherever they stand; what an
    expression will give is not known. A `warning` is what may be meant, or what cannot do harm: a config variable that
    nothing reads, a step that never runs, a callback that is waited for without end. A connection that nothing uses
    is an error, because each customer would have to fill it.
    """
    places = Places(integration)
    structure = Structure(integration, places)
    actions = ActionChecks(integration, connectors, places)
    references = References(integration, connectors, places)
    limits = LimitChecks(integration, places, references.config_fault)
    hooks = WebhookChecks(integration, connectors, places, references.config_fault)
    problems = [*structure.names(), *config_faults(integration, places), *actions.connections()]
    problems += host_faults(integration, places, references.config_fault)
    read_whole = True
    for flow in integration.flows.values():
        problems += structure.check(flow)
        problems += schedule_faults(flow, places, references.config_fault)
        problems += limits.check(flow)
        problems += hooks.check(flow)
        problems += actions.check(flow)
        found = list(islice(references.check(flow), _MOST))
        read_whole = read_whole and len(found) < _MOST
        problems += found
    problems += [*structure.calls(), *limits.shared()]
    problems += [
        places.problem(
            f"config variable {name!r} is read by no expression",
            ways=(("config", name),),
            at_key=True,
            severity="warning",
        )
        for name in integration.config
        if read_whole and name not in references.config_used
    ]
    unique = dict.fromkeys(problems)
    return sorted(unique, key=lambda problem: (problem.file, problem.line, problem.column))
