"""`turnout services` and `turnout check`: where services run, and whether they fit there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from turnout.cli import main

DEFINITION = """
integration: orders
version: 1.0.0
flows:
  take:
    trigger: {webhook: {}}
    steps:
      - {id: total, code: "export default () => 1"}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "integration.yaml").write_text(DEFINITION)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_services_says_where_each_runs_and_what_calls_it(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["services", "--json"]) == 0

    listed = {one["name"]: one for one in json.loads(capsys.readouterr().out)}
    assert {"runner", "ingress", "metadata"} <= listed.keys()
    assert {one["target"] for one in listed.values()} == {"local"}
    assert {one["fits"] for one in listed.values()} == {"yes"}
    assert "POST /hooks/{instance}/{flow}" in listed["ingress"]["triggers"]


def test_services_fits_a_terminal(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["services"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["SERVICE", "TARGET", "CALLED", "BY", "NEEDS", "FITS"]
    [ingress] = [line for line in lines if line.startswith("ingress")]
    assert ingress.endswith("yes")
    assert "calls of 5 min, requests of 500 MB" in ingress


def test_check_is_content_with_one_machine(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check"]) == 0

    assert "orders/take: has not run yet" in capsys.readouterr().out


def test_check_refuses_a_target_that_nobody_provides(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "turnout.toml").write_text(
        '[services.runner]\ntarget = "locale"\n\n[services.igress]\ntarget = "local"\n'
    )

    assert main(["check"]) == 2

    said = capsys.readouterr().err
    assert "services.runner.target: runner: there is no target 'locale', did you mean 'local'?" in said
    assert "services.igress: igress: there is no service 'igress', did you mean 'ingress'?" in said


def test_services_names_what_does_not_fit(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "turnout.toml").write_text('[services.runner]\ntarget = "cloud"\n')

    assert main(["services", "--json"]) == 0

    fits = {one["name"]: one["fits"] for one in json.loads(capsys.readouterr().out)}
    assert (fits["runner"], fits["ingress"]) == ("no", "yes")


def test_check_names_a_definition_that_cannot_be_read(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "integration.yaml").write_text("integration: [")

    assert main(["check"]) == 2

    assert "integration.yaml" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "said"),
    [("igress", "no service 'igress': did you mean 'ingress'?"), ("runner", "start one with `turnout worker`")],
)
def test_a_service_that_cannot_be_run_alone_is_explained(
    project: Path, capsys: pytest.CaptureFixture[str], name: str, said: str
) -> None:
    assert main(["service", "run", name]) == 2

    assert said in capsys.readouterr().err


def test_a_project_on_one_machine_has_nothing_to_package(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["package"]) == 0

    assert "nothing to package: every service runs where it is started" in capsys.readouterr().out
    assert not any((project / "dist").iterdir())


def test_what_does_not_fit_is_not_packaged(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "turnout.toml").write_text('[services.alerts]\ntarget = "cloud"\n')

    assert main(["package"]) == 2

    assert "services.alerts.target: alerts: there is no target 'cloud'" in capsys.readouterr().err
    assert not (project / "dist").exists()


def test_a_service_to_package_that_there_is_not_is_named(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["package", "--service", "igress"]) == 2

    assert "no service 'igress': did you mean 'ingress'?" in capsys.readouterr().err


def test_a_format_that_there_is_not_is_named(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["package", "--target-format", "pulumi"]) == 2

    assert "'pulumi' is not one of 'cloudformation', 'terraform'" in capsys.readouterr().err
