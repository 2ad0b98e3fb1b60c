"""What the places of prices among others must look like. The frame is `price_positions` of one night."""

from typing import TYPE_CHECKING

from expectations.suite import at_least, at_most
from jobs.decisions import PRICE_POSITIONS

if TYPE_CHECKING:
    from great_expectations.expectations.expectation import Expectation

TABLE = PRICE_POSITIONS.name

FIGURES = {
    "rows": "count(*)",
    "outliers": "count_if(outlier)",
    "repeated_items": "count(*) - count(DISTINCT item_id)",
    "lowest_price": "min(price)",
    "lowest_peers": "min(peers)",
    "lowest_percentile": "min(percentile)",
    "highest_percentile": "max(percentile)",
    "without_median": "count_if(median IS NULL OR gap IS NULL OR isnan(gap))",
    "explained_without_outlier": "count_if(cause IS NOT NULL AND NOT outlier)",
    "share_of_outliers": "count_if(outlier) / count(*)",
}


def suite() -> list["Expectation"]:
    return [
        at_most("repeated_items", 0, "fail", "a product has one price"),
        at_least("lowest_price", 0, "fail", "clean quarantines negative prices"),
        at_least("lowest_peers", 1, "fail", "a price is held against that of a neighbour"),
        at_least("lowest_percentile", 0, "fail", "a percentile is a share"),
        at_most("highest_percentile", 1, "fail", "a percentile is a share"),
        at_most("without_median", 0, "fail", "where there are peers there is a middle"),
        at_most("explained_without_outlier", 0, "fail", "only a price that is far off has a cause"),
        at_most("share_of_outliers", 0.1, "warn", "many prices far off at once point to a broken feed rather than to single typos"),
    ]
