"""The published tables as Airflow assets: what a DAG of ours updates, and what another team's DAG may be scheduled on.

An event on one of them means that a night has been published; `current_neighbours` stay as they are where it is not the newest. Its extra
holds the night's date, the run and the figures of its stages; `SparkJobOperator` writes it. Names are those of the tables; where a table
lies is the settings' business.
"""

from airflow.sdk import Asset

NEIGHBOURS = Asset(name="neighbours", group="shelfmates")
CURRENT_NEIGHBOURS = Asset(name="current_neighbours", group="shelfmates")
MATCHES = Asset(name="matches", group="shelfmates")
DUPLICATES = Asset(name="duplicates", group="shelfmates")
PRICE_POSITIONS = Asset(name="price_positions", group="shelfmates")
SUBSTITUTES = Asset(name="substitutes", group="shelfmates")
INTERACTIONS = Asset(name="interactions", group="shelfmates")
RECOMMENDATIONS = Asset(name="recommendations", group="shelfmates")
BUNDLES = Asset(name="bundles", group="shelfmates")
