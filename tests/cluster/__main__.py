"""A small real cluster on one Linux machine, and what it has to do. As root:

    make test-cluster
    make test-cluster SECTIONS="night faults"

The services of docker/compose.yaml, a host each, without Docker: namespaces with an address, a name, processes and files of their own.
PostgreSQL is this machine's, the S3 server versitygw, built once with this machine's Go. Three worker hosts. Nothing of it can reach, or be
reached from, any network; and all of it ends with this program, however that ends.

    night     the DAG, two nights of 20,000 items from S3 to S3: the same tables as on one machine; DuckDB and the explorer see them
    faults    the same while worker hosts are lost, PostgreSQL is restarted and S3 stands still: the same tables, and what was done again
    writers   two drivers that commit to one table, and publish two nights, at once: nothing is lost
    elastic   a night with dynamic allocation: executors come and go, the same tables
    scaling   1, 2 and 3 workers, each with an equal slice of CPU: seconds by stage, bytes shuffled, skew
    runbook   the commands of docker/README.md
    secrets   a search for every credential in logs, event logs, tables, pages and command lines

Each section ends with a line that tells what was found.
"""

import argparse
import signal
import sys
import tempfile
import time
import urllib.request
from datetime import date
from pathlib import Path

from tests.cluster import elastic, faults, night, runbook, scaling, secrets, writers
from tests.cluster.built import made_up, running
from tests.cluster.catalogue import catalogues, write_settings
from tests.cluster.cluster import Cluster, ClusterError
from tests.cluster.hosts import HostError
from tests.cluster.image import MissingError, check
from tests.cluster.services import ComposeError
from tests.cluster.slices import NoSlicesError
from tests.cluster.stand_in import listening
from tests.soak.airflow_home import AirflowError

SECTIONS = {
    name: module.section
    for name, module in {
        "night": night,
        "faults": faults,
        "writers": writers,
        "elastic": elastic,
        "scaling": scaling,
        "runbook": runbook,
        "secrets": secrets,
    }.items()
}
ITEMS, FIRST = 20_000, date(2026, 11, 20)
OF_LARGE, OF_SMALL = {"night", "faults", "elastic"}, {"writers"}  # sections that compare with the tables of one machine
EXPECTED = (ClusterError, AirflowError, HostError, NoSlicesError, OSError)


def worked(folder: Path, asked: list[str], items: int, stay: bool) -> list[str]:
    """The sections that went wrong."""
    settings, wrong = write_settings(folder), []
    large, small = catalogues(folder, items, FIRST)
    for catalogue, of_catalogue in ((large, OF_LARGE), (small, OF_SMALL)):
        catalogue.made()
        if of_catalogue & set(asked):
            catalogue.computed()  # before the cluster is up: it takes all cores
    values = made_up() | {"SETTINGS": str(settings), "FEEDS": str(folder / "feeds")}
    with running(folder, values) as cluster:
        for name in asked:
            print(f"\n{name}", flush=True)
            began = time.monotonic()
            try:
                verdict = SECTIONS[name](cluster, large, small)
            except EXPECTED as error:
                wrong.append(name)
                verdict = f"WRONG: {error}"
            print(f"{name}: {verdict} [{time.monotonic() - began:.0f} s]", flush=True)
        if stay:
            stayed(cluster)
    return wrong


def stayed(cluster: Cluster) -> None:
    """Keeps the cluster until Ctrl-C."""
    with listening(cluster) as folder:
        print(f"\nthe cluster stays up until Ctrl-C. In another terminal, as root:\n  export PATH={folder}:$PATH")
        print("  docker compose ps\n  docker compose exec scheduler airflow dags list\n  docker compose exec spark-worker bash")
        print("DAGs run when they are triggered, not by their schedules; Airflow's pages are on http://api-server:8080 of the hosts alone")
        print(f"the admin's password of Airflow's pages: {cluster.values['ADMIN_PASSWORD']}", flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"{' '.join(SECTIONS)} (default: all, in this order)")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="work in this folder and leave it: logs, and what one machine has made")
    parser.add_argument("--items", type=int, default=ITEMS, help="of the large catalogue")
    parser.add_argument("--stay", action="store_true", help="keep the cluster up in the end, until Ctrl-C; without a SECTION at once")
    given = parser.parse_args()
    if unknown := set(given.sections) - set(SECTIONS):
        parser.error(f"no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's job in the background is told to ignore it
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("cluster: told to end"))  # what was started is ended on the way out
    urllib.request.install_opener(urllib.request.build_opener(urllib.request.ProxyHandler({})))  # hosts know no proxy
    asked = given.sections or ([] if given.stay else list(SECTIONS))
    try:
        check()
        if given.keep:
            wrong = worked(given.keep.absolute(), asked, given.items, given.stay)
        else:
            with tempfile.TemporaryDirectory(prefix="shelfmates-cluster-", ignore_cleanup_errors=True) as made:
                wrong = worked(Path(made), asked, given.items, given.stay)
    except (MissingError, ComposeError, *EXPECTED) as error:
        sys.exit(f"cluster: {error}")
    print(f"cluster: {len(asked)} sections, {len(wrong)} wrong{': ' + ', '.join(wrong) if wrong else ''}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
