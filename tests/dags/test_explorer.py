"""The explorer inside Airflow's own API server: who gets in, what hostile requests get, and that titles reach the page as text."""

import os
import re
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from shelfmates.explorer.lake_cache import LakeCache

from tests.dags.explorer_lake import HELD, HOSTILE, PUBLISHED, make

if TYPE_CHECKING:
    from starlette.testclient import TestClient

PAGES = Path(__file__).parents[2] / "plugins" / "shelfmates" / "explorer" / "static"
PREFIX = "/shelfmates"
MANY, HUGE_WAIT = 45, 60.0  # readers; seconds
SETTINGS = """
[sources.shop]
path = "feeds/shop.csv"
columns = { id = "id", title = "title" }

[lake]
root = "lake"
"""
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Airflow's own, of what it is made of


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator["TestClient"]:
    """Airflow's application with its plugins, a database of its own, and a lake that the settings name."""
    folder = tmp_path_factory.mktemp("explorer")
    make(folder / "lake")
    (folder / "shelfmates.toml").write_text(SETTINGS, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHELFMATES_SETTINGS", str(folder / "shelfmates.toml"))
        patch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", secrets.token_hex(64))  # the one it makes is too short for its own taste
        subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=True, capture_output=True)
        from airflow.api_fastapi.app import create_app
        from shelfmates.explorer import app as explorer
        from starlette.testclient import TestClient

        with TestClient(create_app(apps="core"), base_url="http://testserver", raise_server_exceptions=False) as client:
            yield client
        explorer.lake_cache().close()
        explorer._lake_cache.cache_clear()


