"""The real provider of these tests: oidc-provider on the pinned Node, its packages by a lockfile."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

import httpx
import pytest
from turnout.errors import BackendError
from turnout.local.npm import install, read_lockfile
from turnout.sandbox.node import node_binary

__all__ = ["Provider", "installed_provider", "started_provider"]

HERE = Path(__file__).parent / "provider"


@dataclass(frozen=True, slots=True)
class Provider:
    """One that runs at `issuer`."""

    issuer: str

    def control(self, what: str = "counts", **given: str) -> dict[str, Any]:
        """What it counted; `faults` are its next answers at the token endpoint, `hold` keeps requests or answers there."""
        found: dict[str, Any] = (
            httpx.post(f"{self.issuer}/control/{what}", content=urlencode(given)).raise_for_status().json()
        )
        return found

    def fail(self, *faults: Mapping[str, object]) -> None:
        self.control("faults", faults=json.dumps(faults))

    def api(self, token: str) -> int:
        """The status that the provider's API answers with to who brings a token."""
        return httpx.get(f"{self.issuer}/api/orders", headers={"authorization": f"Bearer {token}"}).status_code

    @property
    def counts(self) -> dict[str, int]:
        counts: dict[str, int] = self.control()["counts"]
        return counts

    async def held(self, count: int = 1) -> None:
        """Return once so many requests are held."""
        async with asyncio.timeout(60):
            while (await asyncio.to_thread(self.control))["held"] < count:
                await asyncio.sleep(0.01)

    async def authorize(self, url: str, *, login: str = "ada") -> dict[str, str]:
        """What a person does in a browser: sign in and agree. The parameters that the provider sends the browser back with."""
        async with httpx.AsyncClient() as browser:
            answer = await browser.get(url)
            for _ in range(10):
                target = answer.headers.get("location", "")
                if "/oauth/callback" in urlsplit(target).path:
                    return dict(parse_qsl(urlsplit(target).query, keep_blank_values=True))
                if target:
                    answer = await browser.get(urljoin(str(answer.url), target))
                    continue
                action, prompt = _form(answer.text)
                fields = {"prompt": prompt, "login": login, "password": "any"}
                answer = await browser.post(urljoin(str(answer.url), action), data=fields)
        raise AssertionError(f"the provider did not send the browser back: {answer.status_code} {answer.text[:500]}")


def _form(page: str) -> tuple[str, str]:
    action = re.search(r'<form[^>]* action="([^"]+)"', page)
    prompt = re.search(r'name="prompt" value="([^"]+)"', page)
    assert action, page
    assert prompt, page
    return unescape(action[1]), prompt[1]


async def installed_provider(directory: Path) -> Path:
    """The layer of its packages, with its program in it."""
    try:
        layer = await install(read_lockfile(HERE / "package-lock.json", "package-lock.json"), directory)
    except BackendError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"the provider's packages cannot be installed: {error}")
    (layer / "provider.mjs").write_bytes((HERE / "provider.mjs").read_bytes())
    return layer


@contextlib.contextmanager
def started_provider(layer: Path, **options: object) -> Iterator[Provider]:
    """It runs until the end of this."""
    errors = layer / "provider.log"
    with errors.open("ab") as log:
        process = subprocess.Popen(
            [node_binary(), str(layer / "provider.mjs"), json.dumps(options)],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    assert process.stdout is not None
    try:
        address = process.stdout.readline().strip()
        assert address, errors.read_text()
        yield Provider(address)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
