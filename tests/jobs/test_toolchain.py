"""What is said when Java, the lake or a command is not as it should be."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobs import toolchain
from jobs.errors import ToolchainError
from jobs.lake_root import check_writable
from tests.conftest import MINIMAL


def test_no_java_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolchainError, match=r"no Java on the PATH; Spark needs 17 or newer\n  → install one .*openjdk-17-jre-headless"):
        toolchain.java()


def java_that_says(home: Path, *lines: str) -> str:
    java = home / "bin" / "java"
    java.parent.mkdir(exist_ok=True)
    java.write_text("#!/bin/sh\ncat >&2 <<'SAID'\n" + "\n".join(lines) + "\nSAID\n")
    java.chmod(0o755)
    return str(java)


def test_an_old_java_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    java_that_says(tmp_path, 'openjdk version "11.0.2" 2019-01-15')
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(ToolchainError, match=r"is Java 11\.0\.2; Spark needs 17 or newer"):
        toolchain.java()


def test_what_is_no_java_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    java_that_says(tmp_path, "Error: could not find libjava.so")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(ToolchainError, match=r"says 'Error: could not find libjava\.so'\n  → set JAVA_HOME to a working Java"):
        toolchain.java()


SAID = ('openjdk version "17.0.15" 2025-04-15', "OpenJDK Runtime Environment (build 17.0.15+6-Debian-1deb12u1)")


@pytest.fixture
def spark_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Spark of one jar, and an empty folder for what set-up makes."""
    jar = tmp_path / "spark" / "jars" / "core-1.jar"
    jar.parent.mkdir(parents=True)
    jar.write_bytes(b"classes")
    monkeypatch.setenv("SPARK_HOME", str(tmp_path / "spark"))
    monkeypatch.setattr(toolchain, "files", lambda: tmp_path / "files")
    return tmp_path / "spark"


def test_the_archive_is_another_where_the_jvm_would_not_take_it(spark_home: Path, tmp_path: Path) -> None:
    java = java_that_says(tmp_path, *SAID)
    archive = toolchain.archive_of(java)
    assert archive.name.startswith("classes-17.0.15-")
    assert archive == toolchain.archive_of(java)
    found = {archive}
    java_that_says(tmp_path, *(line.replace("17.0.15", "17.0.16") for line in SAID))  # a patch
    found.add(toolchain.archive_of(java))
    java_that_says(tmp_path, *(line.replace("deb12u1", "deb12u2") for line in SAID))  # the same version, built again
    found.add(toolchain.archive_of(java))
    java_that_says(tmp_path, *SAID)
    jar = spark_home / "jars" / "core-1.jar"
    os.utime(jar, (0, 0))  # installed again
    found.add(toolchain.archive_of(java))
    (spark_home / "jars" / "more-1.jar").write_bytes(b"")
    found.add(toolchain.archive_of(java))
    assert len(found) == 5


def test_set_up_records_what_is_missing_and_removes_what_is_stale(
    spark_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded: list[Path] = []

    def record(archive: Path) -> None:
        archive.write_bytes(b"archive")
        recorded.append(archive)

    monkeypatch.setattr(toolchain, "_record_archive", record)
    monkeypatch.setattr(toolchain, "missing_jars", list)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "classes-17.jsa").write_bytes(b"stale")
    for version in ("17.0.15", "17.0.15", "17.0.16"):
        java_that_says(tmp_path, *(line.replace("17.0.15", version) for line in SAID))
        toolchain.set_up()
        assert [file for file in (tmp_path / "files").iterdir() if file.suffix == ".jsa"] == recorded[-1:]
        assert f"-XX:SharedArchiveFile={recorded[-1]}" in (tmp_path / "files" / "jvm-options").read_text(encoding="utf-8")
    assert len(recorded) == 2
    assert "setup: Java 17.0.16 at" in capsys.readouterr().out


def test_a_lake_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ToolchainError, match=r"the lake at .*file/lake cannot be written: .*\n  → give this user write access"):
        check_writable(str(tmp_path / "file" / "lake"))


def test_the_command_line_tells_an_error_and_exits_with_its_code(tmp_path: Path) -> None:
    (tmp_path / "shelfmates.toml").write_text(MINIMAL.replace("title =", "titel ="), encoding="utf-8")
    command = [sys.executable, "-m", "jobs", "run", "--date", "2026-01-05", "--settings", str(tmp_path / "shelfmates.toml")]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert "shelfmates: " in ran.stderr
    assert "unknown key 'sources.shop.columns.titel'; did you mean 'title'?" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "--date", "20.11.2026"], "is not a date; expected YYYY-MM-DD"),
        (["publish", "audit", "--date", "2026-01-05"], "give each once, in this order: prepare"),
        (["runn"], "invalid choice: 'runn'"),
        (["clean", "embd", "--date", "2026-01-05"], "'embd' is not one of these stages; there are prepare, ingest,"),
    ],
)
def test_a_wrong_call_says_what_was_expected(arguments: list[str], said: str) -> None:
    ran = subprocess.run([sys.executable, "-m", "jobs", *arguments], capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert said in ran.stderr


def test_help_teaches_without_loading_spark() -> None:
    code = "import sys\nfrom jobs.cli import parser\nprint(parser().format_help())\nassert not {'pyspark', 'torch'} & set(sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "shelfmates run --date" in ran.stdout
