"""The pages in a real browser: connecting from the link to the end, without scripts, on a telephone, in the dark, by keyboard."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser as Chromium
from playwright.async_api import Page, async_playwright, expect
from turnout.local.asgi import application
from turnout.local.http import HttpServer

from tests.oauth.bench import Bench
from tests.oauth.server import started_provider

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture
async def chromium() -> AsyncIterator[Chromium]:
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("there is no Chromium here: install `chromium`")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=found, args=list(FLAGS))
        try:
            yield browser
        finally:
            await browser.close()


@pytest.fixture
async def served(provider_layer: Path) -> AsyncIterator[Bench]:
    """The service on a port of its own, and a provider that sends browsers back there."""
    apps: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await apps[0](scope, receive, send)

    server = HttpServer(app, host="127.0.0.1", port=0)
    url = f"http://127.0.0.1:{server.port}"
    with started_provider(provider_layer, redirect_uris=[f"{url}/oauth/callback"]) as provider:
        bench = Bench(provider, public_url=url)
        apps.append(application(bench.service.routes(), request_bytes=100_000))
        await server.start()
        try:
            yield bench
        finally:
            await server.stop()
            await bench.close()


async def connect(page: Page, link: str) -> None:
    """What a person does, by what a page says of itself to those who cannot see it."""
    await page.goto(link)
    await page.get_by_role("button", name="Continue to").click()
    await page.get_by_placeholder("Enter any login").fill("ada")
    await page.get_by_placeholder("and password").fill("any")
    await page.get_by_role("button", name="Sign-in").click()
    await page.get_by_role("button", name="Continue").click()


@pytest.mark.parametrize("scripts", [True, False])
async def test_a_person_connects(chromium: Chromium, served: Bench, scripts: bool) -> None:
    context = await chromium.new_context(java_script_enabled=scripts)
    page = await context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(f"{message.location['url']} {message.text}"))
    link = served.service.link("acme", "erp")

    await connect(page, link)

    await expect(page.get_by_role("heading", level=1)).to_contain_text("is connected")
    assert "code=" not in page.url
    assert served.provider.api(await served.token()) == 200
    ours = link.partition("/connect")[0]
    assert [text for text in said if text.startswith(ours)] == [], "nothing of ours is refused"
    await page.goto(link)
    await expect(page.get_by_role("heading", level=1)).to_contain_text("is connected")


async def test_a_person_who_says_no_is_told_and_may_try_again(chromium: Chromium, served: Bench) -> None:
    page = await chromium.new_page()
    await page.goto(served.service.link("acme", "erp"))
    await page.get_by_role("button", name="Continue to").click()
    await page.get_by_role("link", name="[ Cancel ]").click()

    await expect(page.get_by_role("heading", level=1)).to_have_text("Access was not given")
    await page.get_by_role("link", name="Try again").click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text("Connect to")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_page_fits_a_telephone_and_is_readable_in_either_light(
    chromium: Chromium, served: Bench, scheme: Any
) -> None:
    context = await chromium.new_context(viewport={"width": 320, "height": 640}, color_scheme=scheme)
    page = await context.new_page()
    long = "a-name-without-any-place-to-break-it" * 5
    served.book.connections["acme", long] = served.book.connections["acme", "erp"]

    await page.goto(served.service.link("acme", long))

    assert await page.evaluate("document.documentElement.scrollWidth") <= 320
    for selector in ("h1", "dt", "dd", "button", ".quiet"):
        ratio = await page.evaluate(_CONTRAST, selector)
        assert ratio >= 4.5, f"{selector} in {scheme}: {ratio}"
    assert await page.evaluate("document.documentElement.lang") == "en"
    box = await page.get_by_role("button").bounding_box()
    assert box is not None
    assert box["height"] >= 44


async def test_the_page_is_used_by_keyboard(chromium: Chromium, served: Bench) -> None:
    page = await chromium.new_page()
    await page.goto(served.service.link("acme", "erp"))

    await page.keyboard.press("Tab")
    assert await page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    await page.keyboard.press("Enter")

    await expect(page.get_by_placeholder("Enter any login")).to_be_visible()


async def test_no_script_runs_in_our_pages_and_nobody_frames_them(chromium: Chromium, served: Bench) -> None:
    page = await chromium.new_page()
    await page.goto("about:blank")
    await page.evaluate(_INLINE)
    assert await page.evaluate("window.ran") == 1  # the control: elsewhere it runs

    link = served.service.link("acme", "erp")
    await page.goto(link)
    await page.evaluate(_INLINE)
    assert await page.evaluate("window.ran") is None

    await page.goto(f"{served.provider.issuer}/control/counts")
    await page.evaluate(
        "(link) => { const f = document.createElement('iframe'); f.src = link; document.body.append(f) }", link
    )
    await page.wait_for_load_state("networkidle")
    assert "Connect to" not in await page.frames[-1].content()


_INLINE = (
    "() => { const s = document.createElement('script'); s.textContent = 'window.ran = 1'; document.body.append(s) }"
)
_CONTRAST = """(selector) => {
  const light = (text) => {
    const [r, g, b] = text.match(/[\\d.]+/g).slice(0, 3).map((part) => {
      const share = part / 255
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4
    })
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  let behind = document.querySelector(selector)
  const ink = light(getComputedStyle(behind).color)
  while (getComputedStyle(behind).backgroundColor === 'rgba(0, 0, 0, 0)') behind = behind.parentElement
  const paper = light(getComputedStyle(behind).backgroundColor)
  return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05)
}"""
