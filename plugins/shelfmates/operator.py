"""The one operator that submits Spark: consecutive stages of one night, in one Spark session, through the program's own command line.

What the program says is the task's log, live; Spark's chatter is left out. A failure ends with the program's own message, and is retried
only where a second try may help. Stopping a task ends its JVM and every Python process under it. A submit costs about 3 s before the
program's first line, and Spark's own start after that: so a task takes several stages. What the stages do is no business of this file:
it names them as strings.
"""

import datetime
import importlib.util
import inspect
import os
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from shelfmates.alerts import task_failed
from shelfmates.links import DataDocsLink, ExplorerLink, SparkHistoryLink
from shelfmates.place import home, settings_file
from shelfmates.submit import STORE, SubmitHook

if TYPE_CHECKING:
    from airflow.sdk import Context

# the form's date, else the partition's, else the day of the schedule: a run started by an asset or without a logical date has no `ds`
NIGHT = "{{ params.get('date') or dag_run.partition_key or ds | default('') }}"

# of every DAG's tasks
DEFAULTS: dict[str, Any] = {
    "owner": "shelfmates",
    # there are as many drivers at once as the pool has slots
    "pool": os.environ.get("SHELFMATES_POOL") or "default_pool",
    "on_failure_callback": task_failed,
    "retries": 2,  # the operator lets only transient errors come to a retry
    "retry_delay": datetime.timedelta(minutes=2),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": datetime.timedelta(minutes=30),
}

# what the driver's JVM and its Python must be told before they start
DRIVER = {
    "spark.pyspark.python": sys.executable,
    "spark.pyspark.driver.python": sys.executable,
    "spark.driver.memory": "2g",  # Spark's 1g is little for a driver that is the only executor too
}

# names of properties that hold keys, and those that are only named like them, as in jobs/sections.py
SECRET = (
    r"(?i)secret|password|passphrase|token|credential|connection[._-]?string|\.sas\."
    r"|(access|account|private|encryption|user|api|storage|provided)[._-]?key(?!size|gen)"
)
NO_SECRET = (
    r"(?i)(provider|provider\.mapping|provider\.type|file|path|enabled|\.renewal\.credentials|renewalRatio|retryWait|pullSecrets"
    r"|tokenSecret\.(name|itemKey)|tokenConfRegex|token\.binding|token\.server\.url|ssl\.rpc\.privateKey|secretBitLength"
    r"|TOKENIZERS_PARALLELISM|APPLICATION_CREDENTIALS)$"
    r"|(driver|executor)\.(secretKeyRef|secrets)\.|token\.provider\.type\.|account\.keyprovider\."
)

_SPARK_OPTIONS = inspect.signature(SparkSubmitOperator.__init__).parameters.keys() - {"self", "kwargs", "conf", "conn_id"}


