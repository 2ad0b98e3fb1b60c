"""Hosts of their own on one Linux machine, without Docker: each has its own network, mounts, processes, name and shared memory.

A host's root is a folder of its own, which is all that it can write to; of this machine it sees programs, and what is mounted for it. Hosts
are joined by a bridge in a network namespace that leads nowhere else: from them nothing but other hosts can be reached. Nothing has to be
cleaned up: a namespace, with its mounts, links and processes, ends with its first process, and that with this one, however it ends.
"""

import ctypes
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

SUBNET = "10.77.0"  # /24, known inside these namespaces alone
HOME = "/opt/shelfmates"  # where commands begin, as in the images
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LINKED = ("/bin", "/sbin", "/lib", "/lib64")  # on most systems links into /usr
NSENTER = shutil.which("nsenter", path=SYSTEM_PATH) or "nsenter"
TOOLS = ("unshare", "nsenter", "setpriv", "ip", "pivot_root", "mount")
# setpriv, then --kill-child: whoever is killed on the way from here to the first process of a host, that process is killed too
UNSHARED = ("setpriv", "--pdeathsig", "KILL", "unshare", "--net", "--uts", "--ipc", "--mount", "--pid", "--fork", "--kill-child")
FIRST = "echo up; exec >/dev/null 2>&1; while :; do sleep 86400 & wait; done"  # it takes in, and buries, processes whose parents are gone
NET = 0x40000000  # CLONE_NEWNET
PATIENCE = 30.0  # seconds

_parent = ThreadPoolExecutor(1)  # the kernel takes a thread's end for its parent's: this one ends last


class HostError(Exception):
    """A host did not do what it was asked for."""


@dataclass(frozen=True)
class Mount:
    source: Path
    target: str
    writable: bool = False


def missing_tools() -> list[str]:
    return [tool for tool in TOOLS if shutil.which(tool, path=SYSTEM_PATH) is None]


@dataclass
class Switch:
    """The bridge that all hosts are joined to."""

    pid: int = 0
    _unshared: subprocess.Popen[str] | None = None

    def boot(self) -> None:
        self._unshared, self.pid = _first_process(FIRST)
        _ip(self.pid, "link add hosts type bridge", "link set hosts up")

    def off(self) -> None:
        if self._unshared is not None:
            self._unshared.kill()
            self._unshared.wait()


