"""Making files from the templates in `templates/`: all of them or none, and never over what is there.

A template's path is the path of what it makes, `PACKAGE` and `NAME` standing for the names; `.j2` is taken off. Inside,
`[[ name ]]` is replaced, since `${{ }}` and `{% %}` belong to what is made.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import jinja2

from turnout.errors import SettingsError

__all__ = ["Names", "scaffold"]

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """A name in the forms that files need: `my-shop`, `my_shop`, `My shop`."""

    name: str
    package: str
    title: str

    @classmethod
    def of(cls, given: str) -> Names:
        """From what a person typed; `SettingsError` with a name that would do."""
        if len(given) > _LONGEST or not _NAME.fullmatch(given):
            nearest = re.sub(r"[^a-z0-9]+", "-", given.lower()).lstrip("-0123456789")[:_LONGEST].rstrip("-")
            advice = f"; {nearest!r} would do" if nearest else ""
            raise SettingsError(
                f"the name {given!r}: lower-case letters, digits and single dashes, at most {_LONGEST}{advice}"
            )
        return cls(name=given, package=given.replace("-", "_"), title=given.replace("-", " ").capitalize())


def scaffold(kind: str, names: Names, target: Path) -> list[Path]:
    """Make what the templates of `kind` describe in the new directory `target`; the files, in order of their names.

    `SettingsError` if something is there already, or the place cannot be written; then nothing was made.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise SettingsError(f"{target} is there already and is not empty: nothing was changed")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # Beside the target, so that the last step is one rename on one disk.
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".turnout-new-") as scratch:
            made = Path(scratch) / target.name
            _render(files("turnout.cli") / "templates" / kind, names, made)
            if target.exists():
                target.rmdir()
            shutil.move(made, target)
    except OSError as error:
        raise SettingsError(f"{target} cannot be made: {error.strerror}") from error
    return sorted(path for path in target.rglob("*") if path.is_file())


def _render(source: Traversable, names: Names, target: Path) -> None:
    target.mkdir()
    for entry in source.iterdir():
        name = entry.name.removesuffix(".j2").replace("PACKAGE", names.package).replace("NAME", names.name)
        if entry.is_dir():
            _render(entry, names, target / name)
        else:
            text = _template(entry.read_text(encoding="utf-8")).render(
                name=names.name, package=names.package, title=names.title
            )
            (target / name).write_text(text, encoding="utf-8")


def _template(text: str) -> jinja2.Template:
    environment = jinja2.Environment(  # noqa: S701 - what is made is source code, not HTML
        variable_start_string="[[",
        variable_end_string="]]",
        block_start_string="[%",
        block_end_string="%]",
        comment_start_string="[#",
        comment_end_string="#]",
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    return environment.from_string(text)
