"""What the program needs beside Python packages, and how it gets there: Java, the Delta jars, a class-data archive of the JVM.

Everything is put into the virtual environment once, at set-up, so that no later run resolves or downloads anything. The jars go beside
Spark's own (`pyspark/jars`), without their dependencies: Spark has these already, and the ones Delta asks for are other versions.
The archive holds the parsed classes of one Delta write and read: a session with it reaches its first table in half the time.
Object stores are fetched where they are asked for.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jobs.errors import ToolchainError
from jobs.object_store import STORES, Jar, Store

JAVA_MINIMUM = 17
JAVA_PACKAGE = "openjdk-17-jre-headless"

# the Delta Lake release of delta-spark in uv.lock; 'artifact_2.13' names carry Spark's Scala version
DELTA_JARS: tuple[Jar, ...] = (
    ("io.delta", "delta-spark_4.2_2.13", "4.4.0"),
    ("io.delta", "delta-storage", "4.4.0"),
    ("io.delta", "delta-kernel-api", "4.4.0"),
    ("io.delta", "delta-kernel-defaults", "4.4.0"),
    ("io.delta", "delta-kernel-unitycatalog", "4.4.0"),
    ("io.unitycatalog", "unitycatalog-client", "0.6.0"),
    ("io.unitycatalog", "unitycatalog-hadoop", "0.6.0"),
)

# Spark's own chatter is not for the people who read the stages' lines
LOG4J = """\
rootLogger.level = error
rootLogger.appenderRef.console.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss} %p %c{1}: %m%n%ex{short}
# what fails in a task is raised in the driver too, and told there
logger.executor.name = org.apache.spark.executor.Executor
logger.executor.level = off
logger.tasks.name = org.apache.spark.scheduler.TaskSetManager
logger.tasks.level = off
logger.writer.name = org.apache.spark.sql.delta.files.DeltaFileFormatWriter
logger.writer.level = off
# without this the gateway says that it turns the level to WARN, and does so
logger.gateway.name = org.apache.spark.api.python.PythonGatewayServer
logger.gateway.level = error
"""


@dataclass(frozen=True)
class Finding:
    """One thing looked at: what was found, whether it will do, and the remedy where it will not."""

    name: str
    ok: bool
    found: str
    remedy: str = ""


def spark_home() -> Path:
    """Where Spark lies. Under spark-submit the package itself is imported from a zip, and the environment says it."""
    import pyspark

    return Path(os.environ.get("SPARK_HOME") or Path(pyspark.__file__).parent)


def java() -> str:
    """Path of a Java of at least 17, from $JAVA_HOME or the PATH. Raises ToolchainError."""
    home = os.environ.get("JAVA_HOME")
    command = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    remedy = f"install one (Debian, Ubuntu: apt-get install {JAVA_PACKAGE}) or set JAVA_HOME"
    if not command or not Path(command).is_file():
        raise ToolchainError(f"no Java {'at JAVA_HOME=' + home if home else 'on the PATH'}; Spark needs {JAVA_MINIMUM} or newer", remedy)
    version = _java_version(command)
    if int(version.split(".")[0]) < JAVA_MINIMUM:
        raise ToolchainError(f"{command} is Java {version}; Spark needs {JAVA_MINIMUM} or newer", remedy)
    return command


def _java_version(command: str) -> str:
    printed = _java_says(command)
    version = printed.partition('"')[2].partition('"')[0]  # openjdk version "17.0.15"
    if not version.split(".")[0].isdigit():
        raise ToolchainError(f"{command} -version says {printed.strip()[:200]!r}", "set JAVA_HOME to a working Java")
    return version


def _java_says(command: str) -> str:
    return subprocess.run([command, "-version"], capture_output=True, text=True, check=False).stderr


def missing_jars(wanted: Sequence[Jar] | None = None) -> list[str]:
    """Of Delta's, or of those wanted."""
    jars = spark_home() / "jars"
    names = [f"{artifact}-{version}.jar" for _, artifact, version in wanted or DELTA_JARS]
    return [name for name in names if not (jars / name).is_file()]