@dataclass
class Host:
    """`number` is the end of its address. `cpu` is the control group that what is run from then on belongs to."""

    name: str
    number: int
    root: Path
    switch: Switch
    mounts: Sequence[Mount] = ()
    cpu: Path | None = None
    pid: int = 0  # of its first process; 0 while it is off
    _unshared: subprocess.Popen[str] | None = None
    _started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"{SUBNET}.{self.number}"

    def boot(self) -> None:
        """Switches it on. What it has written when it was on before is still there."""
        lay(self.root, self.mounts)
        self._unshared, self.pid = _first_process("\n".join(_steps(self.root, self.name, self.mounts)))
        link = f"host{self.number}"
        _ip(self.switch.pid, f"link add {link} type veth peer name eth0 netns {self.pid}", f"link set {link} master hosts up")
        _ip(self.pid, "link set lo up", f"addr add {self.address}/24 dev eth0", "link set eth0 up")

    def off(self) -> None:
        """Like a power cut: nothing is said to anybody, and every process is gone."""
        if not self.pid:
            return
        with suppress(HostError):
            _ip(self.switch.pid, f"link set host{self.number} down")
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)  # the first process of a namespace takes all others with it
        for process in [*self._started, self._unshared]:
            process.send_signal(signal.SIGCONT)  # nsenter stops itself with what it has started
            process.wait(PATIENCE)
        with suppress(HostError):  # it may have gone with the namespace
            _ip(self.switch.pid, f"link delete host{self.number}")
        self.pid = 0
        self._started.clear()

    def run(
        self, command: Sequence[str], environment: Mapping[str, str], limit: float | None = None, folder: str = HOME
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command to its end, and keeps what it says. Raises HostError after so many seconds."""
        with self._popen(command, environment, folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            try:
                said, complained = process.communicate(timeout=limit)
            except subprocess.TimeoutExpired:
                end(process, signal.SIGKILL)
                raise HostError(f"{shlex.join(command)} on {self.name} has not ended after {limit:.0f} s") from None
        return subprocess.CompletedProcess(command, process.returncode, said, complained)

    def start(self, command: Sequence[str], environment: Mapping[str, str], log: Path, folder: str = HOME) -> subprocess.Popen[str]:
        """Starts a command; what it says goes to the end of the log."""
        with log.open("a") as written:
            process = self._popen(command, environment, folder, stdout=written, stderr=subprocess.STDOUT)
        self._started = [other for other in self._started if other.poll() is None] + [process]
        return process

    def _popen(self, command: Sequence[str], environment: Mapping[str, str], folder: str, **kept: object) -> subprocess.Popen[str]:
        if not self.pid:
            raise HostError(f"{self.name} is switched off")
        inside = [*entered(self.pid, folder), *command]
        if self.cpu:
            inside = ["/bin/sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', str(self.cpu), *inside]
        # by the environment, not by `env`: the command lines of this machine are everybody's
        return subprocess.Popen(inside, env=dict(environment), stdin=subprocess.DEVNULL, text=True, errors="replace", **kept)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Every process of it is stopped: its kernel goes on to take in what is sent, and nobody answers."""
        self.signalled("STOP")
        try:
            yield
        finally:
            self.signalled("CONT")
            for process in self._started:
                process.send_signal(signal.SIGCONT)

    def signalled(self, name: str) -> None:
        """Every process but the first gets the signal."""
        self.run(["/bin/bash", "-c", f"kill -{name} -1"], {"PATH": SYSTEM_PATH}, PATIENCE, "/")

    @contextmanager
    def network(self) -> Iterator[None]:
        """Sockets that this thread opens inside are the host's."""
        with open("/proc/thread-self/ns/net") as own, open(f"/proc/{self.pid}/ns/net") as of_host:
            _enter_network(of_host.fileno())
            try:
                yield
            finally:
                _enter_network(own.fileno())


def entered(pid: int, folder: str = HOME) -> list[str]:
    """The beginning of a command that is to run in the namespaces of a host."""
    return [NSENTER, "--target", str(pid), "--mount", "--uts", "--ipc", "--net", "--pid", f"--wdns={folder}"]


def end(process: subprocess.Popen[str], by: signal.Signals = signal.SIGTERM) -> None:
    """Signals what nsenter has started; itself it ends with that."""
    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process(process.pid).children():
            child.send_signal(by)


def lay(root: Path, mounts: Sequence[Mount]) -> None:
    """The folders and links of a root, and what is mounted over."""
    for name in ("dev", "etc", "opt", "proc", "root", "run", "sys", "tmp", "usr", "var/log", "var/tmp", "var/lib"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o1777)
    for link in (root / "var/run", *(root / name.lstrip("/") for name in LINKED if Path(name).is_symlink())):
        if not link.is_symlink():
            link.symlink_to("/run" if link.name == "run" else os.readlink(f"/{link.name}"))
    for mount in mounts:
        target = root / mount.target.lstrip("/")
        if mount.source.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()


def _steps(root: Path, name: str, mounts: Sequence[Mount]) -> Iterator[str]:
    """The shell script that makes a host of new namespaces."""
    inside = shlex.quote(str(root))
    yield f"set -euo pipefail; mount --bind {inside} {inside}"
    for place in ("/usr", "/etc", *(place for place in LINKED if Path(place).is_dir() and not Path(place).is_symlink())):
        yield f"mkdir -p {inside}{place}; mount -o bind,ro {place} {inside}{place}"
    yield f"mount --rbind /dev {inside}/dev; mount -t tmpfs tmpfs {inside}/dev/shm"
    yield f"mount -t proc proc {inside}/proc; mount -t sysfs -o ro sysfs {inside}/sys; mount --rbind /sys/fs/cgroup {inside}/sys/fs/cgroup"
    for mount in mounts:
        options = "bind" if mount.writable else "bind,ro"
        yield f"mount -o {options} {shlex.quote(str(mount.source))} {inside}{shlex.quote(mount.target)}"
    yield f"cd {inside}; pivot_root . .; umount --lazy .; cd /; hostname {name}; exec bash -c {shlex.quote(FIRST)}"


def _first_process(script: str) -> tuple[subprocess.Popen[str], int]:
    """Runs the script in new namespaces until it says that it is up, and the number of its process."""
    kept = {"env": {"PATH": SYSTEM_PATH}, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    unshared = _parent.submit(subprocess.Popen, [*UNSHARED, "bash", "-c", script], **kept).result()
    said = unshared.stdout.readline()
    if said != "up\n":
        raise HostError(f"no host can be made here: {said}{unshared.communicate(timeout=PATIENCE)[0]}")
    unshared.stdout.close()
    return unshared, psutil.Process(unshared.pid).children()[0].pid


def _ip(pid: int, *lines: str) -> None:
    asked = [NSENTER, "--target", str(pid), "--net", "ip", "-batch", "-"]
    done = subprocess.run(asked, input="\n".join(lines), capture_output=True, text=True)
    if done.returncode:
        raise HostError(f"ip: {'; '.join(lines)}: {done.stderr.strip()}")


def _enter_network(namespace: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)  # os.setns is of Python 3.12
    if libc.setns(namespace, NET):
        raise OSError(ctypes.get_errno(), "a network namespace cannot be entered")
