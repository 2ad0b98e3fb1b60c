"""Stands in for `docker compose` on the cluster: exec and run, cp, ps and logs, and what starts and stops services.

The process that holds the cluster listens on a socket in its folder, and tells a client what has been done, or what to run where:

    FOLDER/bin/docker compose exec scheduler airflow dags list
"""

import json
import os
import shutil
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingUnixStreamServer
from threading import Lock, Thread
from typing import Any

from tests.cluster.cluster import WORKERS, Cluster, ClusterError
from tests.cluster.hosts import HOME, HostError, entered
from tests.cluster.services import ROOT, one_shots

SOCKET, REFUSED = "stand-in.sock", 125  # as docker itself ends where it refuses
CLIENT = '#!/bin/sh\nPYTHONPATH={root}:{root}/plugins exec {python} -P -m tests.cluster.stand_in {folder} "$@"\n'
SPARE = "spare"  # where services are run that are at work elsewhere
SHORT = {"-e": "--env", "-w": "--workdir", "-n": "--tail"}
OF_CONTAINERS = ("--env", "--workdir", "--index", "--entrypoint", "--user", "-u", "--volume", "-v", "--publish", "-p", "--name")
OF_SERVICES = ("--scale", "--tail", "--since", "--timeout", "-t", "--file", "-f", "--env-file", "--profile", "--project-directory")

Options = list[tuple[str, str]]


def parted(words: Sequence[str], taking: Sequence[str]) -> tuple[Options, list[str]]:
    """The options that words begin with, of which some take a value, and what comes after them."""
    options, rest = Options(), list(words)
    while rest and rest[0].startswith("-"):
        name, equals, value = rest.pop(0).partition("=")
        name = SHORT.get(name, name)
        options.append((name, rest.pop(0) if name in taking and not equals else value))
    return options, rest


def answered(cluster: Cluster, words: Sequence[str], folder: Path) -> dict[str, Any]:
    """What a client in that folder is to run (`exec`, `environment`), or what was done (`said`). Raises ClusterError."""
    if words[:1] != ["compose"]:
        raise ClusterError(f"docker {' '.join(words)}: only `docker compose` is stood in for")
    command, *rest = parted(words[1:], OF_SERVICES)[1] or ["without a command"]
    if command in ("exec", "run"):
        return _to_run(cluster, command, *parted(rest, OF_CONTAINERS))
    if command == "cp":
        return {"said": _copy(*(_path(cluster, place, folder) for place in parted(rest, OF_SERVICES)[1]))}
    options, services = Options(), list[str]()
    while rest:  # here options may stand behind, too
        further, rest = parted(rest, OF_SERVICES)
        options += further
        services += [rest.pop(0)] if rest else []
    for service in services:
        _known(cluster, service)
    done = {"up": _up, "start": _up, "stop": _stop, "kill": _stop, "restart": _restart, "ps": _ps, "logs": _logs}
    if command not in done:
        raise ClusterError(f"docker compose {command} is not stood in for")
    return {"said": done[command](cluster, services or list(cluster.services), options)}


def _to_run(cluster: Cluster, command: str, options: Options, rest: list[str]) -> dict[str, Any]:
    name, *words = rest or [""]
    told = dict(options)
    if command == "exec":  # on a host of any name, `analyst` too
        hosts = [name] if name in cluster.hosts else cluster.hosts_of(_known(cluster, name))
        if "--index" in told:
            hosts = hosts[int(told["--index"]) - 1 :][:1]
        host = next((host for host in hosts if host in cluster.wanted or not cluster.service_of(host)), None)
        if host is None:
            raise ClusterError(f"service {name} is not running")
        known = cluster.environment(host)
    else:
        service = cluster.services[_known(cluster, name)]
        host = name if name in one_shots(cluster.services) else SPARE
        known = {"HOSTNAME": host} | dict(service.environment)
        words = [*([told["--entrypoint"]] if "--entrypoint" in told else service.entry), *(words or service.command)]
    given = dict(value.partition("=")[::2] for option, value in options if option == "--env")
    if not cluster.hosts[host].pid:
        raise ClusterError(f"service {name} is not running")
    return {"exec": [*entered(cluster.hosts[host].pid, told.get("--workdir", HOME)), *words], "environment": known | given}


