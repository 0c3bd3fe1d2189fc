"""Connecting, as a browser and those who attack it would: each attack beside the same thing done rightly."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import pytest
from turnout.errors import SettingsError, StepError

from tests.oauth.bench import PUBLIC_URL, Bench, Browser, registration


def text(body: object) -> str:
    assert isinstance(body, bytes)
    return body.decode()


async def test_the_page_says_what_is_connected_and_for_whom_and_shows_no_secret(bench: Bench) -> None:
    page = await Browser(bench.service).open(bench.service.link("acme", "erp"))

    shown = text(page.body)
    assert page.status == 200
    for said in ("acme", "erp", "shop", "openid", "orders", urlsplit(bench.provider.issuer).netloc):
        assert said in shown
    assert "shop-secret-of-the-client" not in shown
    assert "<script" not in shown
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "no-referrer"


async def test_the_way_to_the_provider_has_a_state_and_a_challenge(bench: Bench) -> None:
    asked = parse_qs(urlsplit(await Browser(bench.service).leave(bench.service.link("acme", "erp"))).query)

    assert asked["redirect_uri"] == [f"{PUBLIC_URL}/oauth/callback"]
    assert asked["code_challenge_method"] == ["S256"]
    assert len(asked["code_challenge"][0]) == 43
    assert len(asked["state"][0]) >= 43
    assert asked["scope"] == ["openid orders"]


async def test_names_are_shown_as_they_are_and_never_run(bench: Bench) -> None:
    hostile = '"><script>alert(1)</script>'
    bench.book.connections[hostile, hostile] = registration(bench.provider, scopes=(hostile, "openid"))

    page = await Browser(bench.service).open(bench.service.link(hostile, hostile))

    assert page.status == 200
    assert "<script" not in text(page.body)
    assert "&lt;script&gt;" in text(page.body)


async def test_an_answer_is_worth_nothing_in_another_browser(bench: Bench) -> None:
    """Somebody begins, and has somebody else's browser finish: that person's account would be the attacker's customer's."""
    attacker, victim = Browser(bench.service), Browser(bench.service)
    link = bench.service.link("acme", "erp")
    url = await attacker.leave(link)
    await victim.open(link)  # the victim has a cookie of its own
    answer = await bench.provider.authorize(url, login="victim")

    refused = await victim.callback(answer)
    bare = await Browser(bench.service).callback(answer)

    assert (refused.status, bare.status) == (403, 403)
    assert bench.provider.counts["authorization_code"] == 0
    assert (await attacker.callback(answer)).status == 303  # the control: the browser that began


async def test_an_answer_is_used_once(bench: Bench) -> None:
    browser = Browser(bench.service)
    answer = await bench.provider.authorize(await browser.leave(bench.service.link("acme", "erp")))

    first, again = await browser.callback(answer), await browser.callback(answer)

    assert (first.status, again.status) == (303, 400)
    assert bench.provider.counts["authorization_code"] == 1


async def test_a_state_that_nobody_gave_is_refused(bench: Bench) -> None:
    browser = Browser(bench.service)
    answer = await bench.provider.authorize(await browser.leave(bench.service.link("acme", "erp")))

    for state in ("", "forged", answer["state"][:-1], answer["state"] + "x"):
        assert (await browser.callback({**answer, "state": state})).status == 400
    assert (await browser.callback({name: value for name, value in answer.items() if name != "state"})).status == 400
    assert bench.provider.counts["authorization_code"] == 0
    assert (await browser.callback(answer)).status == 303


async def test_an_answer_that_comes_too_late_is_refused(bench: Bench) -> None:
    browser = Browser(bench.service)
    answer = await bench.provider.authorize(await browser.leave(bench.service.link("acme", "erp")))
    bench.clock.advance(1801)

    assert (await browser.callback(answer)).status == 400
    await bench.tick()
    assert await bench.catalog.entries("oauth-state") == []


async def test_a_code_of_another_authorization_is_worth_nothing(bench: Bench) -> None:
    """A code that was stolen elsewhere is put into an answer that is awaited: its challenge is another verifier's."""
    attacker, victim = Browser(bench.service), Browser(bench.service)
    stolen = await bench.provider.authorize(await victim.leave(bench.service.link("acme", "erp")), login="victim")
    own = await bench.provider.authorize(await attacker.leave(bench.service.link("acme", "erp")), login="mallory")

    injected = await attacker.callback({**own, "code": stolen["code"]})

    assert injected.status == 502
    assert bench.provider.counts["authorization_code"] == 0
    with pytest.raises(StepError, match="nobody has connected it"):
        await bench.token()


async def test_the_same_code_in_its_own_answer_is_taken(bench: Bench) -> None:
    """The control of the one before."""
    victim = Browser(bench.service)
    own = await bench.provider.authorize(await victim.leave(bench.service.link("acme", "erp")), login="victim")

    assert (await victim.callback(own)).status == 303
    assert bench.provider.api(await bench.token()) == 200


@pytest.mark.parametrize("issuer", ["https://honest.example", None, "", "not a url ["])
async def test_an_answer_of_another_issuer_is_refused(bench: Bench, issuer: str | None) -> None:
    """Mix-up: the browser was sent to one provider, and another one answers (RFC 9207)."""
    browser = Browser(bench.service)
    answer = await bench.provider.authorize(await browser.leave(bench.service.link("acme", "erp")))
    mixed = {name: value for name, value in answer.items() if name != "iss"} | (
        {} if issuer is None else {"iss": issuer}
    )

    assert (await browser.callback(mixed)).status == 400
    assert bench.provider.counts["authorization_code"] == 0


