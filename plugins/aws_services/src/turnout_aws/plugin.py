"""The entry point: what this distribution provides. It loads none of it until it is asked."""

from __future__ import annotations

__all__: list[str] = []