def token(role: str) -> str:
    """That of a user of this role, as Airflow's own login gives it."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    made: str = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username=role, role=role))
    return made


def as_(role: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(role)}"}


def routes() -> list[str]:
    """Every route of the explorer, with values where it asks for them, and those that FastAPI would add."""
    from shelfmates.explorer.app import app

    asked = {"{night}": str(HELD), "{name}": "explorer.js", "{table}": "duplicates"}
    own = [route.path for route in app.routes]
    found = [re.sub(r"{\w+}", lambda part: asked[part.group()], path) for path in own]
    return [*found, "/docs", "/redoc", "/openapi.json", "/docs/oauth2-redirect", "/static/", "/nowhere"]


def test_every_route_asks_who_is_there(server: "TestClient") -> None:
    for path in routes():
        expected = {401} if server.get(f"{PREFIX}{path}").status_code != 404 else {404}
        known = server.get(f"{PREFIX}{path}", headers=as_("admin")).status_code
        assert server.get(f"{PREFIX}{path}").status_code in expected, path
        assert known != 401, path
        assert expected == {401} or known == 404, f"{path}: open to anybody"
        for wrong in ("x", "a.b.c", token("admin")[:-4] + "aaaa"):
            assert server.get(f"{PREFIX}{path}", headers={"Authorization": f"Bearer {wrong}"}).status_code in {403, 404}, path


def test_nothing_can_be_written(server: "TestClient") -> None:
    for path in routes():
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            assert server.request(method, f"{PREFIX}{path}", headers=as_("admin")).status_code in {404, 405}, (method, path)


def test_settings_that_cannot_be_read_are_told(server: "TestClient", monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SHELFMATES_SETTINGS", str(tmp_path / "none.toml"))
    answer = get(server, "/nights")
    assert answer.status_code == 503
    assert "no settings file" in answer.json()["detail"]


def test_settings_that_change_are_read_again(server: "TestClient", monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = tmp_path / "shelfmates.toml"
    make(tmp_path / "filled")
    monkeypatch.setenv("SHELFMATES_SETTINGS", str(settings))
    found = []
    for lake in ("empty", "filled"):
        settings.write_text(SETTINGS.replace('"lake"', f'"{lake}"'), encoding="utf-8")
        found.append(get(server, "/nights").status_code)
    assert found == [404, 200]


def test_a_damaged_table_is_told(server: "TestClient", monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from shelfmates.explorer import app as explorer

    (tmp_path / "runs" / "_delta_log").mkdir(parents=True)
    (tmp_path / "runs" / "_delta_log" / f"{0:020}.json").write_text('{"add": ', encoding="utf-8")
    with closing(LakeCache(str(tmp_path))) as damaged:
        monkeypatch.setattr(explorer, "lake_cache", lambda: damaged)
        answer = get(server, "/nights")
    assert answer.status_code == 503
    assert "cannot be read" in answer.json()["detail"]
    assert "content-security-policy" in answer.headers


def test_a_file_that_is_gone_is_told_and_found_again(server: "TestClient", monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from shelfmates.explorer import app as explorer

    make(tmp_path)
    (file,) = (tmp_path / "clean_items" / f"snapshot_date={HELD}").glob("*.parquet")
    with closing(LakeCache(str(tmp_path))) as lacking:
        monkeypatch.setattr(explorer, "lake_cache", lambda: lacking)
        file.rename(away := file.with_suffix(".away"))
        assert get(server, f"/nights/{HELD}/items").status_code == 503
        away.rename(file)
        assert get(server, f"/nights/{HELD}/items").json()["found"] == 9


@pytest.mark.parametrize("role", ["viewer", "user", "op", "admin"])
def test_who_may_read_the_dag_may_read_the_explorer(server: "TestClient", role: str) -> None:
    told = server.get(f"{PREFIX}/nights", headers=as_(role))
    assert [night["night"] for night in told.json()] == [str(PUBLISHED), str(HELD)]


def test_a_cookie_is_enough_as_for_airflows_own_pages(server: "TestClient") -> None:
    answer = server.get(f"{PREFIX}/", headers={"Cookie": f"_token={token('viewer')}"})
    assert answer.status_code == 200
    assert "static/explorer.js" in answer.text


def test_every_answer_forbids_foreign_scripts(server: "TestClient") -> None:
    for path, headers in ((f"{PREFIX}/", as_("admin")), (f"{PREFIX}/nights", {}), (f"{PREFIX}/nights", as_("admin"))):
        policy = server.get(path, headers=headers).headers["content-security-policy"]
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy


def test_many_readers_leave_airflow_its_threads(server: "TestClient", monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow's own routes run in the same forty threads."""
    from shelfmates.explorer import app as explorer

    slow, headers = threading.Event(), as_("admin")
    monkeypatch.setattr(explorer.answers, "nights", lambda *_: slow.wait(HUGE_WAIT) and [])
    with ThreadPoolExecutor(MANY + 1) as pool:
        readers = [pool.submit(server.get, f"{PREFIX}/nights", headers=headers) for _ in range(MANY)]
        try:
            assert pool.submit(server.get, "/api/v2/dags", headers=headers).result(HUGE_WAIT).status_code == 200
            assert not any(reader.done() for reader in readers)
        finally:
            slow.set()
        assert {reader.result().status_code for reader in readers} == {200}


def get(server: "TestClient", path: str, **parameters: Any) -> Any:
    return server.get(f"{PREFIX}{path}", params=parameters, headers=as_("viewer"))


