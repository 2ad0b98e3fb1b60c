"""Golden cases: a folder of `settings.toml`, `given.jsonl` (raw rows, each with the reason it is there) and `expect.jsonl`."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.night import Night
from jobs.settings import Settings, load

GOLDEN = Path(__file__).parent / "golden"


@dataclass(frozen=True)
class Case:
    folder: Path

    @property
    def settings(self) -> Settings:
        return load(self.folder / "settings.toml", environment={})

    @property
    def expected(self) -> list[dict[str, Any]]:
        return _lines(self.folder / "expect.jsonl")

    def raw(self, night: Night) -> list[tuple[object, ...]]:
        """The given rows, as `raw_items` holds them."""
        given = _lines(self.folder / "given.jsonl")
        return [(night.date, r["source"], f"{r['source']}.csv", r["row"], "0" * 64, r.get("fault"), r["values"]) for r in given]


def of(stage: str) -> list[Case]:
    return [Case(folder) for folder in sorted((GOLDEN / stage).iterdir())]


def _lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
