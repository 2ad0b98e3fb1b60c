"""Nights that are killed at random moments, each tried again: what is published in the end, and what readers see meanwhile.

    make kill-test            50 kills
    make kill-test KILLS=5

The second night of a small generated catalogue runs once undisturbed. Then it runs from a copy of the lake as it was before, submitted as
Airflow submits it, and is killed: the stage in which it happens, the moment in it, and what is killed (the JVM of the driver, its Python,
a Python worker, or the task that submitted it) are drawn at random. The next try begins at once, beside whatever the killed one left
behind. After a few kills a try may end; its tables have to be those of the undisturbed run, and the lake is set back. All the while a
reader of another make (delta-rs) looks at the published tables: it has to see one night or the other, whole. In the end two runs of the
night begin at once.

Prints a line a kill, a table by stage, and `kills 50, wrong tables 0, partial reads 0`.
"""

import argparse
import collections
import itertools
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path
from threading import Event, Lock, Thread

import psutil

from jobs.generate import generate
from jobs.stages import STAGES
from jobs.tables import (
    CLEAN_ITEMS,
    CURRENT_NEIGHBOURS,
    ITEM_VECTORS,
    NEIGHBOURS,
    QUARANTINED_ITEMS,
    RAW_ITEMS,
    STAGED_NEIGHBOURS,
)
from tests.soak.published import Rows, rows_of, told
from tests.tiny_encoder import save

PUBLISHED = (NEIGHBOURS, CURRENT_NEIGHBOURS)
START = date(2026, 1, 5)
NIGHT = START + timedelta(days=1)
ITEMS = 300
KILLS_A_ROUND = 5  # before a try is let to its end
KINDS = ("jvm", "driver", "worker", "task")
COMPARED = (RAW_ITEMS, QUARANTINED_ITEMS, CLEAN_ITEMS, ITEM_VECTORS, STAGED_NEIGHBOURS, *PUBLISHED)
OF_AIRFLOW = re.compile(r"^\S+ \[\w+ *\] | \[airflow\.task\..*$")  # what its log puts around what the program says
WAIT = 300.0  # seconds for which a night may say nothing


class Run:
    """One try of the night: a task that submits it, and what it says, by line, with the seconds since it began."""

    def __init__(self, settings: Path, night: date, run_id: str) -> None:
        self.began = time.monotonic()
        environment = os.environ | {"SHELFMATES_SETTINGS": str(settings), "PYTHONUNBUFFERED": "1"}
        command = [sys.executable, "-m", "tests.soak.submit", str(night), run_id]
        self.process = psutil.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.said: list[tuple[float, str]] = []
        self.reader = Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self.said.append((time.monotonic() - self.began, OF_AIRFLOW.sub("", line.rstrip())))

    def ended(self) -> dict[str, float]:
        """Stages that have ended, with the second of it; `start` is the time until Spark was up."""
        found = {}
        for at, line in list(self.said):
            name = line.split(":")[0]
            if name in STAGES and re.search(r", [\d.]+ s(, [\d,]+ rows/s)?$", line):
                found.setdefault(name, at)
            elif line.startswith("shelfmates: night "):
                found["start"] = at
        return found

    def below(self) -> dict[str, list[psutil.Process]]:
        """The processes under the task, by kind."""
        found: dict[str, list[psutil.Process]] = {kind: [] for kind in KINDS}
        for process in self.process.children(recursive=True):
            try:
                command = " ".join(process.cmdline())
            except psutil.NoSuchProcess:
                continue
            if "java" in process.name():
                found["jvm"].append(process)
            elif "jobs.daemon" in command:
                found["worker"].append(process)
            elif "__main__.py" in command:
                found["driver"].append(process)
        return found | {"task": [self.process]}

    def wait(self) -> int:
        code: int = self.process.wait(WAIT)
        self.reader.join(10)
        return code

    @property
    def text(self) -> str:
        return "\n".join(line for _, line in self.said)


def kill(run: Run, stage: str, moments: dict[str, tuple[float, float]], kind: str, chance: random.Random) -> tuple[str, str] | None:
    """Kills one process of the run in the midst of the stage. The stage and the kind that it was; None if the run had ended."""
    before = [*moments][[*moments].index(stage) - 1] if stage != "start" else None
    deadline = time.monotonic() + WAIT
    while before and before not in run.ended():
        if run.process.poll() is not None or time.monotonic() > deadline:
            return None
        time.sleep(0.02)
    begins, ends = moments[stage]
    time.sleep(chance.uniform(0, ends - begins))
    while run.process.poll() is None and time.monotonic() < deadline:
        victims = run.below()
        if victims[kind]:
            victim = chance.choice(victims[kind])
            done = [*run.ended()]
            at = next((name for name in moments if name not in done), stage)
            with suppress(psutil.NoSuchProcess):
                victim.kill()
                return at, kind
        kind = chance.choice(KINDS)  # there may be no Python worker at this moment
    return None


