"""The services of docker/compose.yaml on hosts of their own: started in their order, watched by their own health checks, taken down."""

import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGINT, SIGTERM

from tests.cluster import image
from tests.cluster.hosts import Host, Switch, end
from tests.cluster.pages import Pages
from tests.cluster.services import ComposeError, Service, one_shots

WORKERS = ("spark-worker-1", "spark-worker-2", "spark-worker-3")
AIRFLOW = ("api-server", "scheduler", "dag-processor", "triggerer")
PEOPLE = ("analyst", "driver-1", "driver-2", "spare")  # where nothing runs, until somebody calls
SECRETS = ("POSTGRES_PASSWORD", "AIRFLOW_SECRET_KEY", "AIRFLOW_JWT_SECRET", "ADMIN_PASSWORD", "S3_ACCESS_KEY", "S3_SECRET_KEY")
FERNET = "AIRFLOW_FERNET_KEY"
MASTER = "spark://spark-master:7077"
PATIENCE = 300.0  # seconds, at least, for a health check: two cores start everything at once
GRACE = 30.0  # seconds between asking a service to end and ending it
LINES = 25  # of a log, where something went wrong
EVERY, OF_PAGES = 1.0, 5.0  # seconds between two looks


class ClusterError(Exception):
    """What was asked for, and what came instead."""


