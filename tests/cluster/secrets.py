"""Whether any credential of the cluster can be read where it has no business: logs, event logs, tables, Spark's pages, command lines.

Spark's pages and the command lines of all processes of this machine have been read since the cluster began to come up, while the nights of
other sections were at work, or a small one of this section's own where there was none. What is left is every file that any host has
written, what is compressed and Parquet's values too. That the search finds what is there is tried first: files of each kind are planted
that hold all credentials, in every form.
"""

import gzip
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.cluster.airflow import DAG_ID, airflow_of
from tests.cluster.catalogue import Catalogue
from tests.cluster.cluster import Cluster, ClusterError
from tests.cluster.events import ZSTD, content
from tests.cluster.night import emptied, worked
from tests.cluster.pages import OF_A_NIGHT, Needles, held, needles

WRITTEN = ("hosts", "volumes", "logs")  # folders of the cluster's
STARTED = ("SparkSubmit", "CoarseGrainedExecutorBackend")  # must have been in command lines: else nothing was looked at
LAST = "3.0001"  # seconds: a command line that is there long enough to be read
OLD = 120.0  # seconds: nobody reads pages any more; a dozen of them, each given up after 5 to 10 s, take less


def section(cluster: Cluster, large: Catalogue, small: Catalogue) -> str:
    """The verdict. Raises ClusterError with every place where a credential was found."""
    sought, airflow, pages = needles(cluster.secrets), airflow_of(cluster), cluster.pages
    tried(cluster.folder / "planted", sought)
    if OF_A_NIGHT not in pages.places:
        emptied(cluster)
        worked(airflow, f"secrets-{time.time():.0f}", small.nights[0])
    cluster.run("spare", "sleep", LAST)
    commands = sorted(cluster.command_lines.copy())
    everything = b"\n".join(commands)
    if LAST.encode() not in everything or time.monotonic() - pages.last > OLD:
        raise ClusterError("command lines, or pages, are not read any more")
    if unseen := [*(text for text in STARTED if text.encode() not in everything), *sorted({*pages.texts} - pages.seen)]:
        raise ClusterError(f"{', '.join(unseen)} was in no command line and on no page: nothing was looked at")
    told = {f"command line {number}, {line[:60].decode(errors='replace')}": line for number, line in enumerate(commands, 1)}
    told["task instances"] = json.dumps(airflow.tasks(DAG_ID)).encode()
    found = [*sorted(pages.found), *(f"{name} in {place}" for place, text in told.items() for name in held(text, sought))]
    files = [file for folder in WRITTEN for file in (cluster.folder / folder).rglob("*") if file.is_file() and not file.is_symlink()]
    for file in files:
        names = {name for text in texts(file) for name in held(text, sought)}
        found += [f"{name} in {file.relative_to(cluster.folder)}" for name in sorted(names)]
    if found:
        raise ClusterError("\n  ".join([f"credentials were found in {len(found)} places:", *found[:40]]))
    looked = len(pages.places) + len(told)
    return f"{len(sought)} credentials, {len(files):,} files, {looked:,} pages and command lines: none found"


def texts(file: Path) -> Iterator[bytes]:
    """The file as it lies there, and what it holds."""
    try:
        yield file.read_bytes()
        if file.suffix in ZSTD:
            yield content(file)
        elif file.suffix == ".gz":
            yield gzip.decompress(file.read_bytes())
        elif file.suffix == ".parquet":
            for column in pq.ParquetFile(file).read().columns:
                yield "\n".join(map(str, column.to_pylist())).encode()
    except FileNotFoundError:  # services go on writing, and removing
        return


def tried(folder: Path, sought: Needles) -> None:
    """Raises ClusterError if the search does not find every form of every credential in files of each kind."""
    folder.mkdir(exist_ok=True)
    for name, forms in sought.items():
        for form in forms:
            text = f"before {form.decode()} after"
            (folder / "plain.log").write_text(text, encoding="utf-8")
            (folder / "packed.gz").write_bytes(gzip.compress(text.encode()))
            with pa.CompressedOutputStream(pa.OSFile(str(folder / "events.zstd"), "wb"), "zstd") as packed:
                packed.write(text.encode())
            pq.write_table(pa.table({"values": pa.array([{"given": text}])}), folder / "table.parquet", compression="zstd")
            for file in folder.iterdir():
                if not any(name in held(found, sought) for found in texts(file)):
                    raise ClusterError(f"{name} was put into {file.name}, and not found there: the search is worth nothing")
                file.unlink()
    folder.rmdir()
