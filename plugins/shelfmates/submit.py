"""spark-submit as a child of an Airflow task: what it says, how it ended, and how it is stopped.

Airflow's own hook hides the exit code, logs every line of Spark's, takes YARN where a connection is missing, and on a stop kills the JVM
but leaves the Python driver under it at work. This one mends those four, gives the program the address and the keys of the store that a
connection names, and nothing else; commands are built by the hook as it is.
"""

import contextlib
import json
import os
import re
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
from airflow.providers.apache.spark.hooks.spark_submit import SparkSubmitHook
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowNotFoundException

FIGURES_LINE = "shelfmates-figures "  # begins the program's last line, a JSON object with one object per stage
HELD_LINE = "shelfmates-held "  # begins the line that lists what holds the night, as JSON
STORE = "shelfmates_s3"  # the connection that has the address and the keys of the store in which the lake lies, where it lies in S3
STORE_EXTRA = {"aws_session_token", "endpoint_url", "region_name"}
STORE_KEYS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}
SUBMITTER = "SHELFMATES_SUBMITTER"  # tells the driver whose end is its own, as in jobs/submitter.py
MESSAGE_LINES = 40  # of the program's last words kept for the exception: a long traceback, or every fault of a settings file
HELD = 4  # the program's exit code of a night that is held
MAY_PASS = 75  # EX_TEMPFAIL: the program itself says that a second try may succeed
GRACE = 3.0  # seconds between asking a process to end and killing it; Airflow kills the task itself after 5

# what the JVM and Spark's log4j say below ERROR: "26/11/22 07:05:37 WARN Utils: ...", "07:05:37 INFO SparkContext: ..."
_CHATTER = re.compile(
    r"(\d\d/\d\d/\d\d )?\d\d:\d\d:\d\d (TRACE|DEBUG|INFO|WARN) "
    r"|WARNING: (Using incubator modules|package \S+ not in|A terminally deprecated|sun\.misc\.Unsafe|Please consider)"
    r"|Using Spark's default log4j profile|Setting default log level to|To adjust logging level use|Picked up \w*JAVA\w*:"
)
# what ends it, since a record may go on for lines: a stage's line ("embed: ..."), the program's own, a traceback, an error of Spark's
_WORDS = re.compile(r"[a-z_]+: |Traceback \(|(\d\d/\d\d/\d\d )?\d\d:\d\d:\d\d (ERROR|FATAL) ")
_REASONS = ("shelfmates: ", "Traceback (most recent call last)")  # how the program begins to say why it failed
_GREETING = "shelfmates: night "


class NightHeldError(AirflowFailException):
    """The program holds the night by `checks`, from which a person may release it."""

    def __init__(self, message: str, checks: list[dict[str, str]]) -> None:
        super().__init__(message)
        self.checks = checks


