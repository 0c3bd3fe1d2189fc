"""The network of sandboxed processes: a broker outside that parses, checks, completes and logs each request they make."""

from turnout_ecs.egress.broker import Broker
from turnout_ecs.egress.limits import EgressLimits
from turnout_ecs.egress.upstream import verifying_context

__all__ = ["Broker", "EgressLimits", "verifying_context"]
