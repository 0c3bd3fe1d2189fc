"""The price table: a file with the date, the region and the source of each price, which a file of one's own replaces."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from turnout.definition.nearest import hint_for
from turnout.errors import SettingsError

__all__ = ["PriceTable", "Prices", "read_prices"]

_SHIPPED: Final = Path(__file__).with_name("prices.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """US dollars for the unit that each name says."""

    lambda_requests_per_million: float
    lambda_x86_per_gb_s: float
    lambda_arm_per_gb_s: float
    sqs_requests_per_million: float
    scheduler_calls_per_million: float
    fargate_x86_per_vcpu_h: float
    fargate_x86_per_gb_h: float
    fargate_arm_per_vcpu_h: float
    fargate_arm_per_gb_h: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceTable:
    """Prices of a `region`, the `date` (ISO) when they were looked up, and where each was read."""

    region: str
    date: str
    prices: Prices
    sources: Mapping[str, str]


def read_prices(path: Path | None = None) -> PriceTable:
    """The prices of a file, or those that come with Turnout. `SettingsError` names the file and the line or the setting."""
    file = path or _SHIPPED
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: the prices cannot be read: {error}", setting="--prices") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{file}: this is not TOML: {error}", setting="--prices") from error
    table = data.get("prices")
    if not isinstance(table, dict):
        raise _fault(file, "prices", "a table of prices is missing: [prices.NAME] with `usd` and `source`")
    names = [field.name for field in fields(Prices)]
    for name in table:
        if name not in names:
            raise _fault(file, f"prices.{name}", f"there is no such price: {hint_for(name, names) or ', '.join(names)}")
    return PriceTable(
        region=_text(file, data, "region", "region"),
        date=_text(file, data, "date", "date"),
        prices=Prices(**{name: _usd(file, table, name) for name in names}),
        sources={name: _text(file, table[name], "source", f"prices.{name}.source") for name in names},
    )


def _usd(file: Path, table: Mapping[str, Any], name: str) -> float:
    entry = table.get(name)
    if not isinstance(entry, dict):
        raise _fault(file, f"prices.{name}", "it is missing: a table with `usd` and `source`")
    usd = entry.get("usd")
    if isinstance(usd, bool) or not isinstance(usd, int | float) or not math.isfinite(usd) or usd < 0:
        raise _fault(file, f"prices.{name}.usd", f"a number of dollars that is not negative is needed, not {usd!r}")
    return float(usd)


def _text(file: Path, table: Mapping[str, Any], key: str, setting: str) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not value:
        raise _fault(file, setting, f"a text is needed, in quotes, not {value!r}")
    return value


def _fault(file: Path, setting: str, message: str) -> SettingsError:
    return SettingsError(f"{file}: {setting}: {message}", setting=setting)
