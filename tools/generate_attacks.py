"""Write the list of attacks on the jail, which the attack suite makes, into the documentation: `make docs`. With `--check`
say whether it is current, and change nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from plugins.ecs_backend.tests.attacks.attack import GROUPS, Attack, Control
from plugins.ecs_backend.tests.attacks.catalogue import ATTACKS
from plugins.ecs_backend.tests.attacks.loosened import (
    CredulousConversation,
    LooseSource,
    PatientConversation,
    UncheckedConversation,
    careless_manifests,
    lenient_parser,
    polite,
    text_log,
)

__all__ = ["PAGE", "page"]

PAGE = Path(__file__).parent.parent / "docs" / "explanation" / "attacks.md"
_REPLACED: Mapping[object, str] = {
    PatientConversation: "a supervisor that waits for the process",
    CredulousConversation: "a supervisor that looks at no nonce",
    UncheckedConversation: "a supervisor that checks no frame",
    LooseSource: "a reader that leaves the bundle",
    careless_manifests: "a reader that trusts package.json",
    lenient_parser: "a parser without limits",
    polite: "SIGTERM instead of SIGKILL",
    text_log: "a log that is one text",
}
_USUAL = Control(got="")
_SIZES = ("result_bytes", "log_bytes", "files", "files_bytes")
_BEGIN = "<!-- generated -->\n"


def page() -> str:
    """The page: its prose by hand, then all that is generated."""
    prose, _, _ = PAGE.read_text(encoding="utf-8").partition(_BEGIN)
    return prose + _BEGIN + "".join(_section(group) for group in GROUPS)


def _section(group: str) -> str:
    attacks = [attack for attack in ATTACKS if attack.group == group]
    rows = "".join(_row(attack) for attack in attacks)
    return f"\n## {group.capitalize()}\n\n| attack | stopped by | succeeds with |\n|---|---|---|\n{rows}"


def _row(attack: Attack) -> str:
    return f"| {attack.name} | {attack.stopped_by} | {', '.join(_loosened(attack))} |\n"


def _loosened(attack: Attack) -> Iterator[str]:
    control = attack.control
    if control.off:
        yield f"{' '.join(f'`{layer}`' for layer in control.off)} off"
    if control.same_process:
        yield "one process for both executions"
    if control.same_user:
        yield "one user for both"
    if control.open_broker:
        yield "everything allowed by the broker"
    if control.launch is not None:
        yield "a bootstrap that guards less" if "patched" in control.launch.__qualname__ else "no jail"
    for replaced in (control.conversation, control.source, control.adjust):
        if replaced in _REPLACED:
            yield _REPLACED[replaced]
    if control.memory_mb > max(64, attack.memory_mb) or any(
        getattr(control, size) > getattr(_USUAL, size) for size in _SIZES
    ):
        yield "a higher limit"
    if control.got == "still running" and not control.same_process:
        yield "no time-out"


def main(arguments: Sequence[str]) -> int:
    if PAGE.read_text(encoding="utf-8") == page():
        return 0
    if "--check" in arguments:
        sys.stdout.write(f"{PAGE.name} is not current: run `make docs`\n")
        return 1
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"wrote {PAGE.name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