class Watcher:
    """Reads the published tables over and over, and keeps what it saw that was neither night."""

    def __init__(self, lake: Path, before: dict[str, Rows], after: dict[str, Rows]) -> None:
        self.lake, self.allowed, self.reads = lake, {name: (before[name], after[name]) for name in before}, 0
        self.partial: list[str] = []
        self.over, self.looking = Event(), Lock()
        self.thread = Thread(target=self._watch, daemon=True)
        self.thread.start()

    def _watch(self) -> None:
        while not self.over.wait(0.1):
            with self.looking:
                for table in PUBLISHED:
                    found = rows_of(self.lake, table, NIGHT)
                    self.reads += 1
                    if found not in self.allowed[table.name]:
                        self.partial.append(f"{table.name}: {len(found)} rows")


def orphans() -> list[psutil.Process]:
    """Drivers and JVMs of tries that outlive the process that submitted them."""
    found = []
    for process in psutil.process_iter(["cmdline", "ppid"]):
        command = " ".join(process.info["cmdline"] or [])
        if str(Path.cwd()) in command and "__main__.py" in command:
            found.append(process)
    return found


def wrong(lake: Path, right: dict[str, Rows]) -> list[str]:
    """The tables that are not the undisturbed run's, each with its first differences."""
    return ["\n".join(lines) for table in COMPARED if (lines := told(table, right[table.name], rows_of(lake, table, NIGHT)))]


def finished(settings: Path, night: date, run_id: str) -> Run:
    run = Run(settings, night, run_id)
    if run.wait():
        raise SystemExit(f"a night that nobody disturbed failed:\n{run.text}")
    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="shelfmates-kills-") as made:
        sys.exit(soak(Path(made), given.kills, random.Random(given.seed)))


def soak(folder: Path, kills: int, chance: random.Random) -> int:
    os.environ |= {
        "AIRFLOW_HOME": str(folder / "airflow"),
        "AIRFLOW_CONN_SPARK_DEFAULT": json.dumps({"conn_type": "spark", "host": "local[2]"}),
        "SHELFMATES__EMBED__MODEL": str(save(folder / "tiny")),
        "PYTHONPATH": os.pathsep.join([str(Path.cwd()), str(Path.cwd() / "plugins")]),
    }
    generate(folder / "shop", ITEMS, 2, START, change=0.1)
    settings, lake, kept = folder / "shop" / "shelfmates.toml", folder / "shop" / "lake", folder / "kept"
    finished(settings, START, "scheduled")
    shutil.copytree(lake, kept)
    before = {table.name: rows_of(lake, table, NIGHT) for table in PUBLISHED}
    undisturbed = finished(settings, NIGHT, "scheduled")
    right = {table.name: rows_of(lake, table, NIGHT) for table in COMPARED}
    seconds = [0.0, *undisturbed.ended().values()]
    moments = dict(zip(["start", *STAGES], itertools.pairwise(seconds), strict=True))
    print(f"{os.cpu_count()} cores; undisturbed: " + ", ".join(f"{name} {b - a:.1f} s" for name, (a, b) in moments.items()), flush=True)

    shutil.rmtree(lake)
    shutil.copytree(kept, lake)
    watcher = Watcher(lake, before, right)
    killed: list[tuple[str, str]] = []
    faults: list[str] = []

    def settled() -> None:
        """Lets a try go to its end, and looks at what it has left."""
        run = Run(settings, NIGHT, "scheduled")
        code = run.wait()
        faults.extend(wrong(lake, right) if code == 0 else [f"the last try failed:\n{run.text}"])
        _, alive = psutil.wait_procs(orphans(), timeout=30)
        faults.extend(f"process {process.pid} is still at work" for process in alive)
        with watcher.looking:
            shutil.rmtree(lake)
            shutil.copytree(kept, lake)

    while len(killed) < kills:
        run = Run(settings, NIGHT, "scheduled")
        stage, kind = chance.choice([*moments]), KINDS[len(killed) % len(KINDS)]
        if done := kill(run, stage, moments, kind, chance):
            killed.append(done)
            print(f"kill {len(killed)}: {done[1]} in {done[0]}", flush=True)
            if done[1] != "task":  # it hears of it, and ends what is left; nobody does where it is killed itself
                run.wait()
        if len(killed) % KILLS_A_ROUND == 0 or len(killed) == kills:
            settled()
            print(f"  tables compared: {len(faults)} faults so far; {watcher.reads} reads, {len(watcher.partial)} partial", flush=True)

    both = [Run(settings, NIGHT, "scheduled"), Run(settings, NIGHT, "by hand")]
    codes = [run.wait() for run in both]
    overtaken = [line for run in both for _, line in run.said if "has begun the night" in line]
    if sorted(codes) != [0, 1] or not overtaken:
        faults.append("\n".join([f"two runs at once ended with {codes}", *(run.text for run in both)]))
    faults += wrong(lake, right)
    watcher.over.set()
    watcher.thread.join()
    print(f"two runs of one night at once, exit codes {codes}: {' '.join(overtaken[:1])}")
    by_stage = collections.Counter(killed)
    print(f"{'stage':12}" + "".join(f"{kind:>8}" for kind in KINDS))
    for stage in moments:
        print(f"{stage:12}" + "".join(f"{by_stage[stage, kind]:>8}" for kind in KINDS))
    print("\n".join([*faults, *watcher.partial]), end="\n" if faults or watcher.partial else "")
    print(f"kills {len(killed)}, wrong tables {len(faults)}, partial reads {len(watcher.partial)}", flush=True)
    return 1 if faults or watcher.partial else 0


if __name__ == "__main__":
    main()
