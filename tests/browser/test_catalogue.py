"""A data engineer's evening: signs in, runs a night by the form, reads its log, backfills three nights; a screenshot of each step."""

from datetime import date, timedelta
from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="no playwright: run `make test-browser`")

from deltalake import DeltaTable
from playwright.sync_api import Page, expect

from tests.browser.pages import (
    A_NIGHT,
    SLOW,
    backfilled,
    completed,
    field,
    form,
    opened_log,
    opened_run,
    ranged,
    screenshot,
    triggered,
)

pytestmark = pytest.mark.browser
NIGHT = date(2026, 11, 20)


def published(lake: Path) -> set[date]:
    return set(DeltaTable(lake / "neighbours").to_pyarrow_table(columns=["snapshot_date"])["snapshot_date"].to_pylist())


def test_a_night_by_the_form(admin: Page, url: str, lake: Path) -> None:
    screenshot(admin, "1-signed-in")
    filled = form(admin, url, "catalogue")
    field(filled, "date").fill(str(NIGHT))
    screenshot(admin, "2-form")
    run_id = triggered(filled)
    state = opened_run(admin, url, "catalogue", run_id)
    expect(state).to_have_text("Running", timeout=SLOW)
    screenshot(admin, "3-running")
    expect(state).to_have_text("Success", timeout=A_NIGHT)
    screenshot(admin, "4-done")
    log = opened_log(admin, url, "catalogue", run_id, "publish")
    expect(log).to_contain_text("publish: ", timeout=SLOW)
    screenshot(admin, "5-log")
    assert published(lake) == {NIGHT}


def test_a_range_by_the_form(admin: Page, url: str, lake: Path) -> None:
    nights = [NIGHT + timedelta(days=day) for day in (1, 2, 3)]
    filled = ranged(form(admin, url, "catalogue"), nights[0], nights[-1])
    expect(filled).to_contain_text("3 runs will be triggered", timeout=SLOW)
    screenshot(admin, "6-backfill-form")
    backfilled(filled)
    expect(admin.get_by_text("Backfill in progress")).to_be_visible(timeout=SLOW)
    screenshot(admin, "7-backfill-running")
    assert completed(admin, url, "catalogue", nights[0], len(nights) * A_NIGHT)
    screenshot(admin, "8-backfill-done")
    for night in nights:
        expect(opened_run(admin, url, "catalogue", f"backfill__{night}T03:00:00+00:00")).to_have_text("Success", timeout=SLOW)
    assert published(lake) >= set(nights)
