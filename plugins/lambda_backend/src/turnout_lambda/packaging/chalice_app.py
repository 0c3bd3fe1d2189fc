"""The project that Chalice packages: an application with a function for each trigger, its pins, and wheels of what is on no index."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import jinja2
from turnout.config import FILE_NAME
from turnout.deploy.distributions import Distributions, normalized
from turnout.errors import BackendError
from turnout.interfaces.connector_source import DESCRIPTIONS
from turnout.interfaces.deployment import Deployment

from turnout_lambda.packaging.functions import Function

__all__ = ["check_content", "package_app", "write_app"]

_STAGE: Final = "deployed"
_LAST_LINES: Final = 15


def write_app(
    directory: Path,
    deployment: Deployment,
    functions: Sequence[Function],
    policies: Mapping[str, Mapping[str, Any]],
    *,
    architecture: str,
) -> None:
    """The application with its configuration; `policies` by handler."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False, keep_trailing_newline=True)  # noqa: S701 - Python, not HTML
    environment.filters["python"] = repr
    source = files("turnout_lambda").joinpath("templates/app.py.jinja2").read_text("utf-8")
    app_name = normalized(deployment.name)
    rendered = environment.from_string(source).render(deployment=deployment, app_name=app_name, functions=functions)
    (directory / "app.py").write_text(rendered, encoding="utf-8")
    settings = directory / "vendor" / "project"
    settings.mkdir(parents=True)
    if (deployment.root / FILE_NAME).is_file():
        shutil.copyfile(deployment.root / FILE_NAME, settings / FILE_NAME)
    if (deployment.root / DESCRIPTIONS).is_dir():
        shutil.copytree(deployment.root / DESCRIPTIONS, settings / DESCRIPTIONS)
    chalice = directory / ".chalice"
    chalice.mkdir()
    for handler, policy in policies.items():
        (chalice / f"policy-{handler}.json").write_text(json.dumps(policy, indent=2), encoding="utf-8")
    configuration = {
        "version": "2.0",
        "app_name": app_name,
        "automatic_layer": False,
        "lambda_architecture": architecture,
        "stages": {
            _STAGE: {
                "autogen_policy": False,
                "lambda_functions": {
                    function.handler: {
                        "iam_policy_file": f"policy-{function.handler}.json",
                        "lambda_timeout": function.timeout_s,
                        "lambda_memory_size": function.memory_mb,
                    }
                    for function in functions
                },
            }
        },
    }
    (chalice / "config.json").write_text(json.dumps(configuration, indent=2), encoding="utf-8")


def package_app(directory: Path, found: Distributions) -> tuple[Path, Mapping[str, Any]]:
    """Have Chalice package the application; the archive and the template that it made. `BackendError` has its last words."""
    (directory / "requirements.txt").write_text("".join(f"{pin}\n" for pin in found.pins), encoding="utf-8")
    wheels = directory.parent / "wheels"
    wheels.mkdir()
    if found.sources:
        pip = ("-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(wheels))
        _run([sys.executable, *pip, *found.sources.values()], directory, "a wheel cannot be built")
    for wheel in sorted(wheels.iterdir()):
        with zipfile.ZipFile(wheel) as content:
            content.extractall(directory / "vendor")
    made = directory.parent / "made"
    chalice = ("-c", "from chalice.cli import main; main()", "package", "--stage", _STAGE, "--template-format", "json")
    _run([sys.executable, *chalice, str(made)], directory, "Chalice cannot package the functions")
    return made / "deployment.zip", json.loads((made / "sam.json").read_text("utf-8"))


def _run(command: Sequence[str], directory: Path, what: str) -> None:
    # Chalice asks for a region although nothing that it makes here depends on one.
    environment = {"AWS_DEFAULT_REGION": "us-east-1", **os.environ}
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        lines = (done.stdout + done.stderr).strip().splitlines()[-_LAST_LINES:]
        raise BackendError("\n".join([f"{what}:", *lines]))


def check_content(directory: Path, functions: Sequence[Function], found: Distributions) -> None:
    """What Chalice would leave out without a word: `BackendError` names each distribution that is not there, and each function
    that is not a `def` of the application of its own."""
    there = {
        normalized(path.name.removesuffix(".dist-info").rsplit("-", 1)[0]): path.name.removesuffix(".dist-info").rsplit(
            "-", 1
        )[1]
        for path in directory.glob("*.dist-info")
    }
    wanted = {**dict(pin.split("==") for pin in found.pins), **dict.fromkeys(found.sources, "")}
    missing = [
        f"{name} {version}".strip()
        for name, version in sorted(wanted.items())
        if name not in there or (version and there[name] != version)
    ]
    if missing:
        raise BackendError(
            f"not in the package: {', '.join(missing)}: is there a wheel for Linux, this Python and this processor?"
        )
    defined = [
        node.name
        for node in ast.parse((directory / "app.py").read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef)
    ]
    if sorted(defined) != [function.handler for function in functions]:
        raise BackendError(f"the application's functions are not those of the services: {', '.join(defined)}")
