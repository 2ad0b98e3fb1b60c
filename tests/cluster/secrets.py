"""Whether any credential of the cluster can be read where it has no business: logs, event logs, tables, Spark's pages, command lines.

A small night goes through the DAG. While it is at work, Spark's pages (the driver's environment, the master's, the workers') are read over
and over; afterwards every file that any host has written, what is compressed and Parquet's values too. The command lines of all processes
of this machine have been read every second since the cluster began to come up. Each credential is looked for as it is, in base64, in base64
with its key as HTTP has it, and as it stands in an address. That the search finds what is there is tried first: files of each kind are
planted that hold all of them.
"""

import base64
import gzip
import json
import time
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from threading import Event
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from tests.cluster.airflow import DAG_ID, airflow_of
from tests.cluster.catalogue import Catalogue
from tests.cluster.cluster import Cluster, ClusterError
from tests.cluster.events import ZSTD, content
from tests.cluster.faults import asked
from tests.cluster.night import emptied, worked

WRITTEN = ("hosts", "volumes", "logs")  # folders of the cluster's
APPLICATIONS = "api/v1/applications"
DRIVERS_PAGES = ("environment/", "executors/", APPLICATIONS)
MUST_BE_SEEN = ("spark.master", "SparkSubmit", "CoarseGrainedExecutorBackend", "Spark Worker at")  # else nothing was looked at
LAST = "3.0001"  # seconds: a command line that is there long enough to be read
EVERY = 1.0  # seconds between two looks

Needles = Mapping[str, list[bytes]]  # by the credential's name


def section(cluster: Cluster, large: Catalogue, small: Catalogue) -> str:
    """The verdict. Raises ClusterError with every place where a credential was found."""
    sought = needles(cluster.secrets)
    tried(cluster.folder / "planted", sought)
    emptied(cluster)
    airflow, seen, over = airflow_of(cluster), dict[str, bytes](), Event()
    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(look, cluster, seen, over)
        try:
            worked(airflow, f"secrets-{time.time():.0f}", small.nights[0])
        finally:
            over.set()
        looking.result()
    seen["task instances"] = json.dumps(airflow.tasks(DAG_ID)).encode()
    cluster.run("spare", "sleep", LAST)
    if not any(LAST.encode() in line for line in cluster.command_lines.copy()):
        raise ClusterError("command lines are not read any more")
    commands = enumerate(sorted(cluster.command_lines.copy()), 1)
    seen |= {f"command line {number}, {line[:60].decode(errors='replace')}": line for number, line in commands}
    everything = b"\n".join([name.encode() + told for name, told in seen.items()])
    if unseen := [text for text in MUST_BE_SEEN if text.encode() not in everything]:
        raise ClusterError(f"{', '.join(unseen)} was in no page and no command line: nothing was looked at")
    found = [f"{name} in {place}" for place, told in seen.items() for name in held(told, sought)]
    files = [file for folder in WRITTEN for file in (cluster.folder / folder).rglob("*") if file.is_file() and not file.is_symlink()]
    for file in files:
        names = {name for text in texts(file) for name in held(text, sought)}
        found += [f"{name} in {file.relative_to(cluster.folder)}" for name in sorted(names)]
    if found:
        raise ClusterError("\n  ".join([f"credentials were found in {len(found)} places:", *found[:40]]))
    return f"{len(sought)} credentials, {len(files):,} files, {len(seen):,} pages and command lines: none found"


def needles(secrets: Mapping[str, str]) -> Needles:
    """What each credential may look like."""
    pair = f"{secrets['S3_ACCESS_KEY']}:{secrets['S3_SECRET_KEY']}"
    whole = dict(secrets) | {"S3 keys as a pair": pair}
    return {name: [value.encode(), base64.b64encode(value.encode()), quote(value, safe="").encode()] for name, value in whole.items()}


def held(text: bytes, sought: Needles) -> list[str]:
    """The names of the credentials that the text holds."""
    return [name for name, forms in sought.items() if any(form in text for form in forms)]


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


def look(cluster: Cluster, seen: dict[str, bytes], over: Event) -> None:
    """Reads pages until it is over; of each place whatever it has told."""

    def kept(place: str, told: bytes) -> None:
        if told not in seen.get(place, b""):
            seen[place] = seen.get(place, b"") + told

    while not over.wait(EVERY):
        for place, url in pages(cluster):
            with suppress(OSError, HTTPException):  # drivers come and go
                kept(place, read(cluster, url))


def read(cluster: Cluster, url: str) -> bytes:
    with cluster.hosts["analyst"].network(), urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read()


def pages(cluster: Cluster) -> Iterator[tuple[str, str]]:
    """What Spark shows to whoever can reach it."""
    driver = f"http://{cluster.hosts['scheduler'].address}:4040"
    yield from ((f"the driver's /{path}", f"{driver}/{path}") for path in DRIVERS_PAGES)
    with suppress(OSError):
        for application in asked(cluster, "applications"):
            yield "the driver's environment", f"{driver}/{APPLICATIONS}/{application['id']}/environment"
    master = f"http://{cluster.hosts['spark-master'].address}:8080"
    yield from ((f"the master's /{path}", f"{master}/{path}") for path in ("", "json/"))
    with suppress(OSError, ValueError):
        for worker in json.loads(read(cluster, f"{master}/json/"))["workers"]:  # the master's page leads to theirs
            yield f"{worker['host']}'s /", f"{master}/proxy/{worker['id']}/"
