"""An executor dies while it searches: the stage finishes, and stages what an undisturbed run stages.

The tests' own session has no executors to lose. Run as a program, this file is the driver of a cluster: two executors, a process each.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from pathlib import Path
from unittest.mock import patch

import numpy as np
import psutil
import pyarrow as pa
from pyspark.sql import Row

from jobs import encoder, neighbours, task
from jobs.lake import Lake
from jobs.night import Night
from jobs.session import open_session
from jobs.settings import Settings, load
from jobs.tables import AUDIT_RESULTS, CLEAN_ITEMS, ITEM_VECTORS, NEIGHBOURS, STAGED_NEIGHBOURS
from jobs.toolchain import jvm_options, spark_home
from tests.conftest import MINIMAL
from tests.rows import clean_item

NIGHT = Night(date(2026, 1, 5), "test")
ITEMS, DIMENSION = 3000, 16
LIMIT = 300  # seconds: a driver that gets no executor waits for ever

Search = Callable[[pa.Table], pa.Table]


def fill(lake: Lake, model: Path) -> None:
    """Items in sixty groups, each with a text and a vector of its own."""
    for table in (CLEAN_ITEMS, ITEM_VECTORS, STAGED_NEIGHBOURS, NEIGHBOURS, AUDIT_RESULTS):
        lake.create(table)
    random = np.random.default_rng(11)
    vectors = np.repeat(random.normal(size=(60, DIMENSION)), ITEMS // 60, axis=0) + 0.3 * random.normal(size=(ITEMS, DIMENSION))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    items = [clean_item(NIGHT, f"i{n:04}", f"item {n}") for n in range(ITEMS)]
    hashes = [item[CLEAN_ITEMS.column_names.index("content_hash")] for item in items]
    model_id = encoder.model_id(model)
    stored = [(model_id, key, DIMENSION, vector.astype("<f4").tobytes()) for key, vector in zip(hashes, vectors, strict=True)]
    lake.replace(CLEAN_ITEMS, lake.frame(CLEAN_ITEMS, items), NIGHT)
    lake.append(ITEM_VECTORS, lake.frame(ITEM_VECTORS, stored), NIGHT)


def cluster(folder: Path) -> str:
    """Settings of two executors, of one core and 1024 MB each. What a killed one leaves behind is left in the folder."""
    options = jvm_options(f"-Djava.io.tmpdir={folder}")  # the full compilers of so many JVMs would take twice the time
    return f'[spark]\nmaster = "local-cluster[2,1,1024]"\nconf = {{ "spark.executor.extraJavaOptions" = "{options}" }}\n'


def staged(lake: Lake) -> list[Row]:
    return lake.read(STAGED_NEIGHBOURS, NIGHT).orderBy("item_id", "rank", "neighbour_id").collect()


def test_an_executor_lost_while_it_searches_changes_nothing(
    lake: Lake, settings_of: Callable[[str], Settings], tmp_path: Path, tiny_model: Path
) -> None:
    """The executor has searched a cell before it dies. What it had found is lost, so that cell is searched twice, and counted once."""
    how = MINIMAL + f'[embed]\nmodel = "{tiny_model}"\n[neighbours]\nk = 5\nslack = 3\ncell_rows = 1000\nrecall_sample = 200\n'
    how += "weights = { lexical = 0, codes = 0 }\n"
    fill(lake, tiny_model)
    undisturbed = neighbours.run(lake.spark, lake, settings_of(how), NIGHT).figures
    expected = staged(lake)
    pairs = {(row["item_id"], row["neighbour_id"]) for row in expected}
    assert len(pairs) == len(expected) == ITEMS * 8
    lake.delete(STAGED_NEIGHBOURS, NIGHT, "true")

    settings_of(how + cluster(tmp_path))
    home, searched = tmp_path / "spark", tmp_path / "searched"
    home.mkdir()
    searched.mkdir()
    for part in spark_home().iterdir():  # the cluster leaves its logs in Spark's own folder
        (home / part.name).symlink_to(part)
    program = [sys.executable, "-m", "tests.jobs.test_lost_executor", str(tmp_path / "shelfmates.toml"), lake.root, str(searched)]
    environment, root = os.environ | {"SPARK_HOME": str(home)}, Path(__file__).parents[2]
    ran = subprocess.run(program, env=environment, cwd=root, capture_output=True, text=True, check=False, timeout=LIMIT)
    assert ran.returncode == 0, ran.stderr[-4000:]
    figures = json.loads(ran.stdout.splitlines()[-1])

    killed = (searched / "killed").read_text(encoding="utf-8")
    by_executor = [file.name.partition("-")[0] for file in searched.iterdir() if file.name != "killed"]
    assert by_executor.count(killed) == 1
    assert len(by_executor) > figures["cells"] == undisturbed["cells"] > 2
    assert figures["cell_nodes_max"] == undisturbed["cell_nodes_max"]
    assert figures["recall"] == undisturbed["recall"]
    assert staged(lake) == expected


def losing_an_executor(search_cell: Callable[..., Search], searched: Path) -> Callable[..., Search]:
    """Like search_cell, but a search leaves a file, and the first one on an executor that has searched before kills it, once."""

    def losing(*how: object) -> Search:
        search = search_cell(*how)

        def search_or_kill(cell: pa.Table) -> pa.Table:
            executor = next(p for p in psutil.Process().parents() if "CoarseGrainedExecutorBackend" in " ".join(p.cmdline()))
            if any(searched.glob(f"{executor.pid}-*")):
                with suppress(FileExistsError), (searched / "killed").open("x", encoding="utf-8") as killed:
                    print(executor.pid, end="", file=killed, flush=True)
                    executor.kill()
                    executor.wait(timeout=60)
                    os._exit(1)
            found = search(cell)
            tempfile.mkstemp(prefix=f"{executor.pid}-", dir=searched)
            return found

        return search_or_kill

    return losing


def main(settings_file: str, lake_root: str, searched: str) -> None:
    settings = load(Path(settings_file), environment={})
    spark = open_session(settings, name="shelfmates-lost-executor")
    with patch.object(task, "search_cell", losing_an_executor(task.search_cell, Path(searched))):
        figures = neighbours.run(spark, Lake(spark, lake_root), settings, NIGHT).figures
    spark.stop()
    print(json.dumps(figures))


if __name__ == "__main__":
    main(*sys.argv[1:])
