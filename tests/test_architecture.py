"""The import arrows: errors settings tables stages night ← nouns ← lake session ← stages ← cli; stages meet only in tables."""

import ast
import re
from pathlib import Path

import pytest

from jobs import stages

ROOT = Path(__file__).parents[1]
JOBS = {file.stem: file for file in (ROOT / "jobs").glob("*.py") if not file.stem.startswith("__")}
STAGES = {*stages.STAGES, *stages.OF_NO_NIGHT}
# frames that a stage, or several, are made of
PARTS = {
    "nodes",
    "work",
    "covers",
    "lists",
    "increment",
    "recall",
    "changes",
    "freshness",
    "drift",
    "published",
    "claims",
    "downstream",
    "comparisons",
}
SPARK = {"lake", "lake_root", "session", "daemon"} | PARTS  # those that may import Spark beside the stages
ENTRY = {"cli", "arguments", "commands", "shift", "forget"}  # above the stages
OF_EXPLORER = {"jobs", "jobs.address", "jobs.address.delta_table", "jobs.address.shown", "jobs.errors", "jobs.settings"}
ROOTS = {"errors", "section", "feeds", "sections", "settings", "table", "tables", "decisions", "night", "stages"}


class Loaded(ast.NodeTransformer):
    """Takes out what only a type checker reads."""

    def visit_If(self, node: ast.If) -> ast.AST | None:
        return None if ast.unparse(node.test) == "TYPE_CHECKING" else self.generic_visit(node)


def imports(file: Path) -> set[str]:
    """Modules of this program that the file imports, at its top or inside functions: `jobs.lake`, `expectations.suite`."""
    found: set[str] = set()
    for node in ast.walk(Loaded().visit(ast.parse(file.read_text(encoding="utf-8")))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return found


def jobs_imported(file: Path) -> set[str]:
    return {name.split(".")[1] for name in imports(file) if name.startswith("jobs.") and name.split(".")[1] in JOBS}


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_stages_never_import_each_other_nor_what_is_above_them(stage: str) -> None:
    assert not jobs_imported(JOBS[stage]) & ((STAGES | ENTRY) - {stage})


@pytest.mark.parametrize("module", sorted(ROOTS))
def test_the_roots_import_only_each_other(module: str) -> None:
    assert jobs_imported(JOBS[module]) <= ROOTS


@pytest.mark.parametrize("noun", sorted(set(JOBS) - STAGES - ENTRY - SPARK - ROOTS - {"doctor"}))
def test_nouns_know_no_spark_and_no_stage(noun: str) -> None:
    assert not jobs_imported(JOBS[noun]) & (STAGES | ENTRY | SPARK)
    assert not [name for name in imports(JOBS[noun]) if name.split(".")[0] in {"delta", "airflow"} or name.startswith("pyspark.")]


@pytest.mark.parametrize("module", sorted(JOBS))
def test_the_program_imports_neither_airflow_nor_dags(module: str) -> None:
    assert not [name for name in imports(JOBS[module]) if name.split(".")[0] in {"airflow", "dags", "shelfmates"}]


def test_only_the_lake_writes_delta() -> None:
    importing = {name for name, file in JOBS.items() if any(i.split(".")[0] == "delta" for i in imports(file))}
    writing = {name for name, file in JOBS.items() if re.search(r"\.(write\b(?!\()|writeTo|saveAsTable)", file.read_text(encoding="utf-8"))}
    assert importing == {"lake"}
    assert writing & (STAGES | SPARK) == {"lake"}


def test_expectations_import_tables_only() -> None:
    for file in (ROOT / "expectations").glob("*.py"):
        assert jobs_imported(file) <= {"tables", "decisions"}, file.name


def test_dags_and_plugins_import_nothing_of_the_program() -> None:
    """But for the explorer, which looks up where the lake is when it is first asked."""
    for file in [*(ROOT / "dags").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")]:
        found = {name for name in imports(file) if name.split(".")[0] in {"jobs", "expectations"}}
        assert found <= (OF_EXPLORER if file.parent.name == "explorer" else set()), file.name
