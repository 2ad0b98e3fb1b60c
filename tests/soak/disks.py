"""A lake on a bad disk: what a night says of it, that nothing is lost, and that the remedy it names is one.

    make disk-test

Two nights of a small generated catalogue are run on a good disk: what is expected. Then, on copies of that lake, each on a small file
system of its own: a disk that fills in the midst of a night, early and late; one that can only be read; a damaged Parquet file of
raw_items; and half of the newest log entry of raw_items and of neighbours. The program has to end with a message that names what is wrong
and what to do. The published tables are read meanwhile by another make (delta-rs): each holds the night before or the night, whole. Then
what was named is done, the night is run again, and the tables hold the same rows as on the good disk.

Disks are mounted in a mount namespace of this program's own: nobody else sees them, and they end with it. That takes root, or a system that
allows user namespaces.

Prints what is said and found, case by case, and `disks 6, wrong 0`.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from jobs.generate import generate
from jobs.table import Table
from jobs.tables import CURRENT_NEIGHBOURS, NEIGHBOURS, RAW_ITEMS
from tests.soak.backfill import variables
from tests.soak.published import Rows, faults, rows_of
from tests.tiny_encoder import save_table

ITEMS, START = 300, date(2026, 1, 5)
NIGHT = START + timedelta(days=1)
PUBLISHED = (NEIGHBOURS, CURRENT_NEIGHBOURS)
ROOMY = "size=256m"
UNSHARE = ["unshare", "--mount", *([] if os.getuid() == 0 else ["--map-root-user"])]
GREETING = "shelfmates: night "
DAMAGED = "is damaged"


@dataclass(frozen=True)
class Case:
    """`begins` is the lake that the disk holds at first; `spoil` and `mend` get the disk."""

    name: str
    begins: Path
    spoil: Callable[[Path], None]
    stages: tuple[str, ...]
    says: tuple[str, ...]
    mend: Callable[[Path], None]
    unreadable: Table | None = None  # to everybody, until it is mended


def mounted(disk: Path, lake: Path | None = None) -> None:
    """An empty disk, or one with a copy of a lake, in the place of the last one."""
    subprocess.run(["umount", "--lazy", disk], stderr=subprocess.DEVNULL, check=False)
    disk.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", ROOMY, "tmpfs", disk], check=True)
    if lake:
        shutil.copytree(lake, disk / "lake")


def remount(disk: Path, options: str) -> None:
    # without the options it has already: uid and gid among them are refused in a user namespace
    subprocess.run(["mount", "--options-mode", "ignore", "-o", f"remount,{options}", "tmpfs", disk], check=True)


def used(disk: Path) -> int:
    """Bytes."""
    found = os.statvfs(disk)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


def newest_entry(disk: Path, table: Table) -> Path:
    return max((disk / "lake" / table.name / "_delta_log").glob("*.json"))


def halve(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def overwrite_the_middle(disk: Path) -> None:
    """Of every file of the night's raw items."""
    for file in (disk / "lake" / RAW_ITEMS.name / f"snapshot_date={NIGHT}").glob("*.parquet"):
        with file.open("r+b") as opened:
            opened.seek(file.stat().st_size // 2)
            opened.write(os.urandom(256))


def cases(before: Path, after: Path, growth: int) -> list[Case]:
    """growth: bytes that a night adds to a lake."""
    run, made_writable = ("run",), ("cannot be written", "writable")

    def full(share: float) -> Case:
        name = f"a disk that is full after {share:.0%} of what a night writes"
        return Case(
            name,
            before,
            lambda disk: remount(disk, f"size={used(disk) + int(share * growth)}"),
            run,
            ("a disk is full", "free space"),
            lambda disk: remount(disk, ROOMY),
        )

    def remove(disk: Path) -> None:
        entry = newest_entry(disk, RAW_ITEMS)
        entry.unlink()
        entry.with_name(f".{entry.name}.crc").unlink()

    def put_back(disk: Path) -> None:
        entry = newest_entry(disk, NEIGHBOURS)
        shutil.copy(before / entry.relative_to(disk / "lake"), entry)

    return [
        full(0.5),
        full(0.95),
        Case("a disk that can only be read", before, lambda d: remount(d, "ro"), run, made_writable, lambda d: remount(d, "rw")),
        Case(
            "Parquet files of raw_items overwritten in the middle; the night is run again, as the message says",
            after,
            overwrite_the_middle,
            ("validate",),
            (".parquet", DAMAGED, "run the night it belongs to again from ingest on"),
            lambda disk: None,
        ),
        Case(
            "half of the newest log entry of raw_items; it is removed, as the message says",
            before,
            lambda disk: halve(newest_entry(disk, RAW_ITEMS)),
            run,
            (f"/{RAW_ITEMS.name}/_delta_log/", DAMAGED, "can be removed"),
            remove,
        ),
        Case(
            "half of the newest log entry of neighbours; it is put back from a copy, as the message says",
            before,
            lambda disk: halve(newest_entry(disk, NEIGHBOURS)),
            run,
            (f"/{NEIGHBOURS.name}/_delta_log/", DAMAGED, "from a copy"),
            put_back,
            NEIGHBOURS,
        ),
    ]


def worked(folder: Path, lake: Path, night: date, *stages: str) -> tuple[int, str]:
    """Exit code of `shelfmates <stages>`, and its error: its own message to the end, the last line of a traceback, or nothing."""
    first, *further = stages
    command = [sys.executable, "-m", "jobs", first, *further, "--date", str(night)]
    done = subprocess.run(command, env=os.environ | variables(folder, lake), capture_output=True, text=True)
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    own = [at for at, line in enumerate(lines) if line.startswith("shelfmates: ") and not line.startswith(GREETING)]
    return done.returncode, "\n".join(lines[own[-1] :] if own else lines[-1:]) if done.returncode else ""


def wrong_of(case: Case, folder: Path, disk: Path, nights: list[dict[str, Rows]]) -> list[str]:
    """What was not as it has to be. `nights`: the published tables as they may be, by name."""
    lake = disk / "lake"
    mounted(disk, case.begins)
    case.spoil(disk)
    code, said = worked(folder, lake, NIGHT, *case.stages)
    print(f"  exit code {code}\n  {said}".replace("\n", "\n  "), flush=True)
    wrong = [f"the message lacks {part!r}" for part in case.says if part not in said]
    wrong += [f"exit code {code}, expected 5 or 6"] if code not in (5, 6) else []
    for table in PUBLISHED:
        if table is not case.unreadable:
            found = rows_of(lake, table)
            holds = [name for name, rows in zip(["before", "the night"], nights, strict=True) if found == rows[table.name]]
            print(f"  {table.name}: {' and '.join(holds) or 'neither night'}", flush=True)
            wrong += [] if holds else [f"{table.name} is of neither night: {len(found)} rows"]
    case.mend(disk)
    code, said = worked(folder, lake, NIGHT, "run")
    if code:
        return [*wrong, f"the night fails although all is mended: {said}"]
    unequal = faults(folder / "after", lake)
    print(f"  mended and run again: {'tables differ' if unequal else 'tables equal'}", flush=True)
    return wrong + unequal


def soak(folder: Path) -> int:
    """The number of cases that went wrong."""
    print(generate(folder, ITEMS, 2, START, change=0.1), flush=True)
    save_table(folder / "model")
    disk, before, after = folder / "disk", folder / "before", folder / "after"
    mounted(disk)
    for night, kept in ((START, before), (NIGHT, after)):
        already = used(disk)
        code, said = worked(folder, disk / "lake", night, "run")
        if code:
            raise SystemExit(f"disks: a night on a good disk failed: {said}")
        shutil.copytree(disk / "lake", kept)
    growth = used(disk) - already
    print(f"two nights on a good disk; the second wrote {growth / 1e6:.2f} MB", flush=True)
    nights = [{table.name: rows_of(lake, table) for table in PUBLISHED} for lake in (before, after)]
    tried = cases(before, after, growth)
    failed = 0
    for case in tried:
        print(f"{case.name}:", flush=True)
        wrong = wrong_of(case, folder, disk, nights)
        print("".join(f"  WRONG {line}\n" for line in wrong), end="", flush=True)
        failed += bool(wrong)
    print(f"disks {len(tried)}, wrong {failed}")
    return failed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--own-mounts", action="store_true", help=argparse.SUPPRESS)  # this is the process in the namespace
    given = parser.parse_args()
    if not given.own_mounts:
        tried = subprocess.run([*UNSHARE, "mount", "-t", "tmpfs", "tmpfs", tempfile.gettempdir()], capture_output=True, text=True)
        if tried.returncode:
            sys.exit(
                f"disks: no disk can be mounted here: {tried.stderr.strip()}\n"
                "  → run it as root, in a container with --cap-add SYS_ADMIN, or where user namespaces are allowed"
            )
        os.execvp(UNSHARE[0], [*UNSHARE, sys.executable, "-m", "tests.soak.disks", "--own-mounts"])
    with tempfile.TemporaryDirectory(prefix="shelfmates-disks-", ignore_cleanup_errors=True) as made:
        failed = soak(Path(made))
        subprocess.run(["umount", "--lazy", Path(made) / "disk"], check=False)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
