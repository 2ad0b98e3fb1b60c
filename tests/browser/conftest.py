"""A real Airflow with a small generated catalogue, started as `make airflow` starts it, and a headless Chromium that is signed in to it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from shelfmates import components, local

from jobs.generate import generate
from tests.soak.airflow_home import free_port
from tests.soak.backfill import variables
from tests.tiny_encoder import save_table

if TYPE_CHECKING:
    from playwright.sync_api import Page

ITEMS, NIGHTS, START = 300, 5, date(2026, 11, 20)
HUGE_WAIT = 300.0  # seconds until Airflow is there, and until it is gone
REMEDY = "apt-get install --no-install-recommends chromium"


@pytest.fixture(scope="session")
def browser() -> str:
    """Where a Chromium is."""
    pytest.importorskip("playwright", reason="no playwright: run `make test-browser`")
    from tests.browser.pages import chromium

    return chromium() or pytest.skip(f"no Chromium: {REMEDY}")


@pytest.fixture(scope="session")
def airflow(browser: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Its environment; every process of it is ended with the tests."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # pytest would die of it, and leave Airflow at work
    folder = tmp_path_factory.mktemp("browser")
    generate(folder, ITEMS, NIGHTS, START)
    save_table(folder / "model")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "SHELFMATES"))}
    port = free_port()
    told = kept | variables(folder, folder / "lake")
    told |= {
        "AIRFLOW_HOME": str(folder / "airflow"),
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
        "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "False",  # a DAG that is switched on would run last night
        "PYTHONPATH": str(components.ROOT / "plugins"),
    }
    with subprocess.Popen([sys.executable, "-m", "shelfmates.local"], env=told, stdout=subprocess.PIPE, text=True) as launcher:
        try:
            said = []
            while not said or not said[-1].startswith("  stop"):
                if not (line := launcher.stdout.readline()):
                    pytest.fail("".join(said))
                said.append(line)
            yield told
        finally:
            launcher.terminate()
            launcher.wait(HUGE_WAIT)
    assert components.processes_of(folder / "airflow") == []


@pytest.fixture(scope="session")
def url(airflow: dict[str, str]) -> str:
    return airflow["AIRFLOW__API__BASE_URL"]


@pytest.fixture
def anybody(browser: str) -> Iterator["Page"]:
    """A page of somebody who is not signed in."""
    from tests.browser.pages import opened

    with opened(browser) as page:
        yield page


@pytest.fixture
def admin(anybody: "Page", airflow: dict[str, str], url: str) -> "Page":
    from tests.browser.pages import logged_in

    passwords = local.passwords(Path(airflow["AIRFLOW_HOME"]), airflow)
    return logged_in(anybody, url, "admin", passwords["admin"])


@pytest.fixture
def lake(airflow: dict[str, str]) -> Path:
    return Path(airflow["SHELFMATES__LAKE__ROOT"])
