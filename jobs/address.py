"""Files at an address, on a disk or in an object store: which there are under a pattern, and their bytes.

A pattern may hold `{date}`, the ISO date of a night, and `*`, any characters of one path component. Finding files costs one listing of
the deepest folder that the pattern names; with `{date}` or `*` in a folder's name, of all below it. What bytes mean does not belong here.
"""

import datetime
import gzip
import hashlib
import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import quote

import pyarrow as pa
from pyarrow import fs

from jobs import object_store

if TYPE_CHECKING:
    from deltalake import DeltaTable

DATE = "{date}"
_WILD = re.compile(r"(\{date\}|\*)")
_KEYS_OF_S3 = re.compile(r"(?i)(s3[an]?://)[^/@:\s]*:[^@\s]+(?=@)")  # a secret key may hold slashes
_SECRETS = (
    _KEYS_OF_S3,
    *(
        re.compile(rf"(?i)({kept}){secret}")
        for kept, secret in (
            (r"://", r"[^/@:;?\s]*(?::(?!\d+[/;?,])[^@\s]+(?:@[^/@;?\s]+)*)?(?=@)"),  # but host:8020/a@b is no user
            (r"jdbc:oracle:\w+:", r'(?:"[^"]*"|[^"@\s])+(?=@)'),
            (
                r"(?:passw|passphrase|pwd|secret|token|signature|credential|(?:access|account|api|private)[_.-]?key)[\w.-]*=|\bsig=",
                r"(?!\*{3})(?:\{(?:[^}]|\}\})*\}|[^;&\n]*)",  # of what is masked already, the text after it stays
            ),
        )
    ),
)
_CHUNK = 1 << 20  # bytes read at a time


def found(pattern: str, date: datetime.date) -> list[str]:
    """Addresses of the night's files, sorted."""
    address = pattern.replace(DATE, date.isoformat())
    if "*" not in address:
        system, path = _resolve(address)
        return [address] if system.get_file_info(path).type == fs.FileType.File else []
    wanted = _matcher(address)
    return [file for file in _listed(address) if wanted.fullmatch(file)]


def dates(pattern: str) -> list[datetime.date]:
    """The dates that have files under a pattern with `{date}`, sorted."""
    wanted = _matcher(pattern)
    texts = {match[1] for file in _listed(pattern) if (match := wanted.fullmatch(file))}
    return sorted(date for text in texts if (date := _date(text)))


def shown(address: str) -> str:
    """The address, or a message that holds one, without passwords, keys and tokens: fit for tables and people."""
    for secret in _SECRETS:
        address = secret.sub(r"\1***", address)
    return address


def beside(address: str) -> list[str]:
    """Names of the files in the folder of one address, sorted."""
    return [file.rpartition("/")[2] for file in _listed(f"{address.rpartition('/')[0]}/*")]


def open_file(address: str) -> pa.NativeFile:
    """The file, readable at any position. Raises FileNotFoundError, PermissionError, or another OSError where the store does not answer."""
    system, path = _resolve(address)
    return system.open_input_file(path)


def content(address: str) -> Iterator[bytes]:
    """The file's bytes in pieces, decompressed where its name ends in .gz.

    Raises EOFError where the gzip is cut, gzip.BadGzipFile where it is none, zlib.error where it is damaged, each after the pieces before.
    """
    with open_file(address) as stored:
        if not address.endswith(".gz"):
            yield from iter(lambda: stored.read(_CHUNK), b"")
            return
        with gzip.GzipFile(fileobj=stored) as opened:
            yield from iter(lambda: opened.read1(_CHUNK), b"")  # read1 gives what there is before it meets the fault


def fingerprint(address: str) -> tuple[str, int]:
    """SHA-256 of the stored bytes, and how many there are. Costs one reading."""
    digest, size = hashlib.sha256(), 0
    with open_file(address) as stored:
        while chunk := stored.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return digest.hexdigest(), size


def delta_table(path: str) -> "DeltaTable":
    """The Delta table at an address, as delta-rs reads it; of S3 it knows the environment's variables. Raises as DeltaTable does."""
    from deltalake import DeltaTable

    return DeltaTable(path, storage_options=delta_options(path))


def delta_options(path: str) -> dict[str, str] | None:
    """What delta-rs has to be told of the store at an address: one without TLS it would refuse."""
    if not (object_store.in_s3(path) and (endpoint := object_store.endpoint(os.environ))):
        return None
    return {"AWS_ENDPOINT_URL": endpoint} | ({"AWS_ALLOW_HTTP": "true"} if endpoint.startswith("http://") else {})


def _resolve(address: str) -> tuple[fs.FileSystem, str]:
    if "://" not in address:
        return fs.LocalFileSystem(), address
    uri = quote(object_store.amazons(address), safe="/:@?&=%+")  # blanks and brackets as a URI wants them
    endpoint = object_store.endpoint(os.environ)
    if endpoint and uri.startswith("s3://") and "?" not in uri and not _KEYS_OF_S3.search(address):  # an address may name its own store
        scheme, _, host = endpoint.rpartition("://")
        files = fs.S3FileSystem(endpoint_override=host, scheme=scheme or "https", region=object_store.region(os.environ))
        return files, address.partition("://")[2]
    resolved: tuple[fs.FileSystem, str] = fs.FileSystem.from_uri(uri)
    return resolved


def _date(text: str) -> datetime.date | None:
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:  # the shape of a date, and none: 2026-13-45
        return None


def _matcher(pattern: str) -> re.Pattern[str]:
    """A regular expression of the addresses under `pattern`; its first group, where the pattern holds `{date}`, is the date."""
    dated = False
    parts = []
    for part in _WILD.split(pattern):
        if part == DATE:
            parts.append(r"\1" if dated else r"(\d{4}-\d{2}-\d{2})")
            dated = True
        else:
            parts.append("[^/]*" if part == "*" else re.escape(part))
    return re.compile("".join(parts))


def _listed(pattern: str) -> list[str]:
    """Addresses of all files that can match `pattern`, sorted; none where its folder does not exist."""
    folder = _WILD.split(pattern)[0].rpartition("/")[0]
    deeper = "/" in pattern[len(folder) + 1 :]
    system, path = _resolve(folder or "/")
    infos = system.get_file_info(fs.FileSelector(path, allow_not_found=True, recursive=deeper))
    return sorted(folder + info.path[len(path) :] for info in infos if info.type == fs.FileType.File)
