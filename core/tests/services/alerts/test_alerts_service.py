"""The alerts service keeps the promises of services."""

from __future__ import annotations

from typing import Any

import pytest
from turnout.config import AlertKind, AlertRule
from turnout.services.alerts.service import Alerts
from turnout.testing.service import ServiceContract

from core.tests.services.alerts.alert_yard import AlertYard


class TestAlerts(ServiceContract):
    @pytest.fixture
    def alert_yard(self) -> AlertYard:
        rules = {kind.value: AlertRule(kind=kind, channels=("ops",), longer_than_s=5.0) for kind in AlertKind}
        return AlertYard(rules=rules)

    @pytest.fixture
    def service(self, alert_yard: AlertYard) -> Alerts:
        return alert_yard.service

    @pytest.fixture
    def effects(self, alert_yard: AlertYard) -> Any:
        async def written() -> object:
            return [repr(alert) for alert in await alert_yard.alerts()], len(alert_yard.ops.sent)

        return written
