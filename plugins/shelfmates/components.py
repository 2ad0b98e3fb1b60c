"""Airflow on one machine as processes: what each is told, how it is started, and how none is left behind.

Nothing listens but the API server, on 127.0.0.1. The servers of task logs would listen on every interface, whatever Airflow is told, so
they are left out: on one machine the web pages read the logs from the disk.
"""

import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
AIRFLOW = str(Path(sys.executable).with_name("airflow"))
API_SERVER = ("api-server", "--workers", "1")
SCHEDULER = ("scheduler", "--skip-serve-logs")
DAG_PROCESSOR = ("dag-processor",)
TRIGGERER = ("triggerer", "--skip-serve-logs", "--capacity", "50")  # what waits for a person or an hour, no more
GRACE = 9.0  # seconds for processes to end by themselves: a task takes 3 for Spark, and Airflow up to 5 to notice
SERVERS_GRACE = 3.0  # seconds for the API server, which would wait for pages that are open
LOG_LINES = 25  # of a component that has ended


def environment(home: Path, port: int, at_once: int) -> dict[str, str]:
    """What every process of this Airflow has to know: where things lie, who listens where, and how many tasks run at once."""
    url = f"http://127.0.0.1:{port}"
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        # seconds for which one waits while another writes: with SQLite's own 5, commands fail on a machine at work
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db?timeout=60",
        "AIRFLOW__CORE__PARALLELISM": str(at_once),  # 15 MB for every idle worker
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__API__HOST": "127.0.0.1",  # not every interface
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": url,
        # with every look at a running task's log it would complain that nobody serves what it has read from the disk
        "AIRFLOW__LOGGING__NAMESPACE_LEVELS": "airflow.utils.log.file_task_handler=CRITICAL",
        "AIRFLOW_CONN_SPARK_DEFAULT": '{"conn_type": "spark", "host": "local[*]"}',
    }


def started(component: Sequence[str], home: Path, variables: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """`airflow <component>`, in a session of its own: signals of the terminal are for who started it. What it says goes to a file."""
    place = _place(home)
    place.mkdir(parents=True, exist_ok=True)
    with log_of(component, home).open("ab") as log:
        return subprocess.Popen(
            [AIRFLOW, *component], cwd=place, env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )


def log_of(component: Sequence[str], home: Path) -> Path:
    return home / f"{component[0]}.log"


def last_words(log: Path) -> str:
    """The end of what a process has said, for people."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
    return "\n".join(f"  {line}" for line in lines[-LOG_LINES:])


def processes_of(home: Path) -> list[psutil.Process]:
    """Everything that works for the Airflow of this home. What tasks have started outlives them, and some processes of Airflow hide their
    environment, but all of them stay in the folder in which they were started, where nothing and nobody else is."""
    place, found = _place(home), []
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # ended meanwhile, or another user's
            if Path(process.cwd()) == place:
                found.append(process)
    return found


def end_all(home: Path) -> None:
    """Ends every process of the home: asks first, then kills, until none is left. The API server is the last to be asked: tasks that are
    stopped tell it so, and are tried again when there is an Airflow again. The triggerer is not asked: it would wait 10 s for a child that
    has ended, and what it knows is in the database."""
    _each(_of_command(home, "airflow triggerer"), psutil.Process.kill)
    for command, grace in (("^(?!.*api[-_]server)", GRACE), ("", SERVERS_GRACE)):
        _each(asked := _of_command(home, command), psutil.Process.terminate)
        psutil.wait_procs(asked, grace)
    while left := processes_of(home):
        _each(left, psutil.Process.kill)
        psutil.wait_procs(left, GRACE)


def _of_command(home: Path, pattern: str) -> list[psutil.Process]:
    found = []
    for process in processes_of(home):
        with suppress(psutil.Error):
            if re.search(pattern, " ".join(process.cmdline())):
                found.append(process)
    return found


def _each(processes: Iterable[psutil.Process], told: Callable[[psutil.Process], None]) -> None:
    for process in processes:
        with suppress(psutil.Error):  # ended meanwhile
            told(process)


def _place(home: Path) -> Path:
    return home.resolve() / "at-work"  # resolved, as processes tell it
