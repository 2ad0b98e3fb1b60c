"""Equal slices of this machine's CPUs for hosts, by control groups: a host gets no more, however idle the others are."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

V1, V2 = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")
PERIOD = 100_000  # microseconds, the kernel's default


class NoSlicesError(Exception):
    """This machine's control groups cannot do it."""


@contextmanager
def sliced(names: list[str], cores: float) -> Iterator[dict[str, Path]]:
    """A control group for each name, removed at the end, when nothing may be left in it. Raises NoSlicesError."""
    groups: dict[str, Path] = {}
    try:
        for name in names:
            groups[name] = _group(f"shelfmates-{name}", round(cores * PERIOD))
        yield groups
    finally:
        for group in groups.values():
            group.rmdir()


def throttled(group: Path) -> int:
    """In how many periods the group has wanted more than its slice."""
    told = dict(line.split() for line in (group / "cpu.stat").read_text(encoding="ascii").splitlines())
    return int(told["nr_throttled"])


def _group(name: str, quota: int) -> Path:
    try:
        if (V1 / "cpu.cfs_quota_us").is_file():
            (V1 / name).mkdir(exist_ok=True)
            (V1 / name / "cpu.cfs_period_us").write_text(str(PERIOD))
            (V1 / name / "cpu.cfs_quota_us").write_text(str(quota))
            return V1 / name
        (V2 / "cgroup.subtree_control").write_text("+cpu")
        (V2 / name).mkdir(exist_ok=True)
        (V2 / name / "cpu.max").write_text(f"{quota} {PERIOD}")
    except OSError as error:
        raise NoSlicesError(f"no slices of CPU can be given here: {error}\n  → use a machine whose cgroups have it") from error
    return V2 / name