def _known(cluster: Cluster, service: str) -> str:
    if service not in cluster.services:
        raise ClusterError(f"no such service: {service}")
    return service


def _path(cluster: Cluster, place: str, folder: Path) -> Path:
    """Of `SERVICE:/path`, or of a file of the client's."""
    service, colon, path = place.partition(":")
    if not colon:
        return folder / place
    return Path(f"/proc/{cluster.hosts[cluster.hosts_of(_known(cluster, service))[0]].pid}/root{path}")


def _copy(source: Path, target: Path) -> str:
    into = target / source.name if target.is_dir() else target
    if source.is_dir():
        shutil.copytree(source, into, dirs_exist_ok=True)
    else:
        shutil.copy(source, into)
    return f"copied to {into}"


def _hosts(cluster: Cluster, services: Sequence[str]) -> list[str]:
    shots = one_shots(cluster.services)
    return [host for service in services if service not in shots for host in cluster.hosts_of(service)]


def _up(cluster: Cluster, services: Sequence[str], options: Options) -> str:
    scaled = next((int(value.partition("=")[2]) for name, value in options if name == "--scale"), None)
    if scaled is not None and scaled > len(WORKERS):
        raise ClusterError(f"there are {len(WORKERS)} worker hosts, and no more")
    wanted = [host for host in _hosts(cluster, services) if scaled is None or host not in WORKERS[scaled:]]
    if scaled is not None:
        for host in set(WORKERS[scaled:]) & cluster.wanted:
            cluster.stopped(host)
    for host in wanted:
        if not cluster.hosts[host].pid:
            cluster.on(host)
        elif host not in cluster.wanted:
            cluster.started(host)
    for service in services:
        cluster.wait(service)
    return _ps(cluster, services, options)


def _stop(cluster: Cluster, services: Sequence[str], options: Options) -> str:
    for host in reversed(_hosts(cluster, services)):
        if host in cluster.wanted:
            cluster.stopped(host)
    return _ps(cluster, services, options)


def _restart(cluster: Cluster, services: Sequence[str], options: Options) -> str:
    _stop(cluster, services, options)
    return _up(cluster, services, [])


def _ps(cluster: Cluster, services: Sequence[str], options: Options) -> str:
    return "\n".join(f"{host:18}{'Up' if host in cluster.wanted else 'Exited'}" for host in _hosts(cluster, services))


def _logs(cluster: Cluster, services: Sequence[str], options: Options) -> str:
    lines = next((int(value) for name, value in options if name == "--tail" and value.isdecimal()), 100)
    hosts = [host for service in services for host in cluster.hosts_of(service)]
    return "\n".join(f"==> {host} <==\n{cluster.end_of(cluster.log(host), lines)}" for host in hosts)


@contextmanager
def listening(cluster: Cluster) -> Iterator[Path]:
    """The folder of a `docker` that knows this cluster."""
    turn, folder = Lock(), cluster.folder / "bin"

    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            try:
                with turn:
                    asked = json.loads(self.rfile.readline())
                    told = answered(cluster, asked["words"], Path(asked["folder"]))
            except (ClusterError, HostError, OSError, LookupError, TypeError, ValueError) as error:
                told = {"refused": str(error)}
            self.wfile.write(json.dumps(told).encode())

    folder.mkdir(exist_ok=True)
    client = folder / "docker"
    client.write_text(CLIENT.format(root=ROOT, python=sys.executable, folder=cluster.folder), encoding="utf-8")
    client.chmod(0o755)
    (cluster.folder / SOCKET).unlink(missing_ok=True)
    with ThreadingUnixStreamServer(str(cluster.folder / SOCKET), Handler) as server:
        server.daemon_threads = True
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield folder
        finally:
            server.shutdown()
            (cluster.folder / SOCKET).unlink()


def main() -> None:
    folder, *words = sys.argv[1:]
    with socket.socket(socket.AF_UNIX) as asked:
        asked.connect(str(Path(folder) / SOCKET))
        asked.sendall(json.dumps({"words": words, "folder": os.getcwd()}).encode() + b"\n")
        told = json.load(asked.makefile("rb"))
    if "exec" in told:
        os.execve(told["exec"][0], told["exec"], told["environment"])
    print(told.get("said", ""))
    if "refused" in told:
        print(told["refused"], file=sys.stderr)
        sys.exit(REFUSED)


if __name__ == "__main__":
    main()
