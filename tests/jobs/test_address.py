"""Finding files under a pattern, and their bytes."""

import gzip
import hashlib
from datetime import date
from pathlib import Path

import pytest

from jobs import address
from tests.small_store import serving_apart

NIGHT = date(2026, 1, 5)


@pytest.fixture
def feeds(tmp_path: Path) -> Path:
    for name in ("2026-01-04/a.csv", "2026-01-05/b.csv", "2026-01-05/a.csv", "2026-01-05/deep/a.csv", "2026-13-45/a.csv", "old/a.csv"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    return tmp_path


@pytest.mark.parametrize("scheme", ["", "file://"])
@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("{date}/a.csv", ["2026-01-05/a.csv"]),
        ("{date}/*.csv", ["2026-01-05/a.csv", "2026-01-05/b.csv"]),  # sorted; * stays within one folder
        ("*/a.csv", ["2026-01-04/a.csv", "2026-01-05/a.csv", "2026-13-45/a.csv", "old/a.csv"]),
        ("old/a.csv", ["old/a.csv"]),
        ("old/A.csv", []),
        ("old", []),  # a folder is no file
        ("none/*.csv", []),
        ("old/[a].csv", []),  # only * is special
    ],
)
def test_found(feeds: Path, scheme: str, pattern: str, expected: list[str]) -> None:
    assert address.found(f"{scheme}{feeds}/{pattern}", NIGHT) == [f"{scheme}{feeds}/{name}" for name in expected]


def test_dates(feeds: Path) -> None:
    assert address.dates(f"{feeds}/{{date}}/*.csv") == [date(2026, 1, 4), date(2026, 1, 5)]
    assert address.dates(f"{feeds}/{{date}}/b.csv") == [date(2026, 1, 5)]
    assert address.dates(f"{feeds}/{{date}}/{{date}}.csv") == []


def test_content_is_unzipped_and_the_fingerprint_is_of_what_is_stored(tmp_path: Path) -> None:
    file = tmp_path / "a.csv.gz"
    file.write_bytes(gzip.compress(b"first,") + gzip.compress(b"second"))  # two members, as parallel writers leave them
    assert b"".join(address.content(str(file))) == b"first,second"
    assert address.fingerprint(str(file)) == (hashlib.sha256(file.read_bytes()).hexdigest(), file.stat().st_size)


def test_feeds_in_a_store_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "feeds" / "2026-11-20").mkdir(parents=True)
    (tmp_path / "feeds" / "2026-11-20" / "a@b c.csv").write_bytes(b"id,title")
    with serving_apart(tmp_path) as url:
        told = {"ENDPOINT_URL_S3": url, "ACCESS_KEY_ID": "an-id", "SECRET_ACCESS_KEY": "a-secret", "REGION": "us-east-1"}
        for name, value in told.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        pattern = "s3a://bucket/feeds/{date}/*.csv"
        assert address.dates(pattern) == [date(2026, 11, 20)]
        (file,) = address.found(pattern, date(2026, 11, 20))
        assert file == "s3a://bucket/feeds/2026-11-20/a@b c.csv"
        assert address.found(file, date(2026, 11, 20)) == [file]
        assert b"".join(address.content(file)) == b"id,title"


@pytest.mark.parametrize(
    ("secret", "shown"),
    [
        ("jdbc:postgresql://db/shop?user=u&password=p&ssl=true", "jdbc:postgresql://db/shop?user=u&password=***&ssl=true"),
        ("jdbc:sqlserver://db;Password=p;x=y", "jdbc:sqlserver://db;Password=***;x=y"),
        ("s3://key:secret@bucket/feeds/a.csv", "s3://***@bucket/feeds/a.csv"),
        ("s3://KEY:a/b@bucket/feeds/a.csv", "s3://***@bucket/feeds/a.csv"),  # secret keys may hold slashes,
        ("s3a://KEY:12/b+c=@bucket/a.csv", "s3a://***@bucket/a.csv"),  # and begin like a port
        ("jdbc:mysql://u:p/w@db:3306/shop", "jdbc:mysql://***@db:3306/shop"),
        ("jdbc:mysql://u:p@w@db/shop?user=a@b", "jdbc:mysql://***@db/shop?user=a@b"),
        ("jdbc:oracle:thin:scott/tiger@//db:1521/shop", "jdbc:oracle:thin:***@//db:1521/shop"),
        ('jdbc:oracle:oci:scott/"ti@ger"@db', "jdbc:oracle:oci:***@db"),
        ("jdbc:sqlserver://db;password={a;b}}&c};ssl=true", "jdbc:sqlserver://db;password=***;ssl=true"),
        ("jdbc:derby:erp;password=two words;create=true", "jdbc:derby:erp;password=***;create=true"),
        ("https://host/a.csv?sv=1&sig=a%2Fb%3D&se=2", "https://host/a.csv?sv=1&sig=***&se=2"),
        ("s3://bucket/a?access_key=K&secret_key=s&region=eu", "s3://bucket/a?access_key=***&secret_key=***&region=eu"),
        ("s3://b/a?X-Amz-Signature=s&X-Amz-Security-Token=t", "s3://b/a?X-Amz-Signature=***&X-Amz-Security-Token=***"),
        ("jdbc:x://db?sslpassword=p&trustStorePassword=q", "jdbc:x://db?sslpassword=***&trustStorePassword=***"),
        *[
            (plain, plain)  # nothing in it is secret
            for plain in (
                "s3://bucket/feeds/a@b.csv",
                "s3://bucket/2026:01/a@b.csv",
                "hdfs://node:8020/feeds/a@b.csv",
                "jdbc:oracle:thin:@db:1521:shop",
                "jdbc:sqlserver://db:1433;user=u@firm.example",
                "/feeds/{date}/design=a&key=b.csv",
            )
        ],
    ],
)
def test_shown_addresses_hold_no_secret(secret: str, shown: str) -> None:
    found = address.shown(secret)
    assert found == shown
    assert address.shown(found) == found
    assert address.shown(f"cannot open {found} on this machine") == f"cannot open {found} on this machine"
