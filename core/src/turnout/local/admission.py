"""What this project's settings cannot run is refused when it is published or deployed: it would fail every execution."""

from __future__ import annotations

from turnout.config import Settings
from turnout.deploy.queue_fit import flow_fault
from turnout.engine.backends import Bundle
from turnout.engine.egress import no_broker
from turnout.engine.engine import Engine
from turnout.errors import SettingsError
from turnout.interfaces.queue import Queue
from turnout.interfaces.sandbox import Sandbox
from turnout.model.definition import CodeStep, Integration, language_of, walk

__all__ = ["Admission"]


class Admission:
    """Asks the queue and the sandbox what they can do. Every check raises `SettingsError`, which names the setting."""

    def __init__(self, settings: Settings, queue: Queue, sandbox: Sandbox, engine: Engine) -> None:
        self._settings = settings
        self._queue = queue
        self._sandbox = sandbox
        self._engine = engine

    def check(self, integration: Integration) -> None:
        """What can be known of a definition."""
        self._require_limits(integration)
        self._require_broker(integration)
        self._require_languages(integration)

    def check_bundle(self, bundle: Bundle) -> None:
        """What can be known of a definition with its code."""
        self.check(bundle.integration)
        self._require_native(bundle)
        for flow in bundle.integration.flows:
            self._engine.plan(bundle, flow)

    def _require_limits(self, integration: Integration) -> None:
        """Limits that the queue cannot keep are refused here: it would refuse every execution that has one."""
        for flow in integration.flows.values():
            if fault := flow_fault(flow, self._queue):
                raise SettingsError(
                    f"flow {flow.name!r} of {integration.name!r} has {fault}, which the queue {self._settings.stores.queue!r} "
                    "does not keep: choose another queue, or remove them",
                    setting="stores.queue",
                )

    def _require_broker(self, integration: Integration) -> None:
        """Code that uses credentials needs a sandbox that keeps them from it."""
        for flow in integration.flows.values() if not self._sandbox.brokers else ():
            for step in walk(flow.steps):
                if isinstance(step, CodeStep) and step.connections:
                    why = no_broker(step.connections, f"the sandbox {self._settings.runner.sandbox!r}")
                    raise SettingsError(
                        f"step {step.id!r} of flow {flow.name!r} of {integration.name!r}: {why}",
                        setting="runner.sandbox",
                    )

    def _require_languages(self, integration: Integration) -> None:
        """Code that the sandbox cannot run is refused here: it would fail every execution that comes to it."""
        sandbox, spoken = self._settings.runner.sandbox, self._sandbox.languages
        for flow in integration.flows.values():
            for step in walk(flow.steps):
                if isinstance(step, CodeStep) and (language := language_of(step)) not in spoken:
                    raise SettingsError(
                        f"step {step.id!r} of flow {flow.name!r} of {integration.name!r} is in {language}, which the sandbox "
                        f"{sandbox!r} does not run: it has {', '.join(sorted(spoken))}",
                        setting="runner.sandbox",
                    )

    def _require_native(self, bundle: Bundle) -> None:
        if bundle.code.native and not self._sandbox.loads_native:
            raise SettingsError(
                f"the Python packages {', '.join(bundle.code.native)} of {bundle.integration.name!r} have extension modules, "
                f"which the sandbox {self._settings.runner.sandbox!r} does not load: its processes can open no files. Take "
                "packages that are Python alone",
                setting="runner.sandbox",
            )
