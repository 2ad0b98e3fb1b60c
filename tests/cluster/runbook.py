"""What docker/README.md tells to do, done: every command of its shell blocks that begins with `docker compose`, with a stand-in for docker.

Other commands of the blocks are listed, and not run: they are for another machine than the one this is tried on.
"""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.cluster.airflow import EVERY, airflow_of, idle
from tests.cluster.catalogue import Catalogue
from tests.cluster.cluster import Cluster, ClusterError
from tests.cluster.night import emptied, worked
from tests.cluster.services import ROOT
from tests.cluster.stand_in import listening
from tests.soak.airflow_home import until

FILE = ROOT / "docker" / "README.md"
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMPOSE = re.compile(r"^docker compose( -f \S+)* (exec|run|cp|restart|stop|start|kill|up|ps|logs)\b")
LIMIT = 1200.0  # seconds, of one command
SHOWN = 3  # lines of what a command says in the end


def section(cluster: Cluster, large: Catalogue, small: Catalogue) -> str:
    """The verdict. Raises ClusterError with the commands that failed."""
    found = [command for block in BLOCK.findall(FILE.read_text(encoding="utf-8")) for command in commands(block)]
    ours = [command for command in found if COMPOSE.match(command)]
    if not ours:
        raise ClusterError(f"there is no `docker compose` command in the shell blocks of {FILE.name}")
    airflow = airflow_of(cluster)
    if not (cluster.store / "lake" / "neighbours").is_dir():  # commands ask for nights
        emptied(cluster)
        for night in large.nights:
            worked(airflow, f"runbook-{night}", night)
    for command in found:
        if command not in ours:
            print(f"  not run: {command.splitlines()[0]}", flush=True)
    with listening(cluster) as stand_in:
        failed = [command for command in ours if not tried(command, stand_in)]
        until("the nights that were asked for", lambda: idle(airflow), EVERY)
    if failed:
        raise ClusterError("\n  ".join([f"{len(failed)} of {len(ours)} commands failed:", *failed]))
    return f"{len(ours)} commands of docker/README.md, all of them work"


def commands(block: str) -> Iterator[str]:
    """The commands of a block of shell, those of several lines as one."""
    lines = list[str]()
    for line in block.splitlines():
        if not lines and (not line.strip() or line.startswith("#")):
            continue
        lines.append(line)
        text = "\n".join(lines)
        if not line.endswith("\\") and subprocess.run(["bash", "-n", "-c", text], stderr=subprocess.DEVNULL).returncode == 0:
            yield text
            lines.clear()
    if lines:
        raise ClusterError(f"bash cannot read a block of {FILE.name}:\n" + "\n".join(lines))


def tried(command: str, stand_in: Path) -> bool:
    """Runs the command in a shell whose `docker` is the stand-in, and shows what it says."""
    print(f"  $ {command}", flush=True)
    try:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            env={"PATH": f"{stand_in}:{os.environ['PATH']}", "LANG": "C.UTF-8"},
            cwd=stand_in.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=LIMIT,
            text=True,
        )
    except subprocess.TimeoutExpired:
        print(f"    it has not ended after {LIMIT:.0f} s", flush=True)
        return False
    for line in done.stdout.rstrip().splitlines()[-SHOWN:]:
        print(f"    {line:.160}", flush=True)
    if done.returncode:
        print(f"    WRONG: it ended with {done.returncode}", flush=True)
    return not done.returncode
