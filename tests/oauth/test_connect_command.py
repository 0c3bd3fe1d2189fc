"""`turnout connections connect` beside the service that answers its link."""

from __future__ import annotations

import json
from pathlib import Path

from tests.dev.commands import run
from tests.oauth.server import Provider
from tests.oauth.test_executions import shop_in


async def test_the_command_prints_a_link_that_the_service_takes(tmp_path: Path, provider: Provider) -> None:
    async with shop_in(tmp_path, provider) as shop:
        done = run("connections", "connect", "acme", "erp", "--json", cwd=tmp_path)
        link = json.loads(done.stdout)["link"]

        await shop.connect(link)

        assert link.startswith("http://127.0.0.1:8400/connect/")
        assert "shop-secret-of-the-client" not in done.stdout + done.stderr


async def test_what_cannot_be_connected_says_why(tmp_path: Path, provider: Provider) -> None:
    async with shop_in(tmp_path, provider) as shop:
        await shop.keep(
            "robot", "oauth2_client", token_url=f"{provider.issuer}/token", client_id="robot", client_secret="s"
        )
        await shop.keep("plain", "none")

        missing = run("connections", "connect", "acme", "nothing", cwd=tmp_path)
        robot = run("connections", "connect", "acme", "robot", cwd=tmp_path)
        plain = run("connections", "connect", "acme", "plain", cwd=tmp_path)
        elsewhere = run("connections", "connect", "acme", "erp", "--return-to", "https://mallory.example", cwd=tmp_path)

        assert {done.returncode for done in (missing, robot, plain, elsewhere)} == {2}
        assert "no connection 'nothing'" in missing.stderr
        assert "needs nobody to connect it" in robot.stderr
        assert "none of OAuth 2.0" in plain.stderr
        assert "oauth] return_urls" in elsewhere.stderr
