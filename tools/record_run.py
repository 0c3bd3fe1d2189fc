"""Draw `docs/images/run.svg`, the picture in the README: the timeline of a real run of `examples/orders`.

    python -m tools.record_run

Runs the example against its stand-ins, and keeps what `turnout executions show` prints, colours included.
"""

from __future__ import annotations

import asyncio
import io
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text
from turnout_connectors.standins.dropbox import DropboxStandIn
from turnout_connectors.standins.serving import serving

from examples.orders.erp import ErpStandIn
from examples.orders.make_orders import orders

ROOT = Path(__file__).parent.parent
IMAGE = ROOT / "docs" / "images" / "run.svg"
_WIDTH = 96
_TOKEN = "for-the-stand-ins"  # noqa: S105 - it opens nothing else
_FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
"""Rich would have them loaded from another host."""


async def _turnout(project: Path, *arguments: str, **variables: str) -> str:
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("turnout")),
        *arguments,
        cwd=project,
        env={**os.environ, "FORCE_COLOR": "1", "COLUMNS": str(_WIDTH), **variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    if process.returncode:
        raise SystemExit(f"turnout {' '.join(arguments)} ended with {process.returncode}:\n{errors.decode()}")
    return output.decode()


async def _run(project: Path) -> str:
    """The timeline of one run, as a terminal is sent it."""
    dropbox = DropboxStandIn(token=_TOKEN)
    dropbox.put("/orders.xml", "".join(orders(200)).encode())
    erp = ErpStandIn(token=_TOKEN)
    async with serving(dropbox.app) as dropbox_url, serving(erp.app) as erp_url:
        (project / "connections.yaml").write_text(
            f"erp: {{token: env:ERP}}\nfiles: {{access_token: env:DROPBOX, base_url: '{dropbox_url}'}}\n"
        )
        options = ["--set", f"erp_url={erp_url}", "--connections", "connections.yaml"]
        await _turnout(project, "run", ".", *options, ERP=_TOKEN, DROPBOX=_TOKEN)
    return await _turnout(project, "executions", "show")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        project = Path(shutil.copytree(ROOT / "examples" / "orders", Path(folder) / "orders"))
        shutil.rmtree(project / ".turnout" / "bundles", ignore_errors=True)
        shown = asyncio.run(_run(project))
    console = Console(record=True, width=_WIDTH, file=io.StringIO(), force_terminal=True)
    console.print("$ turnout executions show", style="bold")
    console.print(Text.from_ansi(shown.rstrip("\n")))
    IMAGE.parent.mkdir(exist_ok=True)
    IMAGE.write_text(_FONTS.sub("", console.export_svg(title="examples/orders", unique_id="run")), encoding="utf-8")
    sys.stdout.write(Text.from_ansi(shown).plain)


if __name__ == "__main__":
    main()
