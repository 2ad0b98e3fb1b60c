"""A full disk, a disk that cannot be written, damaged files: what is said, and that what was there still is."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from jobs.errors import ContractError, ShelfmatesError, ToolchainError, TransientError
from jobs.lake import Lake
from jobs.lake_root import check_writable
from jobs.night import Night
from jobs.storage import trouble
from jobs.tables import AUDIT_RESULTS
from tests.rows import in_order


def write(lake: Lake, night: Night, count: int) -> None:
    row = {"snapshot_date": night.date, "run_id": night.run_id, "grade": "warn", "passed": True, "bound": ">= 1", "reason": "all: a test"}
    rows = [in_order(AUDIT_RESULTS, row | {"check": f"check {n**5}"}) for n in range(count)]
    lake.replace(AUDIT_RESULTS, lake.frame(AUDIT_RESULTS, rows), night)


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:99])


def fill(disk: Path) -> Path:
    """A file that leaves no room for another."""
    ballast = disk / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1024))
    return ballast


def told(call: Callable[[], object]) -> ShelfmatesError:
    """What a stage that failed like this would say."""
    with pytest.raises(Exception) as raised:  # noqa: PT011  whatever Spark raises
        call()
    found = trouble(raised.value)
    assert found is not None, raised.value
    return found


class Disk(NamedTuple):
    """A small file system, and the same one where it can only be read."""

    path: Path
    frozen: Path


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    found = Disk(tmp_path / "disk", tmp_path / "frozen")
    for folder in found:
        folder.mkdir()
    commands = (
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", found.path],
        ["mount", "--bind", found.path, found.frozen],
        ["mount", "-o", "remount,bind,ro", found.frozen],
    )
    with ExitStack() as at_end:
        for command in commands:
            if said := subprocess.run(command, capture_output=True, text=True, check=False).stderr:
                pytest.skip(f"only root may mount a small disk: {said.strip()}")
            if "remount,bind,ro" not in command:  # a write that has failed may have left its file open
                at_end.callback(subprocess.run, ["umount", "--lazy", command[-1]], check=True)
        yield found


def test_a_disk_that_is_full_or_frozen(lake: Lake, night: Night, disk: Disk) -> None:
    lake, frozen = (Lake(lake.spark, str(path / "lake")) for path in disk)
    lake.create(AUDIT_RESULTS)
    write(lake, night, 3)
    ballast = fill(disk.path)
    full = told(lambda: write(lake, night, 300))
    assert isinstance(full, ToolchainError)
    assert str(full).startswith(
        "a disk is full (No space left on device); no table holds a part of what was to be written\n  → free space where"
    )
    assert lake.read(AUDIT_RESULTS).count() == 3
    ballast.unlink()
    write(lake, night, 5)
    assert str(told(lambda: write(frozen, night, 7))).startswith("the lake cannot be written (Read-only file system)")
    assert lake.read(AUDIT_RESULTS).count() == 5
    with pytest.raises(
        ToolchainError, match=r"the lake at \S+ cannot be written: Read-only file system\n  → make the lake's storage writable"
    ):
        check_writable(frozen.root)


@pytest.mark.parametrize(
    ("pattern", "spoil", "found", "remedy"),
    [
        ("snapshot_date=*/*.parquet", truncate, "cannot be read: it is damaged", "from ingest on"),
        ("snapshot_date=*/*.parquet", Path.unlink, "is gone", "from ingest on"),
        ("_delta_log/*1.json", truncate, "cannot be read: it is damaged", "undoes its commit"),
    ],
    ids=["truncated rows", "lost rows", "truncated log"],
)
def test_a_file_that_is_damaged(
    lake: Lake, night: Night, tmp_path: Path, pattern: str, spoil: Callable[[Path], object], found: str, remedy: str
) -> None:
    lake.create(AUDIT_RESULTS)
    write(lake, night, 1)
    copy = Lake(lake.spark, str(tmp_path / "copy"))  # Spark has read the other one, and remembers
    shutil.copytree(lake.root, copy.root, ignore=shutil.ignore_patterns(".*.crc"))
    (file,) = Path(copy.path(AUDIT_RESULTS)).glob(pattern)
    spoil(file)
    error = told(lambda: copy.read(AUDIT_RESULTS).collect())
    assert isinstance(error, ContractError)
    assert error.found.endswith(f"{file.name} {found}")
    assert remedy in error.remedy


def test_a_log_entry_is_removed_and_its_checksum_stays(lake: Lake, night: Night, tmp_path: Path) -> None:
    lake.create(AUDIT_RESULTS)
    write(lake, night, 1)
    copy = Lake(lake.spark, str(tmp_path / "copy"))
    shutil.copytree(lake.root, copy.root)
    (entry,) = Path(copy.path(AUDIT_RESULTS)).glob("_delta_log/*1.json")
    entry.unlink()
    error = told(lambda: write(copy, night, 3))
    assert isinstance(error, ContractError)
    assert f"remove .{entry.name}.crc, which is old" in error.remedy
    entry.with_name(f".{entry.name}.crc").unlink()
    write(copy, night, 5)
    assert copy.read(AUDIT_RESULTS).count() == 5


@pytest.mark.parametrize(
    ("said", "kind", "found"),
    [
        (
            "An error occurred while calling o90.save.\n: org.apache.hadoop.fs.s3a.AWSClientIOException: getFileStatus on s3a://box/lake: "
            "software.amazon.awssdk.core.exception.SdkClientException: Unable to execute HTTP request: Connect to store:7070 failed",
            TransientError,
            "the store does not answer",
        ),
        ("org.apache.hadoop.fs.s3a.AWSStatus500Exception: PUT 0-object on lake: Slow down", TransientError, "the store does not answer"),
        ("java.nio.file.AccessDeniedException: s3a://box/lake: S3Exception: (Status Code: 403)", ToolchainError, "the store denies access"),
        ("org.apache.hadoop.fs.s3a.auth.NoAuthWithAWSException: No AWS Credentials", ToolchainError, "the store denies access"),
        ("org.apache.hadoop.fs.s3a.UnknownStoreException: `s3a://box/': Bucket does not exist", ToolchainError, "knows no such bucket"),
    ],
    ids=["gone", "overloaded", "denied", "no keys", "no bucket"],
)
def test_an_object_store_that_fails(said: str, kind: type[Exception], found: str) -> None:
    error = trouble(RuntimeError(said))
    assert type(error) is kind
    assert found in str(error)


@pytest.mark.parametrize(
    "said",
    [
        "a bug",
        "java.nio.file.AccessDeniedException: /data/lake/runs",  # of a disk
        "java.sql.SQLException: UnknownHostException: shop-database",
        "software.amazon.awssdk.core.exception.SdkClientException: Unable to load region",  # no second try helps
    ],
)
def test_another_failure_is_left_as_it_is(said: str) -> None:
    assert trouble(RuntimeError(said)) is None
