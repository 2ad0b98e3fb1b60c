"""What is said when Java, the lake or a command is not as it should be."""

import subprocess
import sys
from pathlib import Path

import pytest

from jobs import toolchain
from jobs.errors import ToolchainError
from jobs.lake import check_writable
from tests.conftest import MINIMAL


def test_no_java_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolchainError, match=r"no Java on the PATH; Spark needs 17 or newer\n  → install one .*openjdk-17-jre-headless"):
        toolchain.java()


def test_an_old_java_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(ToolchainError, match="is Java 11; Spark needs 17 or newer"):
        toolchain.java()


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
        (["publish", "audit", "--date", "2026-01-05"], "give each once, in the order of a night"),
        (["runn"], "invalid choice: 'runn'"),
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
