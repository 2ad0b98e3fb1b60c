"""The operator with the real spark-submit: what it logs, what it raises, what it tells the assets, what a stop leaves behind.

The program that is submitted is a stand-in of a few lines that opens no Spark session: the point is the process.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from typing import TYPE_CHECKING, Any

import psutil
import pytest

if TYPE_CHECKING:
    from shelfmates.operator import SparkJobOperator

# what it does, by the name of its only stage
PROGRAM = """
import os, subprocess, sys, time
stage = sys.argv[1]
print("shelfmates: night 2026-11-20, run r1, Spark up in 0.1 s", flush=True)
print("26/11/20 03:00:01 INFO DAGScheduler: Submitting ResultStage 7\\n+- Project [x]\\n  [rdd_1_0])", flush=True)
print(f"{stage}: 19,406 items, 3.1 s", flush=True)
if stage == "done":
    print('shelfmates-figures {"audit": {"recall": 0.97, "seconds": 2.0}, "publish": {"rows_out": 20, "seconds": 1.5}}')
elif stage == "busy":
    print("shelfmates: another writer changed neighbours\\n  → run the stage again", file=sys.stderr)
    sys.exit(75)
elif stage == "wrong":
    print("shelfmates: source 'shop', file x.csv, row 3: 7 fields under a header of 5\\n  → mend the file", file=sys.stderr)
    sys.exit(3)
elif stage == "whose":
    print(os.environ["SHELFMATES_SUBMITTER"])
elif stage == "bug":
    raise KeyError("price")
elif stage == "long":
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    print("long: worker started", flush=True)
    time.sleep(600)
"""
HUGE_WAIT = 120  # seconds; a bare submit takes about 4 on an idle machine


class Log:
    """The task's log: each line as it comes."""

    def __init__(self) -> None:
        self.lines: Queue[str] = Queue()

    def __call__(self, logger: object, method: str, event: dict[str, Any]) -> str:
        """As a processor of structlog."""
        from structlog import DropEvent

        if method == "info":
            self.lines.put(str(event["event"]))
        raise DropEvent

    def said(self) -> list[str]:
        """What the program said so far; the first line is the hook's own, the command."""
        return [self.lines.get() for _ in range(self.lines.qsize())][1:]

    def wait_for(self, line: str) -> None:
        while self.lines.get(timeout=HUGE_WAIT) != line:
            pass


@pytest.fixture
def log() -> Iterator[Log]:
    import airflow.sdk.log  # noqa: F401  Airflow sets structlog up as it is imported: that must have happened before
    import structlog

    before = structlog.get_config()
    captured = Log()
    structlog.configure(processors=[captured])
    yield captured
    structlog.configure(**before)


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spark_connection: None) -> Callable[..., "SparkJobOperator"]:
    """A task that submits the stand-in, with its templates rendered."""
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "__main__.py").write_text(PROGRAM, encoding="utf-8")
    monkeypatch.setenv("SHELFMATES_HOME", str(tmp_path))

    def of(stage: str, **arguments: Any) -> "SparkJobOperator":
        from shelfmates.operator import SparkJobOperator

        return SparkJobOperator(task_id=stage, stages=[stage], date="2026-11-20", run_id="r1", **arguments)

    return of


def test_success_logs_the_program_alone_and_tells_the_assets(job: Callable[..., "SparkJobOperator"], log: Log) -> None:
    from airflow.sdk.execution_time.context import OutletEventAccessors
    from shelfmates.assets import NEIGHBOURS

    events = OutletEventAccessors()
    job("done", outlets=[NEIGHBOURS]).execute({"outlet_events": events})
    assert log.said() == ["shelfmates: night 2026-11-20, run r1, Spark up in 0.1 s", "done: 19,406 items, 3.1 s"]
    assert events[NEIGHBOURS].extra == {"snapshot_date": "2026-11-20", "run_id": "r1", "recall": 0.97, "rows_out": 20, "seconds": 1.5}


def test_the_driver_is_told_whose_it_is(job: Callable[..., "SparkJobOperator"], log: Log) -> None:
    job("whose").execute({"outlet_events": {}})
    assert str(os.getpid()) in log.said()


def test_a_transient_failure_may_be_retried(job: Callable[..., "SparkJobOperator"], log: Log) -> None:
    from airflow.sdk.exceptions import AirflowException, AirflowFailException

    with pytest.raises(AirflowException) as raised:
        job("busy").execute({})
    assert not isinstance(raised.value, AirflowFailException)
    assert str(raised.value) == "another writer changed neighbours\n  → run the stage again"
    assert log.said()[-2:] == ["shelfmates: another writer changed neighbours", "→ run the stage again"]


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ("wrong", "source 'shop', file x.csv, row 3: 7 fields under a header of 5\n  → mend the file"),
        ("bug", "KeyError: 'price'"),
    ],
)
@pytest.mark.usefixtures("log")
def test_any_other_failure_is_final(job: Callable[..., "SparkJobOperator"], stage: str, message: str) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    with pytest.raises(AirflowFailException) as raised:
        job(stage).execute({})
    assert str(raised.value).endswith(message)
    assert "19,406 items" not in str(raised.value), "progress is no reason"


def test_a_stop_ends_every_process(job: Callable[..., "SparkJobOperator"], log: Log) -> None:
    from airflow.sdk.exceptions import AirflowException

    task = job("long")
    others = set(psutil.Process().children(recursive=True))  # other tests' Spark session
    with ThreadPoolExecutor() as pool:
        execution = pool.submit(task.execute, {})
        log.wait_for("long: worker started")
        below = [process for process in psutil.Process().children(recursive=True) if process not in others]
        names = {process.name() for process in below}
        task.on_kill()
        with pytest.raises(AirflowException):
            execution.result(timeout=HUGE_WAIT)
    assert "java" in names
    assert len(below) >= 3, "the JVM, the Python driver under it, and what that started"
    assert psutil.wait_procs(below, timeout=10)[1] == []


