"""The root of a lake: whether this process may write there, and whether several drivers may at once."""

import re
import tempfile
import uuid
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs import toolchain
from jobs.address import shown
from jobs.errors import ToolchainError
from jobs.lake import Lake
from jobs.object_store import BUILT_IN, LOG_STORE, LOG_STORE_CONF, STORES, in_s3, store_of
from jobs.settings import Settings
from jobs.storage import trouble

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

KNOWS_NO_CONDITIONS = re.compile(r"Status Code: 501|NotImplemented")  # as Amazon's client says what the store answers


def check_root(settings: Settings) -> None:
    """Raises ToolchainError if a local root cannot be written, or if Spark lacks the file system of another one, unless the settings add
    jars of their own."""
    root = settings.lake.root
    if "://" not in root:
        return check_writable(root)
    scheme, store = root.partition("://")[0], store_of(root)
    if scheme in BUILT_IN:
        return None
    brings_jars = any(key.startswith("spark.jars") for key in settings.spark.conf)
    if store is None and (in_s3(root) or not brings_jars):  # of other names of S3 Delta would write the log in its own way
        known = ", ".join(f"{name}://" for one in STORES.values() for name in one.schemes)
        raise ToolchainError(f"{shown(root)}: Spark knows no {scheme}://", f"set lake.root to a folder, or to one of {known}")
    if store is not None and not brings_jars and (missing := toolchain.missing_of(store)):
        raise ToolchainError(
            f"{shown(root)}: no {', '.join(missing)} in {toolchain.spark_home() / 'jars'}", f"run `shelfmates setup --store {store.name}`"
        )
    return None


def check_writable(root: str) -> None:
    """Raises ToolchainError if a folder cannot be made or written."""
    folder = Path(root)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        known = trouble(error)
        remedy = known.remedy if known else "give this user write access, or set lake.root"
        raise ToolchainError(f"the lake at {root} cannot be written: {error.strerror}", remedy) from error


def open_lake(spark: "SparkSession", settings: Settings) -> Lake:
    """The lake of the settings. Raises ToolchainError where it is in an S3 store that several drivers cannot safely write at once, unless
    the settings say that only one does."""
    lake = Lake(spark, settings.lake.root)
    if in_s3(lake.root) and not settings.lake.single_writer:
        loses = "with another log store of two drivers that write a table at once one's commit may be lost"
        if (log_store := spark.conf.get(LOG_STORE_CONF, None)) != LOG_STORE:
            raise ToolchainError(f"{LOG_STORE_CONF} is {log_store}: {loses}", "leave the property out, or set lake.single_writer = true")
        if not toolchain.log_store_jar().is_file():
            raise ToolchainError(
                f"{LOG_STORE} is not installed: {loses}", "run `shelfmates setup --store s3`, or set lake.single_writer = true"
            )
        _check_exclusive(lake)
    return lake


def _check_exclusive(lake: Lake) -> None:
    """Puts an object twice on the condition that there is none: a store that does not heed it would lose commits, and tell nobody."""
    from py4j.protocol import Py4JJavaError

    context: Any = lake.spark.sparkContext
    jvm, conf = context._jvm, context._jsc.hadoopConfiguration()
    path = jvm.org.apache.hadoop.fs.Path(f"{lake.root.rstrip('/')}/_conditional_{uuid.uuid4().hex}")
    log_store = getattr(jvm, LOG_STORE.partition(".")[0])
    log_store = getattr(log_store, LOG_STORE.partition(".")[2])(conf)
    try:
        log_store.write(path, jvm.java.util.List.of("first").iterator(), False, conf)
        try:
            log_store.write(path, jvm.java.util.List.of("second").iterator(), False, conf)
        except Py4JJavaError as error:
            if "FileAlreadyExistsException" in str(error.java_exception):
                return
            raise
    except Py4JJavaError as error:
        if not KNOWS_NO_CONDITIONS.search(str(error.java_exception)):
            raise
    finally:
        with suppress(Py4JJavaError):  # of a store that does not answer, the first error tells
            path.getFileSystem(conf).delete(path, False)
    raise ToolchainError(
        f"the store of {lake.root} does not heed `If-None-Match: *`: of two drivers that write a table at once, one's commit would be lost",
        "take a store that does, or set lake.single_writer = true and let one driver write at a time (in Airflow a pool of one slot)",
    )
