"""Entries of a Delta log in S3, as Hadoop's own client puts them, in a store that fails in every way a store does: whoever is told that an
entry is theirs has written it, and nobody's entry is lost."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

from jobs.errors import ToolchainError
from jobs.lake import Lake
from jobs.lake_root import open_lake
from jobs.object_store import LOG_STORE, LOG_STORE_CONF, STORES, spark_conf
from jobs.settings import Settings
from jobs.tables import RUNS
from jobs.toolchain import missing_of
from tests.conftest import MINIMAL
from tests.small_store import LOST, Store, serving

pytestmark = pytest.mark.skipif(bool(missing_of(STORES["s3"])), reason="Spark lacks the jars of S3: `shelfmates setup --store s3`")

ENTRY = "s3a://bucket/lake/runs/_delta_log/00000000000000000001.json"
KEY = ENTRY.removeprefix("s3a:/")
CONF = {
    "fs.s3a.access.key": "an-id",
    "fs.s3a.secret.key": "a-secret",
    "fs.s3a.path.style.access": "true",
    "fs.s3a.endpoint.region": "us-east-1",
    "fs.s3a.impl.disable.cache": "true",
    "fs.s3a.attempts.maximum": "2",
    "fs.s3a.retry.limit": "2",
    "fs.s3a.retry.interval": "10ms",
    "fs.s3a.retry.throttle.limit": "2",
    "fs.s3a.retry.throttle.interval": "10ms",
    "fs.s3a.connection.establish.timeout": "5s",
}

Write = Callable[..., None]


@pytest.fixture
def store() -> Iterator[Store]:
    with serving() as store:
        yield store


@pytest.fixture
def write(lake: Lake, store: Store) -> Write:
    """Writes the lines of an entry, as Delta does."""
    context: Any = lake.spark.sparkContext
    jvm, conf = context._jvm, context._jvm.org.apache.hadoop.conf.Configuration()
    for name, value in (CONF | {"fs.s3a.endpoint": store.url}).items():
        conf.set(name, value)
    of = jvm
    for name in LOG_STORE.split("."):
        of = getattr(of, name)
    log_store = of(conf)

    def wrote(*lines: str, overwrite: bool = False) -> None:
        log_store.write(jvm.org.apache.hadoop.fs.Path(ENTRY), jvm.java.util.List.of(*lines).iterator(), overwrite, conf)

    return wrote


def test_an_entry_is_put_once(write: Write, store: Store) -> None:
    write('{"first": 1}', '{"second": "é"}')
    assert store.objects[KEY].decode() == '{"first": 1}\n{"second": "é"}\n'
    with pytest.raises(Py4JJavaError, match="FileAlreadyExistsException"):
        write('{"another": 1}')
    assert store.objects[KEY].startswith(b'{"first": 1}')
    write("what is no entry of a log", overwrite=True)
    assert store.objects[KEY] == b"what is no entry of a log\n"


def test_an_answer_that_is_lost(write: Write, store: Store) -> None:
    """The client puts the entry again, and is refused, by its own."""
    store.answers = [LOST]
    write("mine")
    assert store.objects[KEY] == b"mine\n"
    assert store.puts == 2


@pytest.mark.parametrize("anothers", [b"theirs\n", b"mine\nand theirs\n", b"min"])
def test_an_entry_of_another_driver_that_came_first(write: Write, store: Store, anothers: bytes) -> None:
    store.answers = [anothers]
    with pytest.raises(Py4JJavaError, match="FileAlreadyExistsException"):
        write("mine")
    assert store.objects[KEY] == anothers


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (403, "AccessDenied"),
        (409, "Status Code: 409"),
        (500, "Status500"),
        (501, "NotImplemented|Status Code: 501"),
        (503, "SlowDown|Throttled"),
    ],
)
def test_a_store_that_fails_has_no_entry(write: Write, store: Store, status: int, said: str) -> None:
    store.answers = [status] * 50
    with pytest.raises(Py4JJavaError, match=said):
        write("mine")
    assert not store.objects


@pytest.mark.parametrize("answers", [[503], [409], [409] * 5])  # 409: another's put is under way, and may yet fail
def test_a_short_failure_is_waited_out(write: Write, store: Store, answers: list[int | bytes]) -> None:
    store.answers = answers
    write("mine")
    assert store.objects[KEY] == b"mine\n"


@contextmanager
def told(spark: SparkSession, conf: dict[str, str]) -> Iterator[None]:
    """Spark, and Hadoop in its JVM, know these properties."""
    context: Any = spark.sparkContext
    hadoop, of_hadoop = context._jsc.hadoopConfiguration(), {name.removeprefix("spark.hadoop."): value for name, value in conf.items()}
    for name, value in conf.items():
        spark.conf.set(name, value)
    for name, value in of_hadoop.items():
        hadoop.set(name, value)
    try:
        yield
    finally:
        for name in conf:
            spark.conf.unset(name)
        for name in of_hadoop:
            hadoop.unset(name)


def test_a_lake_in_a_store_that_does_not_heed_conditions_is_refused(
    lake: Lake, store: Store, settings_of: Callable[[str], Settings]
) -> None:
    settings = settings_of(MINIMAL + '[lake]\nroot = "s3a://bucket/lake"\n')
    with told(lake.spark, CONF | {"fs.s3a.endpoint": store.url}):
        with pytest.raises(ToolchainError, match=r"spark\.delta\.logStore\.s3a\.impl is None: .* one's commit may be lost\n  → leave"):
            open_lake(lake.spark, settings)
        with told(lake.spark, {LOG_STORE_CONF: LOG_STORE}):
            assert open_lake(lake.spark, settings).root == "s3a://bucket/lake"
            store.heeds = None
            with pytest.raises(ToolchainError, match="does not heed"):
                open_lake(lake.spark, settings)
            store.heeds = False
            with pytest.raises(ToolchainError, match=r"does not heed `If-None-Match: \*`: of two .*\n  → take a store that does, or set"):
                open_lake(lake.spark, settings)
            store.answers = [403] * 20
            with pytest.raises(Py4JJavaError, match="AccessDenied"):
                open_lake(lake.spark, settings)
    assert not [key for key in store.objects if "_conditional" in key]  # what was tried with is removed


@pytest.mark.parametrize("heeds", [True, False, None])
def test_a_single_writer_needs_no_conditions(lake: Lake, store: Store, settings_of: Callable[[str], Settings], heeds: bool | None) -> None:
    settings = settings_of(MINIMAL + '[lake]\nroot = "s3a://bucket/lake"\nsingle_writer = true\n')
    store.heeds = heeds
    of_store = spark_conf({"AWS_ENDPOINT_URL_S3": store.url}, single_writer=True)
    with told(lake.spark, CONF | of_store):
        in_store = open_lake(lake.spark, settings)
        in_store.create(RUNS)
        assert in_store.read(RUNS).isEmpty()
    assert "/bucket/lake/runs/_delta_log/00000000000000000000.json" in store.objects
