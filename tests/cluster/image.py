"""What stands for the images: the checkout and its environment at the images' paths, to be read alone, and programs of this machine."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.cluster.hosts import HOME, SYSTEM_PATH, Mount, missing_tools
from tests.cluster.services import ROOT

VENV = Path(sys.prefix)
LAID = ("jobs", "expectations", "dags", "plugins", "docker", "README.md", "pyproject.toml")  # as the Dockerfiles have it
GATEWAY = "github.com/versity/versitygw/cmd/versitygw"
POSTGRES_USER = "postgres"  # of this machine: PostgreSQL refuses to be run by root
# what the image's own entry point does: a cluster of its own, its user and its database, the first time
POSTGRES = """
set -euo pipefail
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    initdb --username="$POSTGRES_USER" --pwfile=<(printf '%s\\n' "$POSTGRES_PASSWORD") --auth-local=trust --auth-host=scram-sha-256
    echo "CREATE DATABASE $POSTGRES_DB" | postgres --single postgres
    echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
fi
exec postgres -c listen_addresses='*' -c unix_socket_directories=/run/postgresql
"""


class MissingError(Exception):
    """What this machine lacks, and how to get it."""


def check() -> None:
    """Raises MissingError."""
    if os.geteuid():
        raise MissingError("hosts are namespaces and mounts, which root alone may make\n  → run it as root")
    if lacking := missing_tools():
        raise MissingError(f"there is no {', '.join(lacking)}\n  → install util-linux and iproute2")
    postgres_programs()
    if VENV.parent != ROOT:
        raise MissingError(f"this Python is not the checkout's\n  → run it with {ROOT / '.venv' / 'bin' / 'python'}")


def postgres_programs() -> Path:
    """The folder of PostgreSQL's programs. Raises MissingError."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda program: float(program.parts[4]))
    if found:
        return found[-1].parent
    if program := shutil.which("initdb"):
        return Path(program).resolve().parent
    raise MissingError("there is no PostgreSQL\n  → install it (Debian, Ubuntu: apt-get install postgresql)")


def gateway(version: str) -> Path:
    """The folder of the S3 gateway, which is built once. Raises MissingError where that takes a Go that is not there."""
    folder = ROOT / "build" / "cluster" / version
    if not (folder / "versitygw").is_file():
        go = shutil.which("go")
        if go is None:
            raise MissingError(f"no Go to build versitygw {version} with\n  → install it (Debian, Ubuntu: apt-get install golang-go)")
        print(f"cluster: building versitygw {version}, some minutes, once", flush=True)
        folder.mkdir(parents=True, exist_ok=True)
        built = subprocess.run(
            [go, "install", f"{GATEWAY}@{version}"], env=os.environ | {"GOBIN": str(folder)}, capture_output=True, text=True
        )
        if built.returncode:
            raise MissingError(f"versitygw {version} cannot be built:\n{built.stderr[-2000:]}")
    return folder


def mounts(folder: Path) -> list[Mount]:
    """Of every host. Files that are made for it go to the folder."""
    scripts, name = folder / "bin", f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    _rewrite(scripts)
    found = [Mount(ROOT / part, f"{HOME}/{part}") for part in LAID]
    found += [Mount(VENV, f"{HOME}/.venv"), Mount(scripts, f"{HOME}/.venv/bin")]
    for named in (f"{name}/_editable_impl_shelfmates.pth", "shelfmates/jvm-options"):  # they name the checkout by its own path
        if (VENV / named).is_file():
            rewritten = folder / Path(named).name
            rewritten.write_text(_as_on_hosts((VENV / named).read_text(encoding="utf-8")), encoding="utf-8")
            found.append(Mount(rewritten, f"{HOME}/.venv/{named}"))
    python = Path(sys.base_prefix)
    if not python.is_relative_to("/usr"):
        found.append(Mount(python, str(python)))
    return found


def _rewrite(scripts: Path) -> None:
    """Copies the environment's scripts, which name its interpreter by its own path, with the path that hosts know."""
    scripts.mkdir(parents=True, exist_ok=True)
    for script in (VENV / "bin").iterdir():
        copied = scripts / script.name
        copied.unlink(missing_ok=True)
        if script.is_symlink():
            copied.symlink_to(os.readlink(script))
        elif (text := script.read_bytes()).startswith(b"#!"):
            copied.write_text(_as_on_hosts(text.decode("utf-8")), encoding="utf-8")
            copied.chmod(0o755)


def _as_on_hosts(text: str) -> str:
    return text.replace(str(ROOT), HOME)


def postgres_environment() -> dict[str, str]:
    return {"PGDATA": "/var/lib/postgresql/data", "PATH": f"{postgres_programs()}:{SYSTEM_PATH}", "LANG": "C.UTF-8"}
