"""What the doctor says of a machine on which a night can run, and of each part that is not as it should be."""

import shutil
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from jobs import toolchain
from jobs.address import shown
from jobs.doctor import examine
from jobs.object_store import STORES
from jobs.toolchain import Finding
from tests.conftest import MINIMAL

PARTS = ["java", "jars", "machine", "gpu", "settings", "archive", "feed shop", "model", "lake"]
Memory = namedtuple("Memory", "total")
Disk = namedtuple("Disk", "free")

Examine = Callable[..., dict[str, Finding]]


@pytest.fixture
def look(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Examine:
    """The findings by name. All is well unless a test breaks it: memory, disk and archive do not depend on the machine."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: Memory(8e9))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Disk(50e9))
    monkeypatch.setattr(toolchain, "files", lambda: tmp_path)
    toolchain.archive_of(toolchain.java()).write_bytes(b"archive")
    for date in ("2026-01-05", "2026-01-06"):
        (tmp_path / "feeds" / date).mkdir(parents=True)
        (tmp_path / "feeds" / date / "shop.csv").write_bytes(b"")

    def at(root: str = "lake", model: Path = tiny_model, more: str = "") -> dict[str, Finding]:
        file = tmp_path / "shelfmates.toml"
        file.write_text(f'{MINIMAL}\n[lake]\nroot = "{root}"\n[embed]\nmodel = "{model}"\n{more}', encoding="utf-8")
        return {finding.name: finding for finding in examine(str(file))}

    return at


def test_all_is_well(look: Examine, tmp_path: Path) -> None:
    findings = look()
    assert list(findings) == PARTS
    assert [finding for finding in findings.values() if not finding.ok or finding.remedy] == []
    assert findings["settings"].found.startswith("1 sources: shop; fingerprint ")
    assert findings["feed shop"].found == f"{tmp_path}/feeds/{{date}}/shop.csv: 2 dates, the newest 2026-01-06"
    assert findings["lake"].found == f"{tmp_path / 'lake'} is writable, 50 GB free"


def test_interactions_need_their_feed_and_a_key(look: Examine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    more = '[interactions]\npath = "feeds/{date}/events.csv"\ncolumns = { user = "user", item = "item", time = "time" }\n'
    monkeypatch.delenv("SHELFMATES_USER_KEY", raising=False)
    found = look(more=more)
    assert [name for name, finding in found.items() if not finding.ok] == ["feed interactions", "user key"]
    assert found["feed interactions"].remedy.endswith("or mend interactions.path")
    (tmp_path / "feeds" / "2026-01-06" / "events.csv").write_bytes(b"")
    monkeypatch.setenv("SHELFMATES_USER_KEY", "a key of the tests alone")
    assert look(more=more)["user key"].found == "24 bytes"
    assert all(finding.ok for finding in look(more=more).values())


def wrong(findings: dict[str, Finding]) -> Finding:
    """The only finding that is."""
    (finding,) = (finding for finding in findings.values() if not finding.ok)
    return finding


def test_no_java(look: Examine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "none"))
    findings = look()
    assert [name for name, finding in findings.items() if not finding.ok] == ["java", "archive"]  # an archive is one of a Java
    assert findings["java"].remedy.startswith("install one")


def test_a_missing_jar(look: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain, "DELTA_JARS", (*toolchain.DELTA_JARS, ("io.delta", "delta-more", "1.0")))
    assert wrong(look()) == Finding("jars", False, "missing: delta-more-1.0.jar", "run `shelfmates setup`")


def test_an_archive_of_another_java(look: Examine, tmp_path: Path) -> None:
    (archive,) = tmp_path.glob("classes-*.jsa")
    archive.rename(tmp_path / "classes-17.jsa")
    found = wrong(look())
    assert (found.name, found.remedy) == ("archive", "run `shelfmates setup`")
    assert f"no class-data archive at {archive}" in found.found


def test_too_little_memory(look: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: Memory(2e9))
    found = wrong(look())
    assert (found.name, found.found) == ("machine", "2.0 GB of memory")
    assert 'spark.master = "local[1]"' in found.remedy


def test_too_little_disk(look: Examine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Disk(1e9))
    found = wrong(look())
    assert (found.name, found.found) == ("lake", f"1.0 GB free at {tmp_path / 'lake'}")


def test_settings_that_cannot_be_read_leave_the_rest_out(look: Examine) -> None:
    findings = look(more="[neighbors]\nk = 1\n")
    assert list(findings) == PARTS[: PARTS.index("settings") + 1]
    assert "did you mean 'neighbours'?" in wrong(findings).found


def test_a_source_without_a_feed(look: Examine, tmp_path: Path) -> None:
    (tmp_path / "feeds").rename(tmp_path / "deliveries")
    found = wrong(look())
    assert found.name == "feed shop"
    assert f"source 'shop', file {tmp_path}/feeds/{{date}}/shop.csv: there is no feed of " in found.found
    assert found.remedy.endswith("or mend sources.shop.path")


def test_sources_whose_path_has_no_date(look: Examine, tmp_path: Path) -> None:
    (tmp_path / "stock.csv").write_bytes(b"")
    columns = 'columns = { id = "id", title = "title" }'
    findings = look(
        more=f"""
[sources.stock]
path = "stock.csv"
{columns}
[sources.parts]
path = "stocks.csv"
{columns}
[sources.shelf]
path = "shelf"
format = "delta"
{columns}
[sources.till]
path = "jdbc:postgresql://host/db?password=dark"
format = "jdbc"
table = "items"
{columns}
"""
    )
    assert findings["feed stock"].found == f"{tmp_path}/stock.csv: 1 files"
    assert findings["feed shelf"].found == f"{tmp_path}/shelf (looked at when a night reads it)"
    assert findings["feed till"].found == "jdbc:postgresql://host/db?password=*** (looked at when a night reads it)"
    assert "there is no such file; its folder holds stock.csv" in wrong(findings).found


def test_a_feed_whose_storage_cannot_be_named(look: Examine, tmp_path: Path) -> None:
    text = (MINIMAL.replace("shop", "far")).replace('"feeds/', '"nowhere://box/feeds/')
    assert "it is no address that can be read" in wrong(look(more=text)).found


def test_a_model_that_is_not_there(look: Examine, tmp_path: Path) -> None:
    found = wrong(look(model=tmp_path / "none"))
    assert found.name == "model"
    assert str(tmp_path / "none") in found.found


def test_a_lake_that_cannot_be_written(look: Examine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    found = wrong(look(root="file/lake"))
    assert found.name == "lake"
    assert found.remedy == "give this user write access, or set lake.root"


@pytest.fixture
def bare_spark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the jars of a Spark that has none."""
    jars = tmp_path / "spark" / "jars"
    jars.mkdir(parents=True)
    monkeypatch.setenv("SPARK_HOME", str(jars.parent))
    return jars


@pytest.mark.parametrize(
    ("root", "store"),
    [("s3a://bucket/lake", "s3"), ("abfss://box@account.example/lake", "abfs"), ("gs://bucket/lake", "gs")],
)
def test_a_lake_whose_file_system_spark_lacks(look: Examine, bare_spark: Path, root: str, store: str) -> None:
    found = look(root=root)["lake"]
    jars = [f"{artifact}-{version}.jar" for _, artifact, version in STORES[store].jars]
    assert found.found.startswith(f"{shown(root)}: no {', '.join(jars)}")
    assert found.remedy == f"run `shelfmates setup --store {store}`"
    for key in ("spark.jars", "spark.jars.packages"):  # what these bring is seen when Spark starts
        assert look(root=root, more=f'[spark.conf]\n"{key}" = "{jars[0]}"\n')["lake"].ok
    for jar in (*jars, toolchain.log_store_jar().name):
        (bare_spark / jar).write_bytes(b"")
    assert look(root=root)["lake"] == Finding("lake", True, f"{shown(root)} (looked at when a night begins)")


def test_a_lake_whose_file_system_spark_has(look: Examine, bare_spark: Path) -> None:
    assert look(root="hdfs://node:8020/lake")["lake"].ok
    for jar in (*(f"{artifact}-{version}.jar" for _, artifact, version in STORES["s3"].jars), toolchain.log_store_jar().name):
        (bare_spark / jar).write_bytes(b"")
    assert look(root="s3a://key:dark@bucket/lake")["lake"].found == "s3a://***@bucket/lake (looked at when a night begins)"


@pytest.mark.parametrize("more", ["", '[spark.conf]\n"spark.jars" = "a.jar"\n'])
def test_another_name_of_s3_is_refused(look: Examine, more: str) -> None:
    """Whatever jars there are: Delta would write the log of its tables in its own way there, which one driver alone may do."""
    found = look(root="s3://bucket/lake", more=more)["lake"]
    assert found.found == "s3://bucket/lake: Spark knows no s3://"
    assert "s3a://" in found.remedy
