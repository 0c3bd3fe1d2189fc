"""The life of `turnout dev`: killed, stopped, restarted, its definitions changed, its executions called back and cancelled."""

from __future__ import annotations

import json
import signal
import socket
import time
from pathlib import Path

import pytest

from tests.dev.commands import FLOWS, Dev, run, until


def test_a_202_is_kept_through_sigkill_in_the_next_instant(project: Path) -> None:
    executions = []
    with Dev(project) as dev:
        executions = [dev.post("count", wait="").json()["execution"] for _ in range(5)]
        dev.kill()

    with Dev(project) as dev:
        outputs = [dev.record(execution)["output"] for execution in executions]

    assert sorted(outputs) == [1, 2, 3, 4, 5]


def test_a_killed_server_goes_on_with_what_ran(project: Path) -> None:
    with Dev(project) as dev:
        execution = dev.post("slow", wait="").json()["execution"]
        dev.record(execution, "running")
        dev.kill()

    with Dev(project) as dev:
        record = dev.record(execution)
        ready = dev.ready

    assert (record["status"], record["output"], record["attempts"]) == ("succeeded", "done", 2)
    assert ready["recovered"] == 1


def test_sigterm_ends_it_quickly_and_the_next_start_goes_on(project: Path) -> None:
    waiting = FLOWS.replace("setTimeout(resolve, 1500", "setTimeout(resolve, 60000")
    (project / "integration.yaml").write_text(waiting)
    with Dev(project) as dev:
        execution = dev.post("slow", wait="").json()["execution"]
        dev.record(execution, "running")
        dev.process.send_signal(signal.SIGTERM)

        assert dev.process.wait(timeout=30) == 0  # the step takes a minute

    with Dev(project) as dev:
        dev.record(execution, "running")
        assert dev.client.post(f"/api/v1/executions/{execution}/cancel").status_code == 202
        record = dev.record(execution)

    assert record["status"] == "cancelled"


def test_an_idle_server_ends_at_once(project: Path) -> None:
    """It does not wait as if something ran, three seconds: at the latest the third time, on a machine that is busy."""
    took_s: list[float] = []
    while len(took_s) < 3 and (not took_s or took_s[-1] >= 3):
        with Dev(project) as dev:
            start = time.monotonic()
            dev.process.send_signal(signal.SIGTERM)

            assert dev.process.wait(timeout=30) == 0
            took_s.append(time.monotonic() - start)

    assert took_s[-1] < 3, took_s


def callback_of(dev: Dev, execution: str) -> str:
    dev.record(execution, "waiting")
    [line] = dev.client.get(f"/api/v1/executions/{execution}/logs").json()["items"]
    url: str = line["message"]
    return url


def test_a_callback_ends_the_wait_once_and_is_gone_after_the_end(dev: Dev) -> None:
    execution = dev.post("ask", wait="").json()["execution"]
    url = callback_of(dev, execution)
    assert url.startswith(dev.ready["url"])
    forged = url[:-4] + ("0000" if url[-4:] != "0000" else "1111")

    assert dev.client.post(forged, json="forged").status_code == 404
    assert dev.client.post(url, json={"by": "first"}).status_code == 202
    record = dev.record(execution)

    assert record["output"] == {"by": "first"}
    assert until(lambda: dev.client.post(url, json="late").status_code == 410)


def test_of_two_callbacks_the_first_counts(project: Path) -> None:
    with Dev(project) as dev:
        execution = dev.post("ask", wait="").json()["execution"]
        url = callback_of(dev, execution)
        answers = [dev.client.post(url, json=number).status_code for number in (1, 2)]

        assert dev.record(execution)["output"] == 1
    assert answers[0] == 202
    assert answers[1] in (202, 410)


def test_a_wait_survives_sigkill_and_its_callback_still_counts(project: Path) -> None:
    with Dev(project) as dev:
        execution = dev.post("ask", wait="").json()["execution"]
        path = "/callbacks/" + callback_of(dev, execution).partition("/callbacks/")[2]
        dev.kill()

    with Dev(project) as dev:
        assert dev.client.post(path, json="yes").status_code == 202
        assert dev.record(execution)["output"] == "yes"


def test_the_api_cancels_what_runs_and_what_waits(dev: Dev) -> None:
    running = dev.post("slow", wait="").json()["execution"]
    waiting = dev.post("ask", wait="").json()["execution"]
    dev.record(running, "running")
    dev.record(waiting, "waiting")

    for execution in (running, waiting):
        assert dev.client.post(f"/api/v1/executions/{execution}/cancel").json() == {"cancelled": True}
        assert dev.record(execution)["status"] == "cancelled"

    assert dev.client.post(f"/api/v1/executions/{running}/cancel").json() == {"cancelled": False}
    assert dev.client.post("/api/v1/executions/unknown/cancel").status_code == 404


