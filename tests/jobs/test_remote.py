"""A driver whose executors are not its own processes: a real standalone master with a worker, who know nothing of this checkout.

Run as a program, this file is what spark-submit is given; it prints what it and its executor have seen.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

import jobs.kernel
from jobs import program
from jobs.session import open_session
from jobs.settings import load
from jobs.toolchain import spark_home
from tests.conftest import MINIMAL

ROOT = Path(__file__).parents[2]
KEYS = {"AWS_ACCESS_KEY_ID": "AKIATRIEDINTESTS", "AWS_SECRET_ACCESS_KEY": "tried-in-tests-alone"}
LIMIT = 120.0  # seconds


def main() -> None:
    spark: Any = open_session(load(sys.argv[1], environment={}))
    context = spark.sparkContext

    def seen(batches: Any) -> Any:
        import pyarrow as pa

        import jobs.kernel

        file = Path(jobs.kernel.__file__)
        told = {"file": str(file), "time": file.stat().st_mtime, "keys": {name: os.environ.get(name) for name in KEYS}}
        for _ in batches:
            yield pa.RecordBatch.from_pydict({"told": [json.dumps(told)]})

    (row,) = spark.range(0, 1, 1, 1).mapInArrow(seen, "told string").collect()
    hadoop = context._jsc.hadoopConfiguration()
    properties = dict(context.getConf().getAll())
    told = {
        "master": context.master,
        "properties": properties,
        "secret": hadoop.get("fs.s3a.secret.key"),
        "executor": json.loads(row["told"]),
    }
    print(f"told {json.dumps(told)}", flush=True)
    spark.stop()
    os._exit(0)  # as a driver ends that is told to


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a master that has a worker. Both are ended."""
    folder = tmp_path_factory.mktemp("standalone")
    environment = {"PATH": os.environ["PATH"], "SPARK_HOME": str(spark_home()), "SPARK_LOCAL_HOSTNAME": "127.0.0.1"}
    started: list[psutil.Popen] = []

    def start(kind: str, *arguments: str, until: str) -> str:
        log = folder / f"{kind}.log"
        command = [str(spark_home() / "bin" / "spark-class"), f"org.apache.spark.deploy.{kind}", "--host", "127.0.0.1", "--webui-port", "0"]
        with log.open("wb") as said:
            started.append(psutil.Popen([*command, *arguments], cwd=folder, env=environment, stdout=said, stderr=said))
        given_up = time.monotonic() + LIMIT
        while not (found := re.search(until, log.read_text(encoding="utf-8"))):
            assert time.monotonic() < given_up, log.read_text(encoding="utf-8")[-2000:]
            assert started[-1].poll() is None, log.read_text(encoding="utf-8")[-2000:]
            time.sleep(0.2)
        return found[1]

    try:
        address = start("master.Master", "--port", "0", until=r"Starting Spark master at (spark://\S+)")
        start(
            "worker.Worker",
            "--cores",
            "1",
            "--memory",
            "1g",
            "--work-dir",
            str(folder / "work"),
            address,
            until="(Successfully registered)",
        )
        yield address
    finally:
        for process in reversed(started):
            below = process.children(recursive=True) if process.is_running() else []
            process.kill()
            process.wait()
            for one in below:
                with suppress(psutil.NoSuchProcess):
                    one.kill()


def test_a_submitted_driver_knows_its_master_and_brings_the_program_and_keys(master: str, tmp_path: Path) -> None:
    settings = tmp_path / "shelfmates.toml"
    feeds = MINIMAL.replace('"feeds/', '"s3://bucket/feeds/')  # without anything in S3 no keys travel
    settings.write_text(feeds + '[spark]\nmaster = "local[1]"\n[spark.conf]\n"spark.executor.memory" = "1g"\n', encoding="utf-8")
    command = [str(spark_home() / "bin" / "spark-submit"), "--master", master, "--conf", f"spark.pyspark.python={sys.executable}"]
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    own = {"PYTHONPATH": str(ROOT), "SPARK_LOCAL_HOSTNAME": "127.0.0.1", "PYSPARK_PYTHON": sys.executable, "TMPDIR": str(temporary)}
    environment = os.environ | KEYS | own
    ran = subprocess.run([*command, __file__, str(settings)], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=LIMIT)
    assert ran.returncode == 0, ran.stderr[-3000:]
    (told,) = (json.loads(line.removeprefix("told ")) for line in ran.stdout.splitlines() if line.startswith("told "))
    assert told["master"] == master
    assert f"/{program.FOLDER}/jobs/kernel.py" in told["executor"]["file"]
    assert told["executor"]["time"] == Path(jobs.kernel.__file__).stat().st_mtime  # by which numba knows what it has compiled
    assert told["executor"]["keys"] == KEYS
    assert told["secret"] == KEYS["AWS_SECRET_ACCESS_KEY"]
    assert not [name for name, value in told["properties"].items() if value in KEYS.values()]
    assert not [*temporary.glob("shelfmates-*/")], "the program's archive is removed"


if __name__ == "__main__":
    main()
