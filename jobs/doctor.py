"""Looks at everything a night needs, and says what is wrong and what to do about it."""

import datetime
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from jobs import encoder, feed, toolchain
from jobs import settings as settings_file
from jobs.address import shown
from jobs.errors import ShelfmatesError, ToolchainError
from jobs.feeds import AnyFeed
from jobs.settings import Settings
from jobs.toolchain import Finding
from jobs.user_key import user_key

DISK_MINIMUM = 5e9  # bytes: the lake of a season of small nights, and Spark's shuffles
MEMORY_MINIMUM = 4e9  # bytes: a driver's JVM of 2 GB and two workers that hold an encoder each


def examine(settings: str | None = None) -> list[Finding]:
    """One finding for each part; without a readable settings file, the parts that depend on it are left out."""
    findings = [_finding("java", _java), _finding("jars", _jars), _finding("machine", _machine), _finding("gpu", _gpu)]
    try:
        loaded = settings_file.load(settings)
    except ShelfmatesError as error:
        return [*findings, Finding("settings", False, error.found, error.remedy)]
    findings.append(
        Finding("settings", True, f"{len(loaded.sources)} sources: {', '.join(loaded.sources)}; fingerprint {loaded.fingerprint}")
    )
    if loaded.spark.master.startswith("local"):
        findings.append(_finding("archive", _archive))
    findings += [_finding(f"feed {name}", partial(_feed, name, source)) for name, source in loaded.sources.items()]
    if (interactions := loaded.interactions) is not None:
        findings.append(_finding("feed interactions", lambda: _feed("interactions", interactions)))
        findings.append(_finding("user key", _user_key))
    findings.append(_finding("model", lambda: _model(loaded)))
    findings.append(_finding("lake", lambda: _lake(loaded)))
    return findings


def _finding(name: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, look())
    except ShelfmatesError as error:
        return Finding(name, False, error.found, error.remedy)


def _java() -> str:
    return f"{toolchain.java()} {os.environ.get('JAVA_HOME', '')}".strip()


def _jars() -> str:
    if missing := toolchain.missing_jars():
        raise ToolchainError(f"missing: {', '.join(missing)}", "run `shelfmates setup`")
    return f"{len(toolchain.DELTA_JARS)} Delta jars in {toolchain.spark_home() / 'jars'}"


def _archive() -> str:
    archive = toolchain.archive_of(toolchain.java())
    if not archive.is_file():
        raise ToolchainError(f"no class-data archive at {archive}; every start takes some 10 s longer", "run `shelfmates setup`")
    return str(archive)


def _machine() -> str:
    import psutil

    memory = psutil.virtual_memory().total
    if memory < MEMORY_MINIMUM:
        raise ToolchainError(
            f"{memory / 1e9:.1f} GB of memory",
            f'a night needs {MEMORY_MINIMUM / 1e9:.0f} GB; take fewer cores with spark.master = "local[1]"',
        )
    return f"{os.cpu_count()} cores, {memory / 1e9:.0f} GB of memory"


def _gpu() -> str:
    import torch

    if not torch.cuda.is_available():
        return "none; the encoder runs on the CPU"
    return f"{torch.cuda.device_count()} × {torch.cuda.get_device_name(0)}"


def _user_key() -> str:
    return f"{len(user_key())} bytes"


def _feed(name: str, source: AnyFeed) -> str:
    where = shown(source.path)
    if source.format not in feed.FORMATS:
        return f"{where} (looked at when a night reads it)"
    dates = feed.dates(name, source)
    files = feed.files(name, source, max(dates, default=datetime.date.today()))
    return f"{where}: {len(dates):,} dates, the newest {dates[-1]}" if dates else f"{where}: {len(files):,} files"


def _model(settings: Settings) -> str:
    folder = encoder.folder_of(settings.embed.model)
    loaded = encoder.load(folder)
    return f"{encoder.model_id(folder)}, {loaded.dimension} dimensions, {loaded.precision} on {loaded.kind}, in {folder}"


def _lake(settings: Settings) -> str:
    root = settings.lake.root
    from jobs.lake_root import check_root

    check_root(settings)
    if "://" in root:
        return f"{shown(root)} (looked at when a night begins)"
    free = shutil.disk_usage(Path(root)).free
    if free < DISK_MINIMUM:
        raise ToolchainError(
            f"{free / 1e9:.1f} GB free at {root}", f"free some: {DISK_MINIMUM / 1e9:.0f} GB is a fair minimum, or set lake.root elsewhere"
        )
    return f"{root} is writable, {free / 1e9:.0f} GB free"
