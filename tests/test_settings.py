"""What the settings refuse, in which words; overrides; paths."""

from pathlib import Path

import pytest

from jobs.cli import parser
from jobs.errors import SettingsError
from jobs.settings import load

GOOD = '[sources.shop]\npath = "feeds/{date}.csv"\ncolumns = { id = "sku", title = "name" }\n'


def read(folder: Path, text: str, **environment: str):  # type: ignore[no-untyped-def]  # the model is not this module's business
    file = folder / "shelfmates.toml"
    file.write_text(text, encoding="utf-8")
    return load(file, environment=environment)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD + "[neighbours]\nkk = 5\n", "unknown key 'neighbours.kk'; did you mean 'k'?"),
        (GOOD + "[neighbors]\nk = 5\n", "unknown key 'neighbors'; did you mean 'neighbours'?"),
        (GOOD + "[neighbours.weights]\nsemantics = 1\n", "unknown key 'neighbours.weights.semantics'; did you mean 'semantic'?"),
        (GOOD.replace("path", "pth"), "unknown key 'sources.shop.pth'; did you mean 'path'?"),
        (GOOD.replace("title =", "titel ="), "unknown key 'sources.shop.columns.titel'; did you mean 'title'?"),
        (GOOD.replace("title =", "titel ="), "'sources.shop.columns.title' is missing"),
        (GOOD + "[neighbours]\nk = 0\n", "'neighbours.k': Input should be greater than or equal to 1, found 0"),
        (GOOD + '[neighbours]\nacross = "brand"\n', "'neighbours.across': Input should be 'source', found 'brand'"),
        (GOOD.replace("sources.shop", 'sources."a:b"'), "a source name is part of every item_id"),
        (GOOD + '[neighbours]\nblock_by = ["brand"]\n', "'neighbours.block_by' asks for 'brand': set sources.shop.columns.brand"),
        (GOOD + '[neighbours]\nblock_by = "source"\n', "'neighbours.block_by': expected a list, [\"…\"], found 'source'"),
        (
            GOOD + '[sources.b]\npath = "b"\ncolumns = { id = "i", title = "t", brand = "b" }\n'
            '[neighbours]\nacross = "source"\nblock_by = ["brand"]\n',
            "'neighbours.block_by' asks for 'brand': set sources.shop.columns.brand",
        ),
        (GOOD + '[neighbours]\nacross = "source"\n', "'neighbours.across' asks for neighbours from other sources, and there is only one"),
        (
            GOOD + "[maintenance]\nvacuum_days = 3\n",
            "'maintenance.vacuum_days': readers go on with the files of the version",
        ),
        (GOOD + "[maintenance]\nruns = 'never'\n", "'maintenance.runs': Input should be a valid integer"),
        (
            GOOD + "[maintenance]\nraw_items = 7\n",
            "'maintenance.raw_items' keeps 7 days, and 'audit.unchanged_days_max' compares",
        ),
        ("[lake]\nroot = 'x'\n", "'sources' is missing"),
        ("[sources.shop\n", "is not TOML"),
    ],
)
def test_a_fault_names_the_file_the_key_and_the_nearest_right_name(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read(tmp_path, text)
    assert said in str(refused.value)
    assert str(tmp_path / "shelfmates.toml") in str(refused.value)


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as refused:
        read(tmp_path, GOOD + "[neighbours]\nkk = 5\nk = 0\n")
    assert len(refused.value.found.splitlines()) == 2


def test_an_absent_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no settings file at .*\n  → write one, or name another with --settings"):
        load(tmp_path / "absent.toml", environment={})


def test_the_environment_overrides_and_is_named_when_wrong(tmp_path: Path) -> None:
    settings = read(tmp_path, GOOD, SHELFMATES__NEIGHBOURS__K="20", SHELFMATES__LAKE__ROOT="elsewhere")
    assert (settings.neighbours.k, settings.lake.root) == (20, str(tmp_path / "elsewhere"))
    with pytest.raises(SettingsError, match=r"SHELFMATES__NEIGHBOURS__K: 'neighbours\.k'"):
        read(tmp_path, GOOD, SHELFMATES__NEIGHBOURS__K="many")
    with pytest.raises(SettingsError, match=r"SHELFMATES__EMBED__FIELDS: 'embed\.fields\.1'"):
        read(tmp_path, GOOD, SHELFMATES__EMBED__FIELDS='["title", "colour"]')
    with pytest.raises(
        SettingsError, match=r"SHELFMATES__NEIGHBOURS__WEIGHTS: 'neighbours\.weights': expected a table, { key = … }, found"
    ):
        read(tmp_path, GOOD, SHELFMATES__NEIGHBOURS__WEIGHTS='{"lexical": 0}')
    with pytest.raises(
        SettingsError, match=r"WEIGHTS__LEXICAL, SHELFMATES__NEIGHBOURS__WEIGHTS__SEMANTIC: 'neighbours\.weights': semantic and"
    ):
        read(tmp_path, GOOD, SHELFMATES__NEIGHBOURS__WEIGHTS__SEMANTIC="0", SHELFMATES__NEIGHBOURS__WEIGHTS__LEXICAL="0")
    with pytest.raises(SettingsError, match=r"WEIGHTS__PRICE: 'neighbours\.weights\.price': Input should be a finite number, found inf"):
        read(tmp_path, GOOD, SHELFMATES__NEIGHBOURS__WEIGHTS__PRICE="inf")
    with pytest.raises(SettingsError, match=r"SHELFMATES_LAKE__ROOT is no override.*\n  → write SHELFMATES__LAKE__ROOT,"):
        read(tmp_path, GOOD, SHELFMATES_LAKE__ROOT="elsewhere")


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    settings = read(tmp_path, GOOD + '[lake]\nroot = "s3a://bucket/lake"\n')
    assert settings.sources["shop"].path == str(tmp_path / "feeds/{date}.csv")
    assert settings.lake.root == "s3a://bucket/lake"


def test_the_fingerprint_changes_with_any_setting(tmp_path: Path) -> None:
    assert read(tmp_path, GOOD).fingerprint == read(tmp_path, GOOD).fingerprint
    assert read(tmp_path, GOOD).fingerprint != read(tmp_path, GOOD, SHELFMATES__NEIGHBOURS__K="11").fingerprint


def test_the_command_line_sets_what_the_environment_would() -> None:
    given = parser().parse_args(["audit", "--date", "2026-11-20", "--set=audit.target_recall=0.97", "--set", "embed.fields=['title']"])
    assert given.set == [("SHELFMATES__AUDIT__TARGET_RECALL", "0.97"), ("SHELFMATES__EMBED__FIELDS", "['title']")]


@pytest.mark.parametrize("said", ["audit.target_recall", "=0.97"])
def test_a_setting_without_a_key_or_a_value_is_refused(said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["audit", "--date", "2026-11-20", f"--set={said}"])
    assert f"{said!r} sets nothing; expected KEY=VALUE" in capsys.readouterr().err


def test_keys_have_no_place_in_settings(tmp_path: Path) -> None:
    conf = '[spark.conf]\n"spark.hadoop.fs.s3a.secret.key" = "dark"\n"spark.hadoop.fs.s3a.aws.credentials.provider" = "a.Class"\n'
    with pytest.raises(SettingsError, match=r"'spark': spark\.hadoop\.fs\.s3a\.secret\.key: a key in settings is in command") as told:
        read(tmp_path, GOOD + conf)
    assert "dark" not in str(told.value)


@pytest.mark.parametrize(
    ("name", "refused"),
    [
        ("spark.hadoop.fs.azure.account.key.shopfiles.dfs.core.windows.net", True),  # an account whose name holds `file`
        ("spark.hadoop.fs.azure.account.key.secrets.dfs.core.windows.net", True),
        ("spark.executorEnv.SHELFMATES_USER_KEY", True),
        ("spark.authenticate.secret", True),
        ("spark.executorEnv.AZURE_STORAGE_KEY", True),
        ("spark.executorEnv.AZURE_STORAGE_CONNECTION_STRING", True),
        ("spark.executorEnv.EMBEDDER_API_KEY", True),
        ("spark.hadoop.fs.azure.sas.feeds.shop.blob.core.windows.net", True),
        ("spark.hadoop.fs.azure.sas.fixed.token.shop.dfs.core.windows.net", True),
        ("spark.io.encryption.keySizeBits", False),
        ("spark.security.credentials.hive.enabled", False),
        ("spark.kerberos.renewal.credentials", False),
        ("spark.kubernetes.authenticate.oauthTokenFile", False),
        ("spark.kubernetes.driver.secretKeyRef.PASSWORD", False),
        ("spark.kubernetes.container.image.pullSecrets", False),
        ("spark.kubernetes.kerberos.tokenSecret.itemKey", False),
        ("spark.security.credentials.renewalRatio", False),
        ("spark.ssl.rpc.privateKey", False),  # a path
        ("spark.executorEnv.TOKENIZERS_PARALLELISM", False),
        ("spark.executorEnv.GOOGLE_APPLICATION_CREDENTIALS", False),  # a path
        ("spark.hadoop.fs.s3a.aws.credentials.provider.mapping", False),
        ("spark.hadoop.fs.azure.sas.token.provider.type.shop.dfs.core.windows.net", False),
        ("spark.hadoop.fs.azure.account.keyprovider.shop.dfs.core.windows.net", False),
    ],
)
def test_which_properties_are_keys(tmp_path: Path, name: str, refused: bool) -> None:
    conf = f'[spark.conf]\n"{name}" = "dark"\n'
    if refused:
        with pytest.raises(SettingsError, match="a key in settings"):
            read(tmp_path, GOOD + conf)
    else:
        assert read(tmp_path, GOOD + conf).spark.conf[name] == "dark"
