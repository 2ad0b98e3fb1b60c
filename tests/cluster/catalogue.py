"""The made-up catalogues that the cluster works on, their settings, and the tables that one machine makes of them."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from jobs.generate import generate
from tests.cluster.cluster import ClusterError
from tests.cluster.services import ROOT

SMALL_ITEMS = 600
EXECUTOR_MEMORY = "1500m"  # of a worker's 2g
# four JVMs that start anew with every task of a night share two cores: the full compiler would have half of them
QUICK_JVM = "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=240m -XX:+UseSerialGC"
IN_THE_STORE = "s3://shelfmates/feeds/"
SPARK_CONF = re.compile(r'^"(spark\.[\w.]+)"\s*=\s*"([^"]*)"', re.MULTILINE)


@dataclass(frozen=True)
class Catalogue:
    """`nights` in their order; `expected` is the lake that one machine has made of them."""

    name: str
    items: int
    nights: tuple[date, ...]
    folder: Path

    @property
    def expected(self) -> Path:
        return self.folder / "expected" / self.name

    def made(self) -> None:
        """Generates the feeds, into the folder that the service `bucket` reads."""
        made = self.folder / "generated" / self.name
        print(generate(made, self.items, len(self.nights), self.nights[0]), flush=True)
        shutil.copytree(made / "feeds", self.folder / "feeds", dirs_exist_ok=True)

    def computed(self) -> None:
        """The tables of one machine, unless they are there already. Raises ClusterError if a night fails."""
        if (self.expected / "done").is_file():
            return
        shutil.rmtree(self.expected, ignore_errors=True)
        self.expected.mkdir(parents=True)
        for night in self.nights:
            began, log = time.monotonic(), self.expected / f"{night}.log"
            with log.open("w") as said:
                command = [sys.executable, "-m", "jobs", "run", "--date", str(night)]
                done = subprocess.run(command, cwd=ROOT, env=self._on_one_machine(), stdout=said, stderr=subprocess.STDOUT)
            if done.returncode:
                raise ClusterError(f"{night} failed on one machine:\n{log.read_text()[-2000:]}")
            print(f"{self.name}: {night} on one machine took {time.monotonic() - began:.0f} s", flush=True)
        (self.expected / "done").touch()

    def _on_one_machine(self) -> dict[str, str]:
        """The same settings, but for where things are."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SHELFMATES", "SPARK"))}
        return kept | {
            "SHELFMATES_SETTINGS": str(self.folder / "settings" / "shelfmates.toml"),
            "SHELFMATES__LAKE__ROOT": str(self.expected),
            "SHELFMATES__SOURCES__SHOP__PATH": f"{self.folder}/feeds/{{date}}/shop.csv",
            "SHELFMATES__SOURCES__MARKET__PATH": f"{self.folder}/feeds/{{date}}/market.csv",
            "SHELFMATES__VALIDATE__DOCS": str(self.folder / "data-docs"),
            "SHELFMATES__SPARK__MASTER": "local[2]",
            "SHELFMATES__SPARK__CONF": "{}",
        }


def catalogues(folder: Path, items: int, first: date) -> tuple[Catalogue, Catalogue]:
    """A large one of two nights, and a small one of two later nights; one settings file serves both."""
    large = Catalogue("large", items, (first, first + timedelta(days=1)), folder)
    return large, Catalogue("small", SMALL_ITEMS, (first + timedelta(days=14), first + timedelta(days=15)), folder)


def write_settings(folder: Path) -> Path:
    """docker/shelfmates.toml for hosts as small as they are here. Raises ClusterError if the file does not fit any more."""
    text = (ROOT / "docker" / "shelfmates.toml").read_text(encoding="utf-8")
    small = "".join(f'"spark.{who}.extraJavaOptions" = "{QUICK_JVM}"\n' for who in ("driver", "executor"))
    written = re.sub(r'("spark\.executor\.memory" = )"\w+".*\n', rf'\1"{EXECUTOR_MEMORY}"\n{small}', text)
    if IN_THE_STORE not in text or written == text:
        raise ClusterError("docker/shelfmates.toml has no feeds under s3://shelfmates/feeds/, or no spark.executor.memory")
    settings = folder / "settings" / "shelfmates.toml"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text(written, encoding="utf-8")
    return settings


def with_spark(settings: Path, further: Mapping[str, str]) -> dict[str, str]:
    """The variable that adds these properties of Spark's to those of the settings."""
    conf = dict(SPARK_CONF.findall(settings.read_text(encoding="utf-8"))) | dict(further)
    return {"SHELFMATES__SPARK__CONF": "{" + ", ".join(f'"{name}" = "{value}"' for name, value in conf.items()) + "}"}