def missing_of(store: Store) -> list[str]:
    """What Spark lacks for a store."""
    log_store = [] if store.name != "s3" or log_store_jar().is_file() else [log_store_jar().name]
    return [*missing_jars(store.jars), *log_store]


def log_store_jar() -> Path:
    """Where the compiled log store lies; its name changes with its source."""
    source = Path(__file__).with_name("S3LogStore.scala").read_bytes()
    return spark_home() / "jars" / f"shelfmates-s3-log-store-{hashlib.sha256(source).hexdigest()[:12]}.jar"


def check() -> None:
    """Raises ToolchainError where Java or a jar is missing without which Spark cannot start, or not write."""
    java()
    if missing := missing_jars():
        raise ToolchainError(f"Delta jars are missing: {', '.join(missing)}", "run `make setup`, or `shelfmates setup`")


def set_up(stores: Sequence[str] = ()) -> None:
    """Installs what is missing of Java, jars, those of the stores too, and archive. Does nothing, and needs no network, where all is
    there."""
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        _install_java()
    command = java()
    print(f"setup: Java {_java_version(command)} at {command}", flush=True)
    if missing := missing_jars():
        print(f"setup: fetching {len(missing)} Delta jars", flush=True)
        _fetch_jars(command, DELTA_JARS)
    for store in (STORES[name] for name in stores):
        _set_up_store(command, store)
    folder = files()
    folder.mkdir(exist_ok=True)
    (folder / "log4j2.properties").write_text(LOG4J, encoding="utf-8")
    archive = archive_of(command)
    if not archive.is_file():
        print("setup: recording the JVM's class-data archive (about a minute, once)", flush=True)
        _record_archive(archive)
    (folder / "jvm-options").write_text(jvm_options(f"-XX:SharedArchiveFile={archive}") + "\n", encoding="utf-8")
    for stale in set(folder.glob("classes-*.jsa")) - {archive}:
        stale.unlink()
    print(f"setup: ready, archive of {archive.stat().st_size / 1e6:.0f} MB", flush=True)


def files() -> Path:
    """The folder of what set-up made. Not pyspark/conf: that is on the class path, and an archive allows no folder with files there."""
    return Path(sys.prefix) / "shelfmates"


def use_jvm_options(*, local: bool) -> None:
    """Lets the JVM that this process is about to start begin with set-up's options, those of a driver alone where the executors are
    elsewhere; an environment that has its own keeps them."""
    options = files() / "jvm-options"
    if options.is_file():
        wanted = options.read_text(encoding="utf-8").strip() if local else _quiet()
        os.environ.setdefault("SPARK_SUBMIT_OPTS", wanted)


def _quiet() -> str:
    return f"-Dlog4j2.configurationFile={files() / 'log4j2.properties'}"


def archive_of(command: str) -> Path:
    """Where the class-data archive of this Java and these jars lies. The JVM passes over one that was recorded by another build of Java, or
    with a jar of another name, place, size or time, and says nothing, so the name changes with each of them."""
    jars = spark_home() / "jars"
    stated = sorted((jar.name, jar.stat().st_size, int(jar.stat().st_mtime)) for jar in jars.glob("*.jar"))
    builds = re.findall(r"\(build ([^,)]+)", _java_says(command))  # the same version may be built twice: 17.0.15+6-Debian-1deb12u1
    fingerprint = hashlib.sha256(f"{builds} {jars} {stated}".encode()).hexdigest()[:12]
    return files() / f"classes-{_java_version(command)}-{fingerprint}.jsa"


def _install_java() -> None:
    """From the system's packages, if this user may install any; otherwise leaves the word to `java`."""
    apt = shutil.which("apt-get")
    privilege = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if apt is None or (privilege and shutil.which("sudo") is None):
        return
    print(f"setup: no Java found, installing {JAVA_PACKAGE}", flush=True)
    for arguments in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", JAVA_PACKAGE]):
        if subprocess.run([*privilege, apt, *arguments], stdout=subprocess.DEVNULL, check=False).returncode != 0:
            return


def _set_up_store(command: str, store: Store) -> None:
    if missing := missing_jars(store.jars):
        print(f"setup: fetching {len(missing)} jars of the store {store.name}", flush=True)
        _fetch_jars(command, store.jars)
    if missing_of(store):
        print("setup: compiling the log store of S3", flush=True)
        _compile_log_store(command)