def test_a_missing_connection_is_an_error(job: Callable[..., "SparkJobOperator"]) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    with pytest.raises(AirflowFailException, match="no connection 'spark_big'") as raised:
        job("done", conn_id="spark_big").execute({})
    assert "airflow connections add spark_big --conn-type spark" in str(raised.value)


def test_a_missing_program_is_an_error(job: Callable[..., "SparkJobOperator"], monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    monkeypatch.setenv("SHELFMATES_HOME", "/nowhere")
    task = job("done")
    with pytest.raises(AirflowFailException, match="no program at /nowhere/jobs"):
        task.execute({})


def test_missing_settings_are_an_error(job: Callable[..., "SparkJobOperator"], monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    monkeypatch.setenv("SHELFMATES_SETTINGS", "/nowhere/shelfmates.toml")
    task = job("done")
    with pytest.raises(AirflowFailException, match=r"/nowhere/shelfmates\.toml cannot be read: No such file"):
        task.execute({})


def test_a_driver_on_the_cluster_is_submitted(job: Callable[..., "SparkJobOperator"], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing of what the program says reaches the task."""
    from shelfmates.submit import SubmitHook

    monkeypatch.setenv("AIRFLOW_CONN_YARN", '{"conn_type": "spark", "host": "yarn", "extra": {"deploy-mode": "cluster"}}')
    submitted: list[list[str]] = []
    monkeypatch.setattr(SubmitHook, "submit", lambda hook, application: submitted.append(hook._build_spark_submit_command(application)))
    job("done", conn_id="yarn").execute({"outlet_events": {}})
    ((*command,),) = submitted
    assert command[1:5] == ["--master", "yarn", "--conf", "spark.pyspark.python=" + sys.executable]
    assert command[command.index("--deploy-mode") + 1] == "cluster"


def test_a_key_in_the_settings_never_reaches_a_command_line(
    job: Callable[..., "SparkJobOperator"], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    text = '[spark.conf]\n"spark.hadoop.fs.s3a.secret.key" = "dark"\n"spark.hadoop.fs.s3a.aws.credentials.provider" = "a.Class"\n'
    (tmp_path / "shelfmates.toml").write_text(text, encoding="utf-8")
    monkeypatch.setenv("SHELFMATES_SETTINGS", str(tmp_path / "shelfmates.toml"))
    task = job("done")
    with pytest.raises(AirflowFailException, match=r"^spark\.hadoop\.fs\.s3a\.secret\.key: a property is on") as raised:
        task.execute({})
    assert "dark" not in str(raised.value)
    assert log.lines.empty(), "nothing was submitted"


def test_a_key_in_a_tasks_own_properties_is_an_error_of_its_dag(job: Callable[..., "SparkJobOperator"]) -> None:
    """Before Airflow shows what the task is made of."""
    from airflow.sdk.exceptions import AirflowFailException

    with pytest.raises(AirflowFailException, match=r"^spark\.executorEnv\.SHOP_API_KEY: a property is on"):
        job("done", conf={"spark.executorEnv.SHOP_API_KEY": "dark", "spark.executor.memory": "2g"})


@pytest.mark.parametrize("settings", ["spark = 1", "[spark]\nconf = 1", "[spark]\nconf = [1]", '[spark.conf]\nspark.my.secret = "dark"'])
def test_settings_of_another_shape_are_left_to_the_program(tmp_path: Path, settings: str) -> None:
    """Which says what is wrong with them."""
    from shelfmates.operator import _spark_conf_of

    (tmp_path / "shelfmates.toml").write_text(settings, encoding="utf-8")
    assert _spark_conf_of(str(tmp_path / "shelfmates.toml")) == {}


def test_the_words_between_plugin_and_program_are_the_same_on_both_sides() -> None:
    """Plugins import nothing of the program."""
    from shelfmates import operator, submit

    from jobs import errors, sections, shift, submitter, toolchain

    assert (submit.FIGURES_LINE, submit.HELD_LINE) == (shift.FIGURES_LINE, shift.HELD_LINE)
    assert (errors.HeldError.exit_code, errors.TransientError.exit_code) == (submit.HELD, submit.MAY_PASS)
    assert submit.SUBMITTER == submitter.SUBMITTER
    assert (operator.SECRET, operator.NO_SECRET) == (sections.SECRET, sections.NO_SECRET)
    assert toolchain.files() == Path(sys.prefix) / "shelfmates"


def test_sparks_options_are_given_as_conf(job: Callable[..., "SparkJobOperator"]) -> None:
    with pytest.raises(TypeError, match="driver_memory, num_executors: expected Spark's options as `conf`"):
        job("done", num_executors=4, driver_memory="4g")


@pytest.mark.parametrize(("master", "told"), [("local[2]", {"SPARK_SUBMIT_OPTS": "-XX:+UseSerialGC"}), ("spark://host:7077", None)])
def test_a_local_jvm_starts_with_the_options_of_setup(
    job: Callable[..., "SparkJobOperator"], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, master: str, told: dict[str, str] | None
) -> None:
    (tmp_path / "shelfmates").mkdir()
    (tmp_path / "shelfmates" / "jvm-options").write_text("-XX:+UseSerialGC\n", encoding="utf-8")
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.delenv("SPARK_SUBMIT_OPTS", raising=False)
    monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", json.dumps({"conn_type": "spark", "host": master}))
    hook = job("done")._get_hook()
    hook._build_spark_submit_command("program.py")
    assert hook._env == told