@pytest.mark.parametrize(("issuer", "status"), [("https://honest.example", 400), (None, 303)])
async def test_without_a_known_issuer_an_answer_names_the_one_that_was_asked(
    bench: Bench, issuer: str | None, status: int
) -> None:
    bench.book.connections["acme", "erp"] = registration(bench.provider, issuer="", names_issuer=False)
    browser = Browser(bench.service)
    answer = await bench.provider.authorize(await browser.leave(bench.service.link("acme", "erp")))

    assert (await browser.callback(answer if issuer is None else {**answer, "iss": issuer})).status == status


async def test_a_code_is_not_taken_to_a_provider_that_was_not_asked(bench: Bench) -> None:
    """Between leaving and coming back the connection gets a token URL of somebody else's."""
    browser = Browser(bench.service)
    answer = await bench.provider.authorize(await browser.leave(bench.service.link("acme", "erp")))
    asked = bench.book.connections["acme", "erp"]
    bench.book.connections["acme", "erp"] = registration(bench.provider, token_url="https://mallory.example/token")

    refused = await browser.callback(answer)

    assert refused.status == 400
    assert "changed meanwhile" in text(refused.body)
    bench.book.connections["acme", "erp"] = asked
    await bench.connected()


async def test_parameters_that_come_twice_are_refused(bench: Bench) -> None:
    browser = Browser(bench.service)
    answer = await bench.provider.authorize(await browser.leave(bench.service.link("acme", "erp")))

    assert (await browser.callback(f"code=forged&{urlencode(answer)}")).status == 400
    assert (await browser.callback(answer)).status == 303


async def test_the_form_counts_in_the_browser_alone_that_saw_the_page(bench: Bench) -> None:
    """Another site cannot press the button: it sees neither the page nor the cookie."""
    link = bench.service.link("acme", "erp")
    browser = Browser(bench.service)
    page = await browser.open(link)

    assert (await Browser(bench.service).press(link, page)).status == 403
    other = bench.service.link("acme", "erp")
    assert (await browser.press(other, page)).status == 403
    assert (await browser.press(link, page)).status == 200


async def test_a_link_of_nobodys_making_leads_nowhere(bench: Bench) -> None:
    link = bench.service.link("acme", "erp")
    signed = link.rpartition("/")[2]
    forged = urlsafe_b64decode(signed + "=" * (-len(signed) % 4)).replace(b"acme", b"evil")
    browser = Browser(bench.service)

    for wrong in (urlsafe_b64encode(forged).rstrip(b"=").decode(), signed[:-2], "", "ä", "a" * 5000):
        assert (await browser.open(f"{PUBLIC_URL}/connect/{wrong}")).status == 404
    assert (await browser.open(link)).status == 200
    bench.clock.advance(8 * 86400)
    assert (await browser.open(link)).status == 410


async def test_a_link_connects_once(bench: Bench) -> None:
    browser = Browser(bench.service)
    link = bench.service.link("acme", "erp")
    page = await browser.open(link)
    assert (await browser.callback(await bench.provider.authorize(await browser.leave(link)))).status == 303

    assert "is connected" in text((await browser.open(link)).body)
    assert (await browser.press(link, page)).status == 410


async def test_customers_are_sent_back_to_allowed_pages_alone(bench: Bench) -> None:
    allowed = "https://app.example/settings/erp?tab=1"
    browser = Browser(bench.service)
    link = bench.service.link("acme", "erp", return_to=allowed)
    await browser.callback(await bench.provider.authorize(await browser.leave(link)))
    assert f'href="{allowed}"' in text((await browser.open(link)).body)

    for elsewhere in (
        "https://mallory.example/settings",
        "https://app.example.mallory.example/settings",
        "https://app.example@mallory.example/settings",
        "https://app.example/settingsx",
        "https://app.example/settings/../logout",
        "https://app.example/settings/%2e%2e/logout",
        "http://app.example/settings",
        "https://app.example:444/settings",
        "//mallory.example/settings",
        "javascript:alert(1)//https://app.example/settings",
        "https:\\\\mallory.example/settings",
    ):
        with pytest.raises(SettingsError, match="return_urls"):
            bench.service.link("acme", "erp", return_to=elsewhere)


async def test_the_callback_sends_nobody_anywhere_else(bench: Bench) -> None:
    browser = Browser(bench.service)
    answer = await bench.provider.authorize(await browser.leave(bench.service.link("acme", "erp")))
    asked = {
        "redirect_uri": "https://mallory.example",
        "return_to": "https://mallory.example",
        "next": "//mallory.example",
    }

    page = await browser.callback({**asked, **answer})

    assert page.headers["location"].startswith("/connect/")


@pytest.mark.parametrize("error", ["access_denied", "server_error", "<script>alert(1)</script>"])
async def test_what_a_provider_reports_is_a_page_that_says_what_to_do(bench: Bench, error: str) -> None:
    browser = Browser(bench.service)
    url = await browser.leave(bench.service.link("acme", "erp"))
    state = dict(parse_qsl(urlsplit(url).query))["state"]

    page = await browser.callback(
        {"error": error, "error_description": "<script>alert(2)</script>", "state": state, "iss": bench.provider.issuer}
    )

    assert page.status == 400
    assert "<script" not in text(page.body)
    assert "Try again" in text(page.body)


async def test_pages_of_https_have_a_cookie_that_no_other_host_can_set(bench: Bench) -> None:
    from dataclasses import replace

    from turnout.services.oauth.service import OAuth

    service = OAuth(replace(bench.service._parts, public_url="https://hooks.example"))
    page = await Browser(service).open(service.link("acme", "erp"))

    cookie = page.headers["set-cookie"]
    assert cookie.startswith("__Host-")
    for wanted in ("Secure", "HttpOnly", "SameSite=Lax", "Path=/"):
        assert wanted in cookie