def _compile_log_store(command: str) -> None:
    """With the Scala compiler that Spark ships; a jar of an earlier source goes."""
    jar, source = log_store_jar(), Path(__file__).with_name("S3LogStore.scala")
    for stale in jar.parent.glob("shelfmates-s3-log-store-*.jar"):
        stale.unlink()
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / jar.name
        compiler = [command, "-cp", f"{jar.parent}/*", "scala.tools.nsc.Main", "-usejavacp"]
        compiled = subprocess.run([*compiler, "-d", str(made), str(source)], capture_output=True, text=True, check=False)
        if compiled.returncode != 0:
            raise ToolchainError(f"{source} does not compile:\n{compiled.stdout}{compiled.stderr}", "run `shelfmates setup` again")
        shutil.copy(made, jar)


def _fetch_jars(command: str, wanted: Sequence[Jar]) -> None:
    """Resolves the jars from Maven Central with the Ivy that Spark ships, without dependencies."""
    jars = spark_home() / "jars"
    ivy = next(jars.glob("ivy-*.jar"))
    dependencies = "\n".join(
        f'<dependency org="{organisation}" name="{artifact}" rev="{version}" transitive="false" conf="default->master"/>'
        for organisation, artifact, version in wanted
    )
    with tempfile.TemporaryDirectory() as folder:
        module = Path(folder) / "ivy.xml"
        module.write_text(
            '<ivy-module version="2.0"><info organisation="shelfmates" module="jars"/><configurations><conf name="default"/>'
            f"</configurations><dependencies>{dependencies}</dependencies></ivy-module>",
            encoding="utf-8",
        )
        resolve = ["-ivy", str(module), "-cache", f"{folder}/cache", "-types", "jar"]
        retrieve = ["-retrieve", f"{folder}/jars/[artifact]-[revision].[ext]"]
        fetched = subprocess.run([command, "-jar", str(ivy), *resolve, *retrieve], capture_output=True, text=True, check=False)
        for jar in Path(folder, "jars").glob("*.jar"):
            shutil.copy(jar, jars / jar.name)
    if missing := missing_jars(wanted):
        said = "\n".join(line for line in (fetched.stdout + fetched.stderr).splitlines() if "ERROR" in line or "UNRESOLVED" in line)
        raise ToolchainError(
            f"could not fetch {', '.join(missing)} from Maven Central:\n{said}", "check the network, then run `make setup` again"
        )


def _record_archive(archive: Path) -> None:
    """Runs a whole night of a made-up catalogue in a JVM that writes down its classes as it ends."""
    program = [sys.executable, "-m", "jobs"]
    environment = os.environ | {"SPARK_SUBMIT_OPTS": jvm_options(f"-XX:ArchiveClassesAtExit={archive}")}
    with tempfile.TemporaryDirectory() as folder:
        generated = ["generate", "--items", "100", "--nights", "1", "--start", "2026-01-01", "--out", folder]
        night = ["run", "--date", "2026-01-01", "--settings", f"{folder}/shelfmates.toml"]
        for arguments in (generated, night):
            ran = subprocess.run([*program, *arguments], env=environment, capture_output=True, text=True, check=False)
    if ran.returncode != 0 or not archive.is_file():
        raise ToolchainError(
            f"the JVM's class-data archive was not written:\n{(ran.stdout + ran.stderr)[-2000:]}", "run `make setup` again"
        )


def jvm_options(archive_option: str) -> str:
    """What a local driver's JVM is started with.

    TieredStopAtLevel=1: the heavy work is in Python, and the full compiler costs more in a short night than it gains.
    SerialGC: two cores and a small heap; NewRatio=1: what fills it, rows on their way, is soon garbage. ReservedCodeCacheSize: the first
    compiler's own 48 MB are full before a whole night is over, and nothing is compiled from then on. Xlog: an archive that cannot be used
    (another Java) costs time, not correctness.
    """
    return (
        "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=240m -XX:+UseSerialGC -XX:NewRatio=1 "
        f"-Xshare:auto -Xlog:cds=off -Xlog:cds+dynamic=off {_quiet()} {archive_option}"
    )
