"""A catalogue manager's morning: the explorer inside Airflow, from the nights at a glance to a product and its neighbours, refused rows and
what has changed; then a night that is held, which is released there. A screenshot of each step."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="no playwright: run `make test-browser`")

from deltalake import DeltaTable
from playwright.sync_api import FrameLocator, Page, expect
from shelfmates import components

from tests.browser.conftest import ITEMS, START
from tests.browser.pages import A_NIGHT, SLOW, field, form, opened_explorer, opened_run, opened_task, screenshot, triggered
from tests.browser.test_catalogue import published

pytestmark = pytest.mark.browser
NIGHTS = [START + timedelta(days=day) for day in range(4)]
HELD = START + timedelta(days=4)


@pytest.fixture(scope="module", autouse=True)
def all_published(airflow: dict[str, str]) -> None:
    """The nights that no other test has run before."""
    lake = Path(airflow["SHELFMATES__LAKE__ROOT"])
    for night in NIGHTS:
        if not (lake / "neighbours").is_dir() or night not in published(lake):
            subprocess.run([sys.executable, "-m", "jobs", "run", "--date", str(night)], env=airflow, check=True, cwd=components.ROOT)


def shown(explorer: FrameLocator, view: str) -> None:
    """Goes to a view by the explorer's own links."""
    explorer.get_by_role("navigation", name="Views").get_by_role("link", name=view).click()
    expect(explorer.locator("main")).to_have_attribute("aria-busy", "false", timeout=SLOW)


def test_a_product_and_its_neighbours(admin: Page, url: str) -> None:
    explorer = opened_explorer(admin, url)
    expect(explorer.get_by_role("heading", name="Nights at a glance")).to_be_visible(timeout=SLOW)
    for night in NIGHTS:
        expect(explorer.get_by_role("row").filter(has_text=str(night))).to_contain_text("published")
    screenshot(admin, "explorer-nights")
    shown(explorer, "Products")
    explorer.get_by_role("searchbox").fill("desk")
    explorer.get_by_role("searchbox").press("Enter")
    first = explorer.locator("td.title a").first
    expect(first).to_contain_text("esk", timeout=SLOW)
    screenshot(admin, "explorer-search")
    first.click()
    expect(explorer.get_by_role("heading", name=f"Neighbours of {NIGHTS[-1]}")).to_be_visible(timeout=SLOW)
    expect(explorer.locator("tbody tr")).to_have_count(10)
    expect(explorer.get_by_role("img", name="semantic").first).to_be_visible()
    screenshot(admin, "explorer-product")


def test_refused_rows_and_what_has_changed(admin: Page, url: str) -> None:
    explorer = opened_explorer(admin, url)
    shown(explorer, "Refused rows")
    expect(explorer.get_by_role("heading", name="As they came")).to_be_visible(timeout=SLOW)
    explorer.locator("tbody a").first.click()
    expect(explorer.get_by_role("link", name="all refused rows")).to_be_visible(timeout=SLOW)
    screenshot(admin, "explorer-refused")
    shown(explorer, "Changes")
    expect(explorer.locator("main")).to_contain_text("products of both", timeout=SLOW)
    explorer.locator("#before").select_option(str(NIGHTS[0]))
    expect(explorer.locator("main")).to_contain_text(f"{NIGHTS[-1]} beside", timeout=SLOW)
    screenshot(admin, "explorer-changes")


def test_it_is_used_by_keyboard_and_is_as_dark_as_airflow(admin: Page, url: str) -> None:
    admin.evaluate("localStorage.setItem('theme', 'dark')")
    explorer = opened_explorer(admin, url)
    expect(explorer.locator("html")).to_have_attribute("data-theme", "dark")
    link = explorer.get_by_role("navigation", name="Views").get_by_role("link", name="Audit")
    link.focus()
    link.press("Enter")
    expect(explorer.get_by_role("heading", name=f"Audit of {NIGHTS[-1]}")).to_be_visible(timeout=SLOW)
    screenshot(admin, "explorer-audit-dark")
    explorer.get_by_role("link", name="Skip to the content").press("Enter")
    expect(explorer.locator("main")).to_be_focused()
    expect(explorer.get_by_role("heading", name=f"Audit of {NIGHTS[-1]}")).to_be_visible()  # and not another page


def test_a_held_night_is_released_with_a_reason(admin: Page, url: str, lake: Path, airflow: dict[str, str]) -> None:
    cut(Path(airflow["SHELFMATES_SETTINGS"]).parent / "feeds" / str(HELD) / "shop.csv", ITEMS // 4)
    filled = form(admin, url, "catalogue")
    field(filled, "date").fill(str(HELD))
    run_id = triggered(filled)
    expect(opened_task(admin, url, "catalogue", run_id, "publish")).to_have_text("Awaiting Input", timeout=A_NIGHT)
    screenshot(admin, "held-in-airflow")
    admin.wait_for_timeout(20_000)  # Airflow takes an answer within seconds of the question for a lost task, and asks again
    explorer = opened_explorer(admin, url)
    shown(explorer, "Audit")
    release = explorer.get_by_role("button", name="Publish")
    expect(explorer.locator("main")).to_contain_text("night: items against last night")
    release.click()  # without a reason nothing is sent
    explorer.get_by_label("Reason").fill("   ")
    release.click()  # nor with a blank one
    expect(explorer.get_by_role("status")).to_be_empty()
    explorer.get_by_label("Reason").fill("a quarter of the shop is sold, as was planned")
    screenshot(admin, "explorer-held")
    release.click()
    expect(explorer.get_by_role("status")).to_contain_text("Answered: Publish", timeout=SLOW)
    expect(release).to_be_disabled()
    expect(opened_run(admin, url, "catalogue", run_id)).to_have_text("Success", timeout=A_NIGHT)
    assert HELD in published(lake)
    (released,) = DeltaTable(lake / "overrides").to_pyarrow_table().to_pylist()
    assert (released["snapshot_date"], released["who"], released["why"]) == (HELD, "admin", "a quarter of the shop is sold, as was planned")


def cut(feed: Path, rows: int) -> None:
    feed.write_text("\n".join(feed.read_text(encoding="utf-8").splitlines()[: rows + 1]) + "\n", encoding="utf-8")