class SparkJobOperator(SparkSubmitOperator):
    """Runs `shelfmates <stages> <options> --date <date> --run-id <run_id>` under spark-submit.

    `options`, `date` and `run_id` are templated; an option that renders to nothing is left out. The program is that of the checkout this
    file lies in, else of $SHELFMATES_HOME; its settings are $SHELFMATES_SETTINGS, else the checkout's `shelfmates.toml`. `conf` comes on
    top of the settings' own `[spark.conf]`, which is read here because a JVM's memory and options must be known before it starts. The
    interpreter on every machine is the one Airflow runs in, at the same path; where it lies elsewhere, `conf` says so
    (`spark.pyspark.python`). A property named like one that holds a key is refused, here and in the settings: all are on the command line.

    `secrets` maps variables of the program to connections whose passwords they get; without the connection a worker's own variable counts.
    So does the connection `shelfmates_s3` (aws: login, password, `endpoint_url` and `region_name` in its extra) for a lake in S3.
    In deploy mode cluster they would stand in the command: there the driver's environment has to have them.

    Every outlet's event gets the date, the run and the stages' figures in its extra; a task whose stages had nothing to do is skipped,
    without an event. Raises AirflowFailException, which no retry follows, unless the program or its process ended in a way that may pass.
    """

    operator_extra_links = (ExplorerLink(), DataDocsLink(), SparkHistoryLink())
    template_fields: Sequence[str] = (*SparkSubmitOperator.template_fields, "options", "date", "run_id")

    def __init__(
        self,
        *,
        stages: Sequence[str],
        options: Sequence[str] = (),
        date: str = NIGHT,
        run_id: str = "{{ run_id }}",
        secrets: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        if unknown := kwargs.keys() & _SPARK_OPTIONS:
            raise TypeError(f"{', '.join(sorted(unknown))}: expected Spark's options as `conf`; write them as spark.* properties")
        _no_keys(kwargs.get("conf") or {})
        # durable: the provider would follow a cluster's driver across tries, by an API that only some clusters have
        application, name = str(home() / "jobs" / "__main__.py"), f"shelfmates-{'-'.join(stages)}"
        super().__init__(application=application, name=name, durable=False, **kwargs)
        self._hook: SubmitHook | None = None
        self.stages = list(stages)
        self.options = list(options)
        self.date = date
        self.run_id = run_id
        self.secrets = secrets or {}
        self.settings = settings_file()

    def execute(self, context: "Context") -> None:
        """Submits, waits, and gives the figures to the outlets' events."""
        super().execute(context)
        figures = self._hook.figures if self._hook else {}
        if figures and all("idle" in of_stage for of_stage in figures.values()):
            raise AirflowSkipException("there was nothing to do, so nobody is told of anything")
        told: dict[str, Any] = {
            "snapshot_date": night_of(self.date),
            "run_id": self.run_id,
            **_merged(figures),
        }
        for asset in self.outlets:
            context["outlet_events"][asset].extra = told

    def on_kill(self) -> None:
        """Ends what was submitted."""
        if self._hook is not None:
            self._hook.on_kill()

    def _get_hook(self) -> SubmitHook:
        night = night_of(self.date)
        if not Path(self.application).is_file():
            raise AirflowFailException(
                f"there is no program at {self.application}\n"
                "  → set SHELFMATES_HOME to the checkout, in the environment of the scheduler and of every worker"
            )
        options = [option for option in self.options if option]
        return SubmitHook(
            conf=DRIVER | _spark_conf_of(self.settings) | (self.conf or {}),
            conn_id=self._conn_id,
            name=self.name,
            application_args=[*self.stages, *options, "--date", night, "--run-id", self.run_id, "--settings", self.settings, "--figures"],
            secrets=self.secrets,
            spark_binary=_spark_submit(),
        )


def night_of(text: str) -> str:
    """The date in `text`, which may be a day or, from a partition key, a moment."""
    if not text:
        raise AirflowFailException(
            "this run has no date: it was started without a logical date or a partition, and the form's field Night (date) is empty\n"
            "  → start it again and fill in 'date' (YYYY-MM-DD), the night to work on"
        )
    try:
        return datetime.datetime.fromisoformat(text).date().isoformat()
    except ValueError:
        raise AirflowFailException(
            f"{text!r} is not a date\n  → start the run again with 'date' as YYYY-MM-DD, the night to work on"
        ) from None


def _spark_conf_of(settings: str) -> dict[str, str]:
    """`[spark.conf]` of the settings file, as far as it is text. Checks nothing else of it: the program does, and says it better."""
    try:
        text = Path(settings).read_text(encoding="utf-8")
        conf: Any = tomllib.loads(text)
        for key in ("spark", "conf"):
            conf = conf.get(key, {}) if isinstance(conf, dict) else {}
    except OSError as error:
        raise AirflowFailException(
            f"the settings file {settings} cannot be read: {error.strerror}\n"
            "  → put it there, or set SHELFMATES_SETTINGS in the environment of the scheduler and of every worker"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise AirflowFailException(f"the settings file {settings} is not TOML: {error}\n  → mend the line named") from None
    texts = {name: value for name, value in conf.items() if isinstance(value, str)} if isinstance(conf, dict) else {}
    _no_keys(texts)
    return texts


def _no_keys(conf: Mapping[str, str]) -> None:
    """Raises AirflowFailException where a property is named like one that holds a key."""
    if keys := [name for name in conf if re.search(SECRET, name) and not re.search(NO_SECRET, name)]:
        raise AirflowFailException(
            f"{', '.join(keys)}: a property is on spark-submit's command line, where anybody can read a key\n"
            f"  → give S3's keys by the connection {STORE!r}, variables of the program by the task's `secrets`, any other property by the"
            " file spark-defaults.conf of $SPARK_CONF_DIR"
        )


def _spark_submit() -> str:
    """The spark-submit of the pyspark installed beside Airflow. The one in the environment's bin asks the PATH's python3 where Spark is."""
    pyspark = importlib.util.find_spec("pyspark")  # finds the package without importing it
    if pyspark is None or pyspark.origin is None:
        raise AirflowFailException("pyspark is not installed beside Airflow\n  → run `make setup`")
    return str(Path(pyspark.origin).parent / "bin" / "spark-submit")


def _merged(figures: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Every figure of the stages in one; where two stages give the same one (rows, seconds), the last stage's."""
    return {name: value for stage in figures.values() for name, value in stage.items()}
