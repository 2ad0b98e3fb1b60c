"""Airflow's web pages as a person uses them: each function does one thing on them and returns what came of it.

Elements are found by what a person reads (roles, labels, words) or by Airflow's own marks for tests, so that a change of its styles breaks
nothing here.
"""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from playwright.sync_api import FrameLocator, Locator, Page, expect, sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SHOTS = Path(__file__).parents[2] / "build" / "browser"
A_NIGHT = 600_000  # milliseconds; a small night takes a minute on two idle cores
LOCKED, TRIES = 503, 5
LOOK = 5_000  # milliseconds between two looks at a page that does not keep itself up to date
SLOW = 60_000  # milliseconds for a page on a busy machine


def chromium() -> str | None:
    """Where one is, if there is one."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


@contextmanager
def opened(browser: str) -> Iterator[Page]:
    """A page of somebody who is not signed in."""
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium has none for root
    with sync_playwright() as playwright:
        headless = playwright.chromium.launch(executable_path=browser, args=sandbox)
        yield headless.new_page(viewport={"width": 1400, "height": 900}, timezone_id="UTC")
        headless.close()


def screenshot(page: Page, name: str) -> Path:
    """The page as it is, once nothing is loading any more, in build/browser."""
    page.wait_for_load_state("networkidle")
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=(file := SHOTS / f"{name}.png"), animations="disabled")
    return file


def logged_in(page: Page, url: str, user: str, password: str) -> Page:
    """Through the form that every address leads to."""
    page.goto(url)
    page.locator("input[name=username]").fill(user)
    page.locator("input[name=password]").fill(password)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("button", name="User")).to_be_visible(timeout=SLOW)
    return page


def form(page: Page, url: str, dag_id: str) -> Locator:
    """The form by which a run or a backfill of the DAG is started."""
    page.goto(f"{url}/dags/{dag_id}")
    page.get_by_test_id("trigger-dag-button").click()
    dialog = page.get_by_role("dialog").filter(has_text="Single Run")
    expect(dialog.get_by_text("Run Parameters")).to_be_visible(timeout=SLOW)
    return dialog


def field(dialog: Locator, parameter: str) -> Locator:
    """What a parameter of the DAG is filled into: its title is no label of it."""
    return dialog.locator(f"[name=element_{parameter}]")


def triggered(dialog: Locator) -> str:
    """The id of the run that the filled form starts."""
    with dialog.page.expect_response(lambda r: r.request.method == "POST" and r.url.endswith("/dagRuns")) as answered:
        dialog.get_by_role("button", name="Trigger", exact=True).click()
    assert answered.value.ok, answered.value.text()
    run_id: str = answered.value.json()["dag_run_id"]
    return run_id


def ranged(dialog: Locator, first: date, last: date) -> Locator:
    """The form, as a backfill of these nights."""
    dialog.get_by_text("Backfill", exact=True).click()
    for place, (day, hour) in enumerate([(first, "00:00"), (last, "23:59")]):
        dialog.get_by_test_id("datetime-input").nth(place).click()
        calendar = dialog.page.locator("[data-scope=popover][data-part=content][data-state=open]")
        calendar.get_by_placeholder("YYYY/MM/DD").fill(f"{day:%Y/%m/%d}")
        calendar.get_by_placeholder("HH:mm").fill(hour)
        dialog.get_by_text("Date Range").click()
        expect(calendar).to_have_count(0)
    return dialog


def backfilled(dialog: Locator) -> int:
    """The id of the backfill that the filled form starts. SQLite may be locked by the scheduler just then: people press again too."""
    for _ in range(TRIES):
        with dialog.page.expect_response(lambda r: r.request.method == "POST" and r.url.endswith("/backfills")) as answered:
            dialog.get_by_role("button", name="Run Backfill").click()
        if answered.value.status != LOCKED:
            break
        print(answered.value.text())
    assert answered.value.ok, answered.value.text()
    backfill_id: int = answered.value.json()["id"]
    return backfill_id


def opened_run(page: Page, url: str, dag_id: str, run_id: str) -> Locator:
    """The state of a run, as its page says it and keeps saying it."""
    page.goto(f"{url}/dags/{dag_id}/runs/{run_id}")
    return page.get_by_test_id("header-card").get_by_test_id("state-badge")


def opened_task(page: Page, url: str, dag_id: str, run_id: str, task_id: str) -> Locator:
    """The state of a task, as its page says it and keeps saying it."""
    page.goto(f"{url}/dags/{dag_id}/runs/{run_id}/tasks/{task_id}")
    return page.get_by_test_id("header-card").get_by_test_id("state-badge")


def opened_explorer(page: Page, url: str) -> FrameLocator:
    """The explorer in Airflow's own frame, as the navigation opens it."""
    page.goto(f"{url}/plugin/shelfmates")
    return page.frame_locator("iframe")


def opened_log(page: Page, url: str, dag_id: str, run_id: str, task_id: str) -> Locator:
    """What the log of a task says on its page."""
    page.goto(f"{url}/dags/{dag_id}/runs/{run_id}/tasks/{task_id}")
    return page.get_by_test_id("virtualized-list")


def opened_backfill(page: Page, url: str, dag_id: str, first: date) -> Locator:
    """The row of the backfill from that night on, as it was when the page was opened: the table does not notice that it is done."""
    page.goto(f"{url}/dags/{dag_id}/backfills")
    row = page.get_by_test_id("table-list").get_by_role("row").filter(has_text=str(first))
    expect(row).to_be_visible(timeout=SLOW)
    return row


def completed(page: Page, url: str, dag_id: str, first: date, patience: float) -> str:
    """When the backfill from that night on was done; empty if it is not after so many milliseconds."""
    when, given_up = "", time.monotonic() + patience / 1000
    while not when and time.monotonic() < given_up:
        when = opened_backfill(page, url, dag_id, first).get_by_test_id("table-cell-completed_at").inner_text().strip()
        page.wait_for_timeout(0 if when else LOOK)
    return when
