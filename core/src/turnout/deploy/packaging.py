"""Packaging: each target's description and its artefacts, as files that whoever deploys takes from there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from turnout.deploy.cloudformation import cloudformation
from turnout.deploy.contents import digest_of_directory
from turnout.deploy.terraform.configuration import terraform
from turnout.errors import BackendError, SettingsError, Unsupported
from turnout.interfaces.deployment import Deployment, Description
from turnout.interfaces.target import Target

__all__ = ["CLOUDFORMATION", "FORMATS", "MANIFEST", "TEMPLATE", "Format", "Package", "package"]

TEMPLATE: Final = "template.json"
MANIFEST: Final = "manifest.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """What a description is written as: the file, and its content."""

    file: str
    render: Callable[[Deployment, Description], Mapping[str, Any]]


CLOUDFORMATION: Final = Format(file=TEMPLATE, render=cloudformation)
FORMATS: Final[Mapping[str, Format]] = {
    "cloudformation": CLOUDFORMATION,
    "terraform": Format(file="main.tf.json", render=terraform),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """What was made for one target: the template and the artefacts in `directory`, which of the services it runs."""

    target: str
    directory: Path
    services: tuple[str, ...]
    description: Description
    template: Path


def package(
    deployments: Sequence[Deployment],
    targets: Mapping[str, type[Target]],
    out: Path,
    *,
    target_format: Format = CLOUDFORMATION,
    tell: Callable[[str], None] = lambda text: None,
) -> list[Package]:
    """Make the package of each deployment in a directory of its target's name below `out`, in place of what is there: whole
    or not at all. Targets that run services where they are started have none. `SettingsError` names a target that no plugin
    provides, or what is wrong in its table; `BackendError` says what could not be made."""
    made = []
    for deployment in deployments:
        if deployment.target not in targets:
            setting = f"services.{deployment.services[0].shape.name}.target"
            raise SettingsError(f"{setting}: there is no target {deployment.target!r}", setting=setting)
        found = _package(deployment, targets[deployment.target], out, target_format, tell)
        if found is not None:
            made.append(found)
    return made


def _package(
    deployment: Deployment, target: type[Target], out: Path, target_format: Format, tell: Callable[[str], None]
) -> Package | None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=out, prefix=f".{deployment.target}-") as name:
            made = Path(name) / deployment.target
            made.mkdir()
            try:
                description = target.describe(deployment, made, tell)
            except Unsupported:
                return None
            _write(made / target_format.file, target_format.render(deployment, description))
            _write(made / MANIFEST, _manifest(deployment, description, made))
            place = out / deployment.target
            if place.exists():
                place.rename(Path(name) / "before")
            made.rename(place)
    except OSError as error:
        raise BackendError(f"{out}: the package cannot be written: {error.strerror or error}") from error
    services = tuple(placed.shape.name for placed in deployment.services)
    return Package(
        target=deployment.target,
        directory=place,
        services=services,
        description=description,
        template=place / target_format.file,
    )


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _manifest(deployment: Deployment, description: Description, directory: Path) -> Mapping[str, Any]:
    """What was made, with digests: which artefact, or image, each parameter of the template stands for."""
    return {
        "project": deployment.project,
        "environment": deployment.environment,
        "target": deployment.target,
        "services": [placed.shape.name for placed in deployment.services],
        "artefacts": {
            parameter: {"path": path.as_posix(), "sha256": _sha256(directory / path)}
            for parameter, path in description.artefacts.items()
        },
        "images": {
            parameter: {
                "path": image.path.as_posix(),
                "platform": image.platform,
                "sha256": digest_of_directory(directory / image.path),
            }
            for parameter, image in description.images.items()
        },
        "notes": list(description.notes),
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