class SubmitHook(SparkSubmitHook):
    """`figures` holds what the program reported, by stage, once `submit` has returned; in cluster mode nothing reaches it."""

    def __init__(self, *, secrets: Mapping[str, str], **kwargs: Any) -> None:
        self.conf: dict[str, str] = kwargs["conf"]
        self.figures: dict[str, dict[str, float]] = {}
        self._held: list[dict[str, str]] = []
        self._said: deque[str] = deque(maxlen=MESSAGE_LINES)
        self._stopped = False
        super().__init__(**kwargs)
        if self._connection["master"].startswith("local"):
            self._env_vars = _jvm_options()
        self._secrets = {} if self._cluster_mode else self._passwords(secrets) | self._store()

    def submit(self, application: str = "", **kwargs: Any) -> str | None:
        """Submits and waits. Raises AirflowFailException with the program's own message (NightHeldError where a person may release the
        night), or AirflowException if a retry may help."""
        if not self._cluster_mode:  # there the driver is on another machine
            os.environ[SUBMITTER] = str(os.getpid())  # a task has a process of its own
        try:
            return super().submit(application, encoding="utf-8", errors="replace", **kwargs)
        except AirflowException as error:
            raise self._verdict(error) from None
        except KeyboardInterrupt:  # `airflow dags test` would wait for the retry
            raise AirflowFailException("stopped from the keyboard") from None
        finally:
            self._end_processes()  # none is left, unless a timeout or Ctrl-C broke in
            if self._submit_sp is not None:
                self._submit_sp.stdout.close()  # the hook leaves it open

    def _build_spark_submit_command(self, application: str) -> list[str]:
        """The secrets are in the environment of spark-submit alone: of the hook's own variables some masters make a part of the command."""
        command: list[str] = super()._build_spark_submit_command(application)
        if self._secrets:
            self._env = (self._env or {}) | self._secrets
        return command

    def on_kill(self) -> None:
        """Ends the JVM and every Python process under it; what runs on a cluster is ended by the hook's own ways."""
        if not self._cluster_mode:
            self._end_processes()
        super().on_kill()

    def _resolve_connection(self) -> dict[str, Any]:
        try:
            self.get_connection(self._conn_id)
        except AirflowNotFoundException:
            raise AirflowFailException(
                f"there is no connection {self._conn_id!r}, so it isn't known which Spark to use\n"
                f"  → airflow connections add {self._conn_id} --conn-type spark --conn-host 'local[*]'"
                " (or spark://host:7077, yarn, k8s://https://host)"
            ) from None
        resolved: dict[str, Any] = super()._resolve_connection()
        return resolved

    def _passwords(self, secrets: Mapping[str, str]) -> dict[str, str]:
        """Variable -> password of its connection, of those that there are."""
        found = {}
        for variable, conn_id in secrets.items():
            with contextlib.suppress(AirflowNotFoundException):
                found[variable] = self.get_connection(conn_id).password or ""
        return found

    def _store(self) -> dict[str, str]:
        """The variables of S3 that the connection gives; none without it: then the worker's own count, or the platform's."""
        try:
            store = self.get_connection(STORE)
        except AirflowNotFoundException:
            return {}
        extra = store.extra_dejson
        if unknown := extra.keys() - STORE_EXTRA:
            raise AirflowFailException(
                f"the connection {STORE!r} has {', '.join(sorted(unknown))} in its extra, which Spark would not heed\n"
                f"  → leave it out: there may be {', '.join(sorted(STORE_EXTRA))}; without login and password the platform's role counts"
            )
        found = {
            "AWS_ACCESS_KEY_ID": store.login,
            "AWS_SECRET_ACCESS_KEY": store.password,
            "AWS_SESSION_TOKEN": extra.get("aws_session_token"),
            "AWS_ENDPOINT_URL_S3": extra.get("endpoint_url"),
            "AWS_REGION": extra.get("region_name"),
        }
        # keys of a worker's own environment beside these would not fit them
        return {variable: value or "" for variable, value in found.items() if value or (store.login and variable in STORE_KEYS)}

    @property
    def _cluster_mode(self) -> bool:
        return bool(self._connection["deploy_mode"] == "cluster")

    def _process_spark_submit_log(self, itr: Iterator[Any]) -> None:
        # in cluster mode Spark's own lines carry the ids by which the hook follows the driver
        super()._process_spark_submit_log(itr if self._cluster_mode else self._words(itr))

    def _words(self, lines: Iterable[str]) -> Iterator[str]:
        """The program's own lines, as they come."""
        chatter = False
        for line in lines:
            chatter = bool(_CHATTER.match(line)) or (chatter and not _WORDS.match(line))
            if line.startswith(FIGURES_LINE):
                self.figures = json.loads(line.removeprefix(FIGURES_LINE))
            elif line.startswith(HELD_LINE):
                self._held = json.loads(line.removeprefix(HELD_LINE))
            elif chatter or self._stopped:  # what processes say of being ended is no news
                self.log.debug(line.rstrip())
            elif line.strip():
                self._said.append(line.rstrip())
                yield line

    def _verdict(self, error: AirflowException) -> AirflowException:
        code = self._submit_sp.returncode if self._submit_sp is not None else None
        if not code or self._cluster_mode:
            return error
        if self._stopped:
            return AirflowException("the task was stopped: Spark and the Python processes under it were ended")
        killed = code < 0 or code > 128  # by a signal: the machine or a person ended the process, not the program
        message = self._reason() or f"spark-submit {'was killed' if killed else 'failed'} (exit code {code}):\n" + "\n".join(self._said)
        if code == HELD and self._held:
            return NightHeldError(message, self._held)
        return AirflowException(message) if killed or code == MAY_PASS else AirflowFailException(message)

    def _reason(self) -> str:
        """Why the program failed, in its own words; empty where it gave none."""
        said = list(self._said)
        begins = [at for at, line in enumerate(said) if line.startswith(_REASONS) and not line.startswith(_GREETING)]
        return "\n".join(said[begins[-1] :]).removeprefix(_REASONS[0]) if begins else ""

    def _end_processes(self) -> None:
        """Ends spark-submit's JVM, kindly first, then whatever it leaves behind. Does nothing once spark-submit has ended."""
        if self._submit_sp is None or self._submit_sp.poll() is not None:
            return
        self._stopped = True
        below: list[psutil.Process] = []
        with contextlib.suppress(psutil.NoSuchProcess):  # it may end by itself at any moment
            below = psutil.Process(self._submit_sp.pid).children(recursive=True)
        self._submit_sp.terminate()  # the JVM's shutdown hooks remove Spark's temporary folders
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._submit_sp.wait(GRACE)
        self._submit_sp.kill()
        for process in below:
            with contextlib.suppress(psutil.NoSuchProcess):
                for one in (process, *process.children(recursive=True)):  # those too that began meanwhile
                    with contextlib.suppress(psutil.NoSuchProcess):
                        one.kill()


def _jvm_options() -> dict[str, str]:
    """The options with which set-up wants a local JVM to start (its class-data archive halves the start); an environment's own stay."""
    options = Path(sys.prefix) / "shelfmates" / "jvm-options"  # as in jobs/toolchain.py, which plugins don't import
    if "SPARK_SUBMIT_OPTS" in os.environ or not options.is_file():
        return {}
    return {"SPARK_SUBMIT_OPTS": options.read_text(encoding="utf-8").strip()}
