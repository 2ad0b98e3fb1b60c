"""`make airflow`: Airflow on this machine, with its web pages, until Ctrl-C.

Starts API server, scheduler, DAG processor and triggerer on what needs no set-up (SQLite, LocalExecutor), all of it under $AIRFLOW_HOME,
and says where to sign in once the DAGs are there. Ctrl-C, SIGTERM, a closed terminal or the end of any component ends all of them, and the
Spark jobs of tasks at work; at the next start Airflow tries those tasks again. A variable of Airflow's that is set keeps its value:
`AIRFLOW__API__PORT=8081 make airflow` for another port.
"""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from shelfmates.components import (
    AIRFLOW,
    API_SERVER,
    DAG_PROCESSOR,
    ROOT,
    SCHEDULER,
    TRIGGERER,
    end_all,
    environment,
    last_words,
    log_of,
    processes_of,
    started,
)
from shelfmates.place import settings_file
from shelfmates.rest import answer, token

COMPONENTS = (API_SERVER, SCHEDULER, DAG_PROCESSOR, TRIGGERER)
PARTS = ("metadatabase", "scheduler", "triggerer", "dag_processor")  # as the API names what is healthy
POOL = "spark"
CORES_A_JOB = 2  # fewer, and Spark jobs beside each other are slower than one after the other
PATIENCE = 300.0  # seconds until everything is healthy: on a new machine it is all imported for the first time
POLL = 0.5  # seconds
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # the last one: the terminal was closed
# the lake's address in the words of the program, which plugins do not import
LAKE = "from jobs import address, settings; print(address.shown(settings.load().lake.root))"


class LocalError(Exception):
    """What was found, and what to do about it."""


def main() -> None:
    home = Path(os.environ.get("AIRFLOW_HOME") or ROOT / "build" / "airflow").resolve()
    for number in STOPS:
        signal.signal(number, signal.default_int_handler)
    try:
        with alone(home):
            serve(home, variables(home))
    except KeyboardInterrupt:
        print("airflow: stopped", flush=True)
    except LocalError as error:
        sys.exit(f"airflow: {error}")


@contextmanager
def alone(home: Path) -> Iterator[None]:
    """Ends all processes of the home at the end of the `with`, whatever has happened. Raises LocalError if another launcher has them."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "launcher.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LocalError(f"one is at work already in {home}\n  → stop it, or set AIRFLOW_HOME to another folder") from None
        if processes_of(home):
            print("airflow: ending what is left of one that was killed", flush=True)
            end_all(home)
        try:
            yield
        finally:
            for number in STOPS:
                signal.signal(number, signal.SIG_IGN)  # it takes seconds, whoever is in a hurry
            if processes_of(home):
                print("\nairflow: ending all processes", flush=True)
                end_all(home)
                print("airflow: no process is left", flush=True)


def variables(home: Path) -> dict[str, str]:
    """The environment of the components: ours, under what the user's says."""
    given = os.environ | {
        "AIRFLOW_HOME": str(home),
        "SHELFMATES_SETTINGS": str(Path(settings_file()).absolute()),
    }
    ours = {
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,viewer:viewer",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "300",  # for files that are as they were; every 30 s costs a core some seconds
        "SHELFMATES_POOL": POOL,
    }
    return environment(home, port(), jobs_at_once() + 1) | ours | given  # one more for what is not Spark


