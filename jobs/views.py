"""Questions that people ask of the tables: views, which `shelfmates sql` has beside the tables, and examples of what is asked of both.

DuckDB and Spark read the same SQL. Views are of the newest night for which their table was made, unless they say otherwise; one that reads
a table which is not there yet is not there either.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class View:
    name: str
    answers: str
    tables: tuple[str, ...]  # that it reads
    sql: str


_NIGHT = "(SELECT max(snapshot_date) FROM neighbours)"
_MADE = "(SELECT max(snapshot_date) FROM runs WHERE stage = '{}' AND outcome = 'ok')"  # of which there may be no rows
_OF_NIGHT = "JOIN clean_items i ON i.snapshot_date = {0}.snapshot_date AND i.item_id = {0}.{1}"
_ITEMS = f"(SELECT item_id, source, title, price, currency FROM clean_items WHERE snapshot_date = {_NIGHT})"
_READ = ("clean_items", "neighbours")

VIEWS = {
    view.name: view
    for view in (
        View("items_now", "What does the catalogue hold?", _READ, f"SELECT * FROM clean_items WHERE snapshot_date = {_NIGHT}"),
        View(
            "neighbours_now",
            "What is similar to what, by name and price?",
            ("current_neighbours", *_READ),
            f"""SELECT n.item_id, a.title, a.price, n.rank, n.neighbour_id, b.title AS neighbour_title, b.price AS neighbour_price,
            n.similarity FROM current_neighbours n JOIN {_ITEMS} a ON a.item_id = n.item_id
            JOIN {_ITEMS} b ON b.item_id = n.neighbour_id""",
        ),
        View(
            "duplicates_now",
            "Which rows are one product, and which of them is to stay?",
            ("duplicates", "clean_items", "runs"),
            f"""SELECT d.group_id, d.item_id, i.source, i.title, i.price, i.currency, s.item_id AS survivor_id, d.match_probability
            FROM duplicates d JOIN duplicates s ON s.snapshot_date = d.snapshot_date AND s.group_id = d.group_id AND s.survivor
            {_OF_NIGHT.format("d", "item_id")} WHERE d.snapshot_date = {_MADE.format("deduplicate")}""",
        ),
        View(
            "prices_now",
            "Where does a price stand among those of similar products?",
            ("price_positions", "clean_items", "runs"),
            f"""SELECT p.item_id, i.title, i.category, p.price, p.currency, p.median, p.gap, p.percentile, p.peers, p.outlier, p.cause
            FROM price_positions p {_OF_NIGHT.format("p", "item_id")}
            WHERE p.snapshot_date = {_MADE.format("position")}""",
        ),
        View(
            "substitutes_now",
            "What can be had in place of what cannot?",
            ("substitutes", "clean_items", "runs"),
            f"""SELECT s.item_id, s.rank, s.substitute_id, i.title AS substitute_title, i.price, s.reason, s.last_listed
            FROM substitutes s {_OF_NIGHT.format("s", "substitute_id")}
            WHERE s.snapshot_date = {_MADE.format("substitute")}""",
        ),
        View(
            "refused_shares",
            "How much of each source was refused, night by night?",
            ("raw_items", "quarantined_items"),
            """SELECT r.snapshot_date, r.source, r.found AS rows_read, coalesce(q.refused, 0) AS rows_refused,
            coalesce(q.refused, 0) / r.found AS refused_share
            FROM (SELECT snapshot_date, source, count(*) AS found FROM raw_items GROUP BY snapshot_date, source) r
            LEFT JOIN (SELECT snapshot_date, source, count(*) AS refused FROM quarantined_items GROUP BY snapshot_date, source) q
            ON q.snapshot_date = r.snapshot_date AND q.source = r.source""",
        ),
        View(
            "broken_checks",
            "Which checks were broken, in any night? Those graded fail hold it, or a table that is made of it.",
            ("audit_results",),
            """SELECT a.snapshot_date, a.run_id, a.check AS name, a.grade, a.figure, a.bound, a.reason
            FROM audit_results a WHERE NOT a.passed""",
        ),
        View(
            "stages_run",
            "How long did the stages take, and what became of them, in any night?",
            ("runs",),
            "SELECT snapshot_date, run_id, stage, started_at, seconds, rows_in, rows_out, outcome FROM runs",
        ),
    )
}

# question -> query
EXAMPLES = {
    "What is like this product?": """
        SELECT rank, neighbour_title, neighbour_price, similarity FROM neighbours_now WHERE item_id = 'shop:1' ORDER BY rank""",
    "Which two products of different sources are nearest to each other?": """
        SELECT n.item_id, n.neighbour_id, n.similarity FROM current_neighbours n JOIN items_now a ON a.item_id = n.item_id
        JOIN items_now b ON b.item_id = n.neighbour_id WHERE a.source < b.source ORDER BY n.similarity DESC, n.item_id LIMIT 10""",
    "Why are two products similar?": """
        SELECT similarity, parts.semantic AS meaning, parts.lexical AS spelling, parts.codes AS codes
        FROM current_neighbours WHERE item_id = 'shop:1' AND rank = 1""",
    "Which products does the market sell cheaper than the shop?": """
        SELECT a.item_id, a.title, a.price, b.price AS price_at_the_market, a.currency FROM duplicates_now a
        JOIN duplicates_now b ON b.group_id = a.group_id AND b.currency = a.currency
        WHERE a.source = 'shop' AND b.source = 'market' AND b.price < a.price ORDER BY a.price - b.price DESC, a.item_id""",
    "Which prices are probably typing errors?": """
        SELECT item_id, title, price, median, cause FROM prices_now
        WHERE outlier AND cause IS DISTINCT FROM 'pack size' ORDER BY abs(gap) DESC, item_id""",
    "Which categories are priced high against what is similar?": """
        SELECT category, count(*) AS products, avg(percentile) AS mean_percentile FROM prices_now
        GROUP BY category ORDER BY mean_percentile DESC, category""",
    "What can be offered in place of what is out of stock?": """
        SELECT item_id, substitute_title, price, reason FROM substitutes_now WHERE rank = 1 ORDER BY item_id""",
    "Of which source are ever more rows refused?": """
        SELECT source, max_by(refused_share, snapshot_date) - min_by(refused_share, snapshot_date) AS more FROM refused_shares
        GROUP BY source ORDER BY more DESC, source""",
    "What has held nights, and how often?": """
        SELECT name, count(*) AS times, max(snapshot_date) AS last FROM broken_checks WHERE grade = 'fail'
        GROUP BY name ORDER BY times DESC, name""",
    "Which stages take longest?": """
        SELECT stage, count(*) AS times, max(seconds) AS longest FROM stages_run WHERE outcome = 'ok'
        GROUP BY stage ORDER BY longest DESC, stage""",
}