@pytest.mark.parametrize(
    ("path", "parameters", "status"),
    [
        ("/nights/2026-01-06/items", {"count": 10_000_000}, 422),
        ("/nights/2026-01-06/items", {"count": 0}, 422),
        ("/nights/2026-01-06/items", {"skip": -1}, 422),
        ("/nights/2026-01-06/items", {"skip": 10**30}, 422),
        ("/nights/2026-01-06/items", {"text": "a" * 1001}, 422),
        ("/nights/2026-01-06/items", {"text": "'; DROP TABLE items; --"}, 200),
        ("/nights/2026-01-06/items", {"text": "\x00"}, 200),
        ("/nights/2026-01-06/items", {"text": "\ud83d".encode("utf-16", "surrogatepass").decode("utf-16", "replace")}, 200),
        ("/nights/2026-1-6/items", {}, 422),
        ("/nights/2026-02-30/items", {}, 422),
        ("/nights/٢٠٢٦-٠١-٠٦/items", {}, 422),
        ("/nights/2026-01-06'%20OR%201=1/items", {}, 422),
        ("/nights/..%2f..%2fetc/audit", {}, 404),
        ("/nights/1999-01-01/items", {}, 404),
        ("/nights/1999-01-01/audit", {}, 404),
        ("/nights/2026-01-06/item", {}, 422),
        ("/nights/2026-01-06/item", {"item_id": "' OR 1 = 1 --"}, 404),
        ("/nights/2026-01-06/item", {"item_id": "oak", "before": "../.."}, 422),
        ("/nights/2026-01-06/quarantine", {"reason": "') OR 1 = 1 --"}, 200),
        ("/nights/2026-01-06/changes", {}, 422),
        ("/nights/2026-01-06/changes", {"before": "1999-01-01"}, 404),
        ("/static/..%2fapp.py", {}, 404),
        ("/static/%2e%2e%2f%2e%2e%2foperator.py", {}, 404),
        ("/static/....//app.py", {}, 404),
        ("/static/%2fetc%2fpasswd", {}, 404),
        ("/static/index.html", {}, 404),
    ],
)
def test_hostile_requests(server: "TestClient", path: str, parameters: dict[str, Any], status: int) -> None:
    answer = get(server, path, **parameters)
    assert answer.status_code == status, answer.text
    if status != 200:
        assert answer.json()["detail"], "says why"
        assert "Traceback" not in answer.text


def test_hostile_titles_travel_as_they_are_and_as_json(server: "TestClient") -> None:
    answer = get(server, f"/nights/{HELD}/items")
    assert answer.headers["content-type"] == "application/json"
    assert {row["title"] for row in answer.json()["items"]} >= set(HOSTILE.values())
    for item_id, title in HOSTILE.items():
        assert get(server, f"/nights/{HELD}/item", item_id=item_id).json()["item"]["title"] == title


def test_the_page_makes_no_markup_of_what_it_is_told() -> None:
    script = (PAGES / "explorer.js").read_text(encoding="utf-8")
    assert not re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|srcdoc", script)
    assert "<script>" not in (PAGES / "index.html").read_text(encoding="utf-8")  # nothing inline, which the policy forbids


def test_the_page_knows_the_parts_and_the_stages() -> None:
    from shelfmates.explorer import answers, decisions

    from jobs.decisions import DECISIONS
    from jobs.stages import STAGES
    from jobs.tables import PARTS

    assert tuple(STAGES) == answers.STAGES
    assert set(answers.DECISIONS) == set(DECISIONS) - {"user_keys", "quarantined_interactions"}  # which have no suite
    assert set(decisions.LISTINGS) == set(DECISIONS) - {"user_keys", "matches", "interactions", "quarantined_interactions"}
    script = (PAGES / "explorer.js").read_text(encoding="utf-8")
    for name, expected in (("PARTS", PARTS), ("STAGES", STAGES)):
        (listed,) = re.findall(rf"^const {name} = \[(.*)\]$", script, re.MULTILINE)
        assert re.findall(r"'(\w+)'", listed) == [*expected]


@pytest.mark.parametrize("prefix", ["", "/airflow"])
def test_the_plugins_links_have_airflows_prefix(prefix: str) -> None:
    script = "import shelfmates_explorer as e; print(*[view['href'] for view in e.ShelfmatesExplorer.external_views])"
    environment = os.environ | {"PYTHONPATH": str(PAGES.parents[2]), "AIRFLOW__API__BASE_URL": f"http://shop.example:8080{prefix}"}
    said = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, env=environment)
    assert said.stdout.splitlines()[-1].split() == [f"{prefix}/shelfmates/", f"{prefix}/shelfmates/?run_id={{RUN_ID}}"]


def test_loading_the_plugin_loads_neither_the_server_nor_the_lake() -> None:
    heavy = {"duckdb", "deltalake", "pyarrow", "fastapi", "jobs", "shelfmates.explorer"}
    script = "import airflow.plugins_manager, sys; before = set(sys.modules); import shelfmates_explorer; print(*set(sys.modules) - before)"
    environment = os.environ | {"PYTHONPATH": str(PAGES.parents[2])}
    said = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, env=environment)
    loaded = said.stdout.splitlines()[-1].split()
    assert "shelfmates_explorer" in loaded
    assert not heavy & set(loaded)