def jobs_at_once() -> int:
    return max(1, (os.cpu_count() or 1) // CORES_A_JOB)


def port() -> int:
    """The one to listen on. Raises LocalError if somebody does already."""
    text = os.environ.get("AIRFLOW__API__PORT", "8080")
    if not text.isdecimal():
        raise LocalError(f"AIRFLOW__API__PORT is {text!r}\n  → set it to a number, or unset it")
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what was closed a moment ago is free
        try:
            tried.bind(("127.0.0.1", int(text)))
        except (OSError, OverflowError) as error:
            raise LocalError(
                f"cannot listen on 127.0.0.1:{text}: {error}\n  → stop what does, or set AIRFLOW__API__PORT to another one, below 65536"
            ) from None
    return int(text)


def serve(home: Path, told: Mapping[str, str]) -> None:
    """Runs until a component ends. Raises LocalError then, or if they do not become healthy."""
    url = told["AIRFLOW__API__BASE_URL"]
    print(f"airflow: starting, in {home}", flush=True)
    migrate(home, told)
    for component in COMPONENTS:
        log_of(component, home).unlink(missing_ok=True)
    processes = {component: started(component, home, told) for component in COMPONENTS}
    ready, given_up = False, time.monotonic() + PATIENCE
    while True:
        for component, process in processes.items():
            if process.poll() is not None:
                log = log_of(component, home)
                raise LocalError(f"{component[0]} has ended (exit code {process.returncode}); the end of {log}:\n{last_words(log)}")
        if not ready:
            missing = waited_for(home, url, told)
            if missing and time.monotonic() > given_up:
                raise LocalError(f"after {PATIENCE:.0f} s there is still no {', '.join(missing)}\n  → read the logs: {home}/*.log")
            if ready := not missing:
                make_pool(home, url, told)
                print(welcome(home, url, told), flush=True)
        time.sleep(POLL)


def migrate(home: Path, told: Mapping[str, str]) -> None:
    log = home / "migrate.log"
    with log.open("wb") as said:
        failed = subprocess.call([AIRFLOW, "db", "migrate"], env=told, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
    if failed:
        raise LocalError(f"the database cannot be brought up to date; the end of {log}:\n{last_words(log)}")


def waited_for(home: Path, url: str, told: Mapping[str, str]) -> list[str]:
    """What is not healthy yet, or the DAGs that are not there."""
    try:
        health = answer(f"{url}/api/v2/monitor/health")
        if unwell := [f"healthy {part}" for part in PARTS if health[part]["status"] != "healthy"]:
            return unwell
        shown = token(url, *sign_in(home, told))
        found = {dag["dag_id"] for dag in answer(f"{url}/api/v2/dags?limit=100", shown)["dags"]}
        errors = answer(f"{url}/api/v2/importErrors?limit=100", shown)["import_errors"]  # for the pages to show
    except OSError as error:
        return [f"answer of {url} ({error})"]
    files = {file.stem for file in Path(told["AIRFLOW__CORE__DAGS_FOLDER"]).glob("*.py")}  # a file a DAG of the same name
    return [f"DAG {dag}" for dag in sorted(files - found - {Path(error["filename"]).stem for error in errors})]


def make_pool(home: Path, url: str, told: Mapping[str, str]) -> None:
    """As many slots as Spark jobs fit the machine; a pool that is there stays as it is."""
    wanted = {"name": POOL, "slots": jobs_at_once(), "description": "Spark jobs at once on this machine"}
    try:
        answer(f"{url}/api/v2/pools", token(url, *sign_in(home, told)), wanted)
    except urllib.error.HTTPError as error:
        if error.code != 409:  # it is there
            raise


def passwords(home: Path, told: Mapping[str, str]) -> dict[str, str]:
    """By user; none where everybody is let in."""
    if told.get("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS", "").lower() == "true":
        return {}
    file = Path(told.get("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE") or home / "simple_auth_manager_passwords.json.generated")
    file.chmod(0o600)  # Airflow lets every user of the machine read it
    found: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
    return found


def sign_in(home: Path, told: Mapping[str, str]) -> tuple[str, str]:
    return next(iter(passwords(home, told).items()), ("", ""))


def lake(told: Mapping[str, str]) -> str:
    """Where the tables are, or why that is not known."""
    if not Path(told["SHELFMATES_SETTINGS"]).is_file():
        return "not known: there are no settings, and no night runs without them (SETTINGS=FILE names some)"
    asked = subprocess.run([sys.executable, "-c", LAKE], cwd=ROOT, env=told, capture_output=True, text=True)
    return asked.stdout.strip() if asked.returncode == 0 else f"not known: {asked.stderr.strip().splitlines()[-1]}"


def welcome(home: Path, url: str, told: Mapping[str, str]) -> str:
    users = " or ".join(f"{user} / {password}" for user, password in passwords(home, told).items()) or "not needed"
    return f"""
  Airflow     {url}
  sign in     {users}
  settings    {told["SHELFMATES_SETTINGS"]}
  lake        {lake(told)}
  logs        {home}/*.log, of tasks {home}/logs
  stop        Ctrl-C
"""


if __name__ == "__main__":
    main()
