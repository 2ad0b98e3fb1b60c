"""A cluster of a folder: its secrets, its hosts with their addresses and what is mounted for them, and that it ends."""

import base64
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tests.cluster import image
from tests.cluster.cluster import FERNET, PEOPLE, SECRETS, WORKERS, Cluster
from tests.cluster.hosts import HOME, SUBNET, Host, Mount
from tests.cluster.services import ROOT, mount_of, services

OURS = {"AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "False"}  # of the scheduler: a DAG that is switched on would run last night


def made_up() -> dict[str, str]:
    """What the cluster's `.env` would hold: secrets of this run alone, and sizes that fit on one machine."""
    keys = {name: secrets.token_urlsafe(48) for name in SECRETS}
    return keys | {
        FERNET: base64.urlsafe_b64encode(os.urandom(32)).decode(),
        "WORKER_CORES": "1",
        "WORKER_MEMORY": "2g",
    }


def built(folder: Path, values: Mapping[str, str]) -> Cluster:
    """All hosts, switched off. What an earlier cluster of the folder has written is removed."""
    for old in ("hosts", "volumes", "logs", "image"):
        shutil.rmtree(folder / old, ignore_errors=True)
    for new in ("hosts", "volumes", "logs", "image"):
        (folder / new).mkdir(parents=True)
    found = services(values)
    found["scheduler"] = replace(found["scheduler"], environment=found["scheduler"].environment | OURS)
    cluster = Cluster(folder, values, found)
    names = [host for name in found for host in (WORKERS if name == "spark-worker" else (name,))]
    numbers = {name: number for number, name in enumerate([*names, *PEOPLE], 10)}
    (folder / "image" / "hosts").write_text(
        "127.0.0.1 localhost\n" + "".join(f"{SUBNET}.{number} {name}\n" for name, number in numbers.items()), encoding="utf-8"
    )
    (folder / "image" / "resolv.conf").touch()
    common = [
        *(Mount(folder / "image" / name, f"/etc/{name}") for name in ("hosts", "resolv.conf") if not Path("/etc", name).is_symlink()),
        *image.mounts(folder / "image"),
    ]
    for name, number in numbers.items():
        root = folder / "hosts" / name
        cluster.hosts[name] = Host(name, number, root, cluster.switch, [*common, *_own_mounts(cluster, name)])
        for own in ("work", "search"):
            (root / HOME.lstrip("/") / own).mkdir(parents=True, exist_ok=True)
    return cluster


def _own_mounts(cluster: Cluster, host: str) -> Iterator[Mount]:
    service, folder = cluster.service_of(host), cluster.folder / "volumes"
    if service is None:
        yield Mount(ROOT / "tests", f"{HOME}/tests")
        yield Mount(cluster.folder / "settings", f"{HOME}/settings")
        expected = cluster.folder / "expected"
        expected.mkdir(exist_ok=True)  # there is none where nothing is compared
        yield Mount(expected, "/expected")
    elif service.image == "versity/versitygw":
        yield Mount(image.gateway(service.version), "/opt/versitygw")
    for volume in (service or cluster.services["scheduler"]).volumes:
        if mount := mount_of(volume, folder):
            if mount.source.is_relative_to(folder):
                mount.source.mkdir(exist_ok=True)
            if service and service.image == "postgres":
                socket = cluster.folder / "hosts" / host / "run" / "postgresql"
                socket.mkdir(parents=True, exist_ok=True)
                for owned in (mount.source, socket):
                    shutil.chown(owned, image.POSTGRES_USER, image.POSTGRES_USER)
                mount.source.chmod(0o700)
            yield mount


@contextmanager
def running(folder: Path, values: Mapping[str, str]) -> Iterator[Cluster]:
    """The cluster, up; taken down at the end of the `with`, whatever has happened."""
    cluster = built(folder, values)
    try:
        cluster.up()
        yield cluster
    finally:
        cluster.down()
