"""`make airflow`: who has the port, what becomes of a component that dies, and that nothing is left; once with stand-ins, once for real."""

import os
import signal
import socket
import subprocess
import sys
import urllib.error
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
from shelfmates import components, local
from shelfmates.rest import answer, token

# in place of `airflow`: a component waits, with a child that wants no end; but for the one in DIES
STAND_IN = f"""#!{sys.executable}
import os, subprocess, sys, time
if sys.argv[1] == "db":
    sys.exit(0)
if sys.argv[1] == os.environ.get("DIES"):
    sys.exit("the disk is full")
stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
subprocess.Popen([sys.executable, "-c", stubborn], start_new_session=True)
time.sleep(600)
"""
HUGE_WAIT = 240  # seconds; it takes about 10 on an idle machine


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home whose Airflow is the stand-in."""
    program = tmp_path / "airflow"
    program.write_text(STAND_IN, encoding="utf-8")
    program.chmod(0o755)
    for module in (components, local):
        monkeypatch.setattr(module, "AIRFLOW", str(program))
    monkeypatch.setattr(components, "GRACE", 0.2)
    made: list[subprocess.Popen[bytes]] = []

    def started(*given: Any) -> "subprocess.Popen[bytes]":
        made.append(components.started(*given))
        return made[-1]

    monkeypatch.setattr(local, "started", started)
    handlers = {number: signal.getsignal(number) for number in local.STOPS}
    yield tmp_path / "home"
    for process in made:
        process.wait(1)  # else Python warns of those whose end it has not seen
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def taken() -> Iterator[str]:
    """A port that somebody listens on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield str(listening.getsockname()[1])


def free() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


def test_a_port_that_is_taken_is_told_with_the_remedy(taken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__PORT", taken)
    with pytest.raises(local.LocalError, match=rf"127\.0\.0\.1:{taken}: .*\n  → .*AIRFLOW__API__PORT to another one"):
        local.port()


@pytest.mark.parametrize("text", ["eighty", "70000", "-1", ""])
def test_what_is_no_port_is_told(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__PORT", text)
    with pytest.raises(local.LocalError, match="→"):
        local.port()


def test_what_the_user_has_set_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__PORT", port := free())
    monkeypatch.setenv("AIRFLOW__CORE__PARALLELISM", "7")
    monkeypatch.setenv("SHELFMATES_SETTINGS", "mine.toml")
    told = local.variables(tmp_path)
    assert (told["AIRFLOW__CORE__PARALLELISM"], told["AIRFLOW_HOME"]) == ("7", str(tmp_path))
    assert told["AIRFLOW__API__BASE_URL"] == f"http://127.0.0.1:{port}"
    assert told["SHELFMATES_SETTINGS"] == str(Path("mine.toml").absolute()), "components are started in another folder"


def test_a_component_that_dies_is_named_and_takes_the_others_with_it(home: Path) -> None:
    told = os.environ | {"AIRFLOW__API__BASE_URL": "http://127.0.0.1:1", "DIES": "triggerer"}
    said = r"triggerer has ended \(exit code 1\); the end of .*triggerer\.log:\n  the disk is full"
    with pytest.raises(local.LocalError, match=said), local.alone(home):
        local.serve(home, told)
    assert components.processes_of(home) == []


def test_two_launchers_do_not_share_a_home_and_the_second_ends_what_a_killed_one_left(
    home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with local.alone(home), pytest.raises(local.LocalError, match=rf"at work already in {home}\n  → "), local.alone(home):
        pass
    process = components.started(components.SCHEDULER, home, os.environ)
    with local.alone(home):
        process.wait(1)
        assert components.processes_of(home) == []
    assert "what is left of one that was killed" in capfd.readouterr().out


def listening(processes: Sequence[psutil.Process]) -> set[tuple[str, int]]:
    return {tuple(c.laddr) for process in processes for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN}


def test_airflow_starts_lets_people_in_and_leaves_nothing(tmp_path: Path) -> None:
    home, url = tmp_path / "home", f"http://127.0.0.1:{(port := free())}"
    told = os.environ | {"AIRFLOW_HOME": str(home), "AIRFLOW__API__PORT": port, "PYTHONPATH": str(components.ROOT / "plugins")}
    log = tmp_path / "log"
    with log.open("wb") as output:
        launcher = subprocess.Popen([sys.executable, "-m", "shelfmates.local"], env=told, stdout=output, stderr=output)
    try:
        until(launcher, log, "stop        Ctrl-C")
        assert listening(components.processes_of(home)) == {("127.0.0.1", int(port))}
        users = local.passwords(home, {})
        assert sorted(users) == ["admin", "viewer"]
        assert all(f"{user} / {password}" in log.read_text(encoding="utf-8") for user, password in users.items())
        shown = {user: token(url, user, password) for user, password in users.items()}
        assert {pool["name"] for pool in answer(f"{url}/api/v2/pools", shown["admin"])["pools"]} == {"default_pool", "spark"}
        assert {dag["dag_id"]: dag["is_paused"] for dag in answer(f"{url}/api/v2/dags", shown["viewer"])["dags"]} == {
            "catalogue": True,
            "downstream": True,
            "maintenance": True,
        }
        with pytest.raises(urllib.error.HTTPError, match="403") as refused:
            answer(f"{url}/api/v2/dags/catalogue/dagRuns", shown["viewer"], {"logical_date": None})
        refused.value.close()
    finally:
        launcher.terminate()
        launcher.wait(HUGE_WAIT)
        left = components.processes_of(home)
        components.end_all(home)
    assert (left, launcher.returncode) == ([], 0)
    assert log.read_text(encoding="utf-8").endswith("airflow: no process is left\nairflow: stopped\n")


def until(process: "subprocess.Popen[bytes]", log: Path, words: str) -> None:
    """Waits for the process to say these words. Fails with all it has said if it ends before."""
    for _ in range(HUGE_WAIT * 2):
        if words in log.read_text(encoding="utf-8"):
            return
        try:
            process.wait(0.5)
        except subprocess.TimeoutExpired:
            continue
        break
    pytest.fail(log.read_text(encoding="utf-8"))