@dataclass
class Cluster:
    """`values` are those of its `.env`. `wanted`: hosts whose service is to run, and is started again where it ends. `command_lines`: of
    every process of this machine that was there when it was looked, once a second since the cluster began to come up. `pages`: Spark's,
    since then."""

    folder: Path
    values: Mapping[str, str]
    services: Mapping[str, Service]
    switch: Switch = field(default_factory=Switch)
    hosts: dict[str, Host] = field(default_factory=dict)
    wanted: set[str] = field(default_factory=set)
    restarts: list[str] = field(default_factory=list)
    command_lines: set[bytes] = field(default_factory=set)
    pages: Pages = field(default_factory=Pages)
    _mains: dict[str, subprocess.Popen[str]] = field(default_factory=dict)
    _healthy: set[str] = field(default_factory=set)
    _turn: threading.RLock = field(default_factory=threading.RLock)
    _over: threading.Event = field(default_factory=threading.Event)

    @property
    def secrets(self) -> dict[str, str]:
        return {name: self.values[name] for name in (*SECRETS, FERNET)}

    @property
    def store(self) -> Path:
        """Where the S3 server keeps the bucket, as plain files."""
        return self.folder / "volumes" / "store" / self.values.get("S3_BUCKET", "shelfmates")

    def log(self, host: str) -> Path:
        return self.folder / "logs" / f"{host}.log"

    def service_of(self, host: str) -> Service | None:
        return self.services.get("spark-worker" if host in WORKERS else host)

    def hosts_of(self, service: str) -> list[str]:
        return [name for name in WORKERS if name in self.hosts] if service == "spark-worker" else [service]

    def environment(self, host: str) -> dict[str, str]:
        """Of commands on the host: its service's, or what a person or a cron job needs."""
        if service := self.service_of(host):
            own = image.postgres_environment() if service.image == "postgres" else {}
            return {"HOSTNAME": host} | dict(service.environment) | own
        known = {name: value for name, value in self.services["api-server"].environment.items() if not name.startswith("AIRFLOW")}
        return known | {"HOSTNAME": host, "SHELFMATES__SPARK__MASTER": MASTER}

    def up(self) -> None:
        """Starts everything. Raises ClusterError or HostError if something does not come up."""
        began = time.monotonic()
        shots = one_shots(self.services)
        self.switch.boot()
        for followed in (self._watch, self._read, self._look):
            threading.Thread(target=followed, daemon=True).start()
        for name, service in self.services.items():
            for needed, condition in service.needs.items():
                if condition == "service_healthy":
                    self.wait(needed)
            for host in self.hosts_of(name):
                self.hosts[host].boot()
                if name in shots:
                    self.once(name)
                else:
                    self.started(host)
        for host in PEOPLE:
            self.hosts[host].boot()
        for name in self.services:
            self.wait(name)
        print(f"cluster: {len(self.hosts)} hosts are up after {time.monotonic() - began:.0f} s", flush=True)

    def down(self) -> None:
        self._over.set()
        with self._turn:
            self.wanted.clear()
            for host in self.hosts.values():
                host.off()
            self.switch.off()

    def program(self, service: Service) -> list[str]:
        """The command line of a service on its host."""
        if service.image == "postgres":
            user = image.POSTGRES_USER
            return ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "bash", "-c", image.POSTGRES]
        if service.image == "versity/versitygw":
            return ["/opt/versitygw/versitygw", *service.command]
        if "shelfmates" not in service.image:
            raise ComposeError(f"{service.name}: there is nothing here that stands for {service.image}")
        return [*service.entry, *service.command]

    def started(self, host: str) -> None:
        """Starts the host's service, and from then on again whenever it ends."""
        with self._turn:
            service = self.service_of(host)
            self._mains[host] = self.hosts[host].start(self.program(service), self.environment(host), self.log(host))
            self.wanted.add(host)

    def stopped(self, host: str) -> None:
        """Ends the host's service as compose does: it is asked to, and after a while its processes are killed."""
        with self._turn:
            self.wanted.discard(host)
            self._healthy.discard(host)
            main = self._mains.pop(host)
            end(main, SIGINT if self.service_of(host).image == "postgres" else SIGTERM)  # the images' own signals
            try:
                main.wait(GRACE)
            except subprocess.TimeoutExpired:
                self.hosts[host].signalled("KILL")

    def restarted(self, service: str) -> None:
        for host in self.hosts_of(service):
            self.stopped(host)
            self.started(host)
        self.wait(service)

    def off(self, host: str) -> None:
        """A power cut."""
        with self._turn:
            self.wanted.discard(host)
            self._healthy.discard(host)
            self.hosts[host].off()

    def on(self, host: str) -> None:
        """Starts a host that was off, and waits for its service."""
        self.hosts[host].boot()
        self.started(host)
        self._wait_for(host)

    def wait(self, service: str) -> None:
        """Waits for the service's health check on its hosts. Raises ClusterError."""
        for host in self.hosts_of(service):
            if self.services[service].health and host in self.wanted and host not in self._healthy:
                self._wait_for(host)

    def _wait_for(self, host: str) -> None:
        health, began = self.service_of(host).health, time.monotonic()
        while (looked := self.hosts[host].run(health.test, self.environment(host), PATIENCE)).returncode:
            if time.monotonic() - began > max(PATIENCE, health.patience):
                said = f"{_end(looked.stdout + looked.stderr, 5)}\n{self.end_of(self.log(host))}"
                raise ClusterError(f"{host} is not healthy after {time.monotonic() - began:.0f} s:\n{said}")
            time.sleep(EVERY)
        self._healthy.add(host)
        print(f"cluster: {host} is healthy", flush=True)

    def once(self, service: str) -> None:
        """Runs a service that ends by itself. Raises ClusterError if it fails."""
        main = self.hosts[service].start(self.program(self.services[service]), self.environment(service), self.log(service))
        if code := main.wait():
            raise ClusterError(f"{service} failed ({code}):\n{self.end_of(self.log(service))}")
        print(f"cluster: {service} is done: {self.end_of(self.log(service), 1)}", flush=True)

    def run(self, host: str, *command: str, further: Mapping[str, str] | None = None, limit: float | None = None) -> str:
        """What a command says on a host. Raises ClusterError with the end of its complaints if it fails."""
        done = self.hosts[host].run(command, self.environment(host) | dict(further or {}), limit)
        if done.returncode:
            raise ClusterError(f"{' '.join(command)} on {host} failed ({done.returncode}):\n{_end(done.stdout + done.stderr)}")
        return done.stdout

    def begun(self, host: str, *command: str, name: str, further: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """A command that is started on a host; it writes to the log of that name."""
        return self.hosts[host].start(command, self.environment(host) | dict(further or {}), self.log(name))

    def worked(self, host: str, *command: str, name: str, further: Mapping[str, str] | None = None) -> None:
        """The same, to its end. Raises ClusterError if it fails."""
        self.ended(self.begun(host, *command, name=name, further=further), name)

    def ended(self, process: subprocess.Popen[str], name: str) -> None:
        """Raises ClusterError if the command that writes to the log of that name fails."""
        if code := process.wait():
            raise ClusterError(f"{name} failed ({code}):\n{self.end_of(self.log(name))}")

    def end_of(self, log: Path, lines: int = LINES) -> str:
        return _end(log.read_text(encoding="utf-8", errors="replace") if log.is_file() else "", lines)

    def _read(self) -> None:
        while not self._over.wait(EVERY):
            for process in Path("/proc").glob("[0-9]*/cmdline"):
                with suppress(OSError):  # it has just ended
                    self.command_lines.add(process.read_bytes().replace(b"\0", b" "))

    def _look(self) -> None:
        while not self._over.wait(OF_PAGES):
            self.pages.read(self)

    def _watch(self) -> None:
        while not self._over.wait(EVERY):
            with self._turn:
                for host in [name for name in self.wanted if self._mains[name].poll() is not None]:
                    self.restarts.append(host)
                    print(f"cluster: the service of {host} has ended ({self._mains[host].returncode}), and is started again", flush=True)
                    self.started(host)


def _end(said: str, lines: int = LINES) -> str:
    return "\n".join(said.rstrip().splitlines()[-lines:])