def test_the_command_line_cancels_what_another_process_runs(dev: Dev) -> None:
    execution = dev.post("long", wait="").json()["execution"]
    dev.record(execution, "running")

    done = run("executions", "cancel", execution, "--reason", "wrong customer", cwd=dev.directory)

    assert done.returncode == 0, done.stderr
    record = dev.record(execution)
    assert (record["status"], record["error"]["message"]) == ("cancelled", "wrong customer")


def test_changed_definitions_are_reloaded_and_broken_ones_are_not(dev: Dev) -> None:
    definition = dev.directory / "integration.yaml"
    assert dev.post("body", json=1).json() == 1

    definition.write_text(
        FLOWS.replace('"${{ trigger.body }}"', '["new", "${{ trigger.body }}"]').replace("1.0.0", "1.1.0")
    )
    until(lambda: dev.events("reloaded"))
    answer = dev.post("body", json=1)
    definition.write_text(FLOWS.replace("trigger.body", "trigger.bdoy["))
    until(lambda: dev.events("error"))
    still = dev.post("body", json=1)

    assert answer.json() == ["new", 1]
    assert dev.record(answer.headers["turnout-execution"])["version"] == "1.1.0"
    assert still.json() == ["new", 1]
    assert "integration.yaml:" in dev.events("error")[0]["message"]


def test_an_execution_ends_with_the_version_it_began_with(dev: Dev) -> None:
    execution = dev.post("ask", wait="").json()["execution"]
    url = callback_of(dev, execution)
    text = FLOWS.replace("${{ steps.answer.body }}", "changed").replace("1.0.0", "2.0.0")
    (dev.directory / "integration.yaml").write_text(text)
    until(lambda: dev.events("reloaded"))

    dev.client.post(url, json="as it was")

    record = dev.record(execution)
    assert (record["output"], record["version"]) == ("as it was", "1.0.0")


def test_two_integrations_of_a_project_are_served_beside_each_other(project: Path) -> None:
    for name in ("north", "south"):
        folder = project / "integrations" / name
        folder.mkdir(parents=True)
        text = FLOWS.replace("integration: desk", f"integration: {name}").replace("${{ trigger.body }}", name)
        (folder / "integration.yaml").write_text(text)
    (project / "integration.yaml").unlink()

    with Dev(project) as dev:
        answers = [dev.post("body", instance=name).json() for name in ("north", "south")]

    assert answers == ["north", "south"]


def test_a_definition_that_goes_away_is_served_no_more_and_the_others_stay(project: Path) -> None:
    for name in ("north", "south"):
        folder = project / "integrations" / name
        folder.mkdir(parents=True)
        (folder / "integration.yaml").write_text(FLOWS.replace("integration: desk", f"integration: {name}"))
    (project / "integration.yaml").unlink()

    with Dev(project) as dev:
        (project / "integrations" / "north" / "integration.yaml").unlink()
        until(lambda: dev.events("withdrawn"))
        gone, stays = (dev.post("body", instance=name, json=1) for name in ("north", "south"))

    assert (gone.status_code, stays.status_code) == (404, 200)


def test_a_port_that_is_taken_is_said_clearly(project: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        done = run("dev", "--port", str(port), cwd=project)

    assert done.returncode != 0
    assert f"127.0.0.1:{port}" in done.stderr
    assert "--port" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_broken_definition_ends_with_its_place(project: Path) -> None:
    (project / "integration.yaml").write_text(FLOWS.replace("action: state.increment", "action: state.incrementt"))

    done = run("dev", "--port", "0", cwd=project)

    assert done.returncode == 2
    line = 1 + FLOWS[: FLOWS.index("state.increment")].count("\n")
    assert f"integration.yaml:{line}:" in done.stderr
    assert "did you mean 'increment'?" in done.stderr


def test_killed_commands_are_gone_on_with_by_resume(project: Path) -> None:
    (project / "slow.yaml").write_text(FLOWS)
    (project / "integration.yaml").unlink()
    with Dev(project, ("slow.yaml",)) as dev:
        execution = dev.post("slow", wait="").json()["execution"]
        dev.record(execution, "running")
        dev.kill()

    done = run("resume", "--json", cwd=project)

    assert (done.returncode, json.loads(done.stdout)) == (0, {"recovered": 1, "waiting": 0}), done.stderr
    shown = run("executions", "show", execution, "--json", cwd=project)
    assert json.loads(shown.stdout)["status"] == "succeeded"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_it_listens_where_it_is_told_to(project: Path, host: str) -> None:
    with Dev(project, ("--host", host)) as dev:
        assert dev.post("body", json=1).json() == 1
