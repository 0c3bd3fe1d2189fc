"""The ingress: webhooks and callbacks, proved, persisted, and only then answered."""

from turnout.services.ingress.callbacks import CallbackUrls
from turnout.services.ingress.gate import may_start
from turnout.services.ingress.service import Ingress

__all__ = ["CallbackUrls", "Ingress", "may_start"]
