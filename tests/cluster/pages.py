"""Spark's pages: the driver's of a night at work, the master's, the workers'. As long as the cluster is up they are read over and over, and
each credential is looked for as it is, in base64, in base64 with its key as HTTP has it, and as it stands in an address."""

import base64
import json
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from tests.cluster.cluster import Cluster

PORT = 4040  # of a driver
APPLICATIONS = "applications"
PATHS = ("environment/", "executors/", f"api/v1/{APPLICATIONS}")
OF_A_NIGHT = "the driver's environment"

Needles = Mapping[str, list[bytes]]  # what each credential may look like, by its name


@dataclass
class Pages:
    """`texts`: those that are looked for beside credentials, to know that something is read; `seen`, of those. `places` have answered;
    `found` has each credential with its place. `last`: when all had been read."""

    texts: tuple[str, ...] = ("spark.master", "Spark Worker at")
    seen: set[str] = field(default_factory=set)
    places: set[str] = field(default_factory=set)
    found: set[str] = field(default_factory=set)
    last: float = 0.0

    def read(self, cluster: "Cluster") -> None:
        """All that can be reached now."""
        sought = needles(cluster.secrets)
        for place, url in _addresses(cluster):
            with suppress(OSError, HTTPException):  # drivers come and go
                told = _read(cluster, url)
                self.places.add(place)
                self.seen.update(text for text in self.texts if text.encode() in told)
                self.found.update(f"{name} in {place}" for name in held(told, sought))
        self.last = time.monotonic()


def needles(secrets: Mapping[str, str]) -> Needles:
    """The forms of each credential, and of the store's keys as a pair."""
    pair = f"{secrets['S3_ACCESS_KEY']}:{secrets['S3_SECRET_KEY']}"
    whole = dict(secrets) | {"S3 keys as a pair": pair}
    return {name: [value.encode(), base64.b64encode(value.encode()), quote(value, safe="").encode()] for name, value in whole.items()}


def held(text: bytes, sought: Needles) -> list[str]:
    """The names of the credentials that the text holds."""
    return [name for name, forms in sought.items() if any(form in text for form in forms)]


def asked(cluster: "Cluster", path: str) -> list[dict[str, Any]]:
    """What the driver's pages tell a program. Raises OSError if there is no driver that answers."""
    scheduler = cluster.hosts["scheduler"]
    try:
        with scheduler.network(), urllib.request.urlopen(f"http://{scheduler.address}:{PORT}/api/v1/{path}", timeout=10) as answer:
            found: list[dict[str, Any]] = json.load(answer)
    except (ValueError, HTTPException) as error:  # a sentence that it is not ready, or half an answer of one that ends
        raise OSError(str(error)) from error
    return found


def _addresses(cluster: "Cluster") -> Iterator[tuple[str, str]]:
    """What Spark shows to whoever can reach it."""
    driver = f"http://{cluster.hosts['scheduler'].address}:{PORT}"
    yield from ((f"the driver's /{path}", f"{driver}/{path}") for path in PATHS)
    with suppress(OSError):
        for application in asked(cluster, APPLICATIONS):
            yield OF_A_NIGHT, f"{driver}/api/v1/{APPLICATIONS}/{application['id']}/environment"
    master = f"http://{cluster.hosts['spark-master'].address}:8080"
    yield from ((f"the master's /{path}", f"{master}/{path}") for path in ("", "json/"))
    with suppress(OSError, ValueError, HTTPException):
        for worker in json.loads(_read(cluster, f"{master}/json/"))["workers"]:  # the master's page leads to theirs
            yield f"{worker['host']}'s /", f"{master}/proxy/{worker['id']}/"


def _read(cluster: "Cluster", url: str) -> bytes:
    with cluster.hosts["analyst"].network(), urllib.request.urlopen(url, timeout=5) as answer:
        told: bytes = answer.read()
        return told
