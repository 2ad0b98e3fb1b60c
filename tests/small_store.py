"""As much of an S3 server as a Delta table takes, on 127.0.0.1, which fails as stores do. Whoever asks is let in."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qsl, unquote, urlsplit

LISTING = (
    '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><IsTruncated>false</IsTruncated>'
    "<KeyCount>{}</KeyCount>{}</ListBucketResult>"
)
LISTED = "<Contents><Key>{}</Key><LastModified>2026-11-20T03:00:00.000Z</LastModified><ETag>&quot;0&quot;</ETag><Size>{}</Size></Contents>"
FOLDER = "<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>"
ERROR = '<?xml version="1.0"?><Error><Code>{}</Code><Message>as the test wants it</Message></Error>'
CODES = {
    403: "AccessDenied",
    404: "NoSuchKey",
    409: "ConditionalRequestConflict",
    412: "PreconditionFailed",
    500: "InternalError",
    501: "NotImplemented",
    503: "SlowDown",
}
LOST = 0  # an answer that never comes


class Store(ThreadingHTTPServer):
    """`objects` by path. `heeds`: a put on the condition that there is nothing is refused where there is something; None: every such put is
    refused, as it is unheard of. `answers`: of the next
    puts, in their order, a status instead of doing it, LOST for doing it and saying nothing, or bytes: those of another driver, which came
    first."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.objects: dict[str, bytes] = {}
        self.heeds: bool | None = True
        self.answers: list[int | bytes] = []
        self.puts = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Store

    def log_message(self, *_: object) -> None:
        """Says nothing."""

    @property
    def key(self) -> str:
        return unquote(urlsplit(self.path).path)

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if "aws-chunked" in self.headers.get("Content-Encoding", "") or "STREAMING" in self.headers.get("x-amz-content-sha256", ""):
            body = unchunked(body)
        store, self.server.puts = self.server, self.server.puts + 1
        answer = store.answers.pop(0) if store.answers else 200
        if isinstance(answer, bytes):
            store.objects[self.key] = answer
        elif answer not in (200, LOST):
            return self.fail(answer)
        if self.headers.get("If-None-Match") == "*" and (store.heeds is None or (store.heeds and self.key in store.objects)):
            return self.fail(501 if store.heeds is None else 412)
        store.objects[self.key] = body
        if answer == LOST:
            self.close_connection = True
            return None
        return self.answer(200, b"", {"ETag": '"0"'})

    def do_GET(self) -> None:  # of a HEAD too
        if "list-type" in self.path:
            return self.answer(200, self.listing().encode())
        if self.key not in self.server.objects:
            return self.fail(404)
        body = self.server.objects[self.key]
        first, last = 0, len(body) - 1
        if asked := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            first, last = int(asked[1]), min(last, int(asked[2] or last))
        told = {"ETag": '"0"', "Last-Modified": "Fri, 20 Nov 2026 03:00:00 GMT", "Content-Range": f"bytes {first}-{last}/{len(body)}"}
        return self.answer(206 if asked else 200, body[first : last + 1], told)

    def listing(self) -> str:
        """Of the bucket's objects below a prefix, those of folders of it as the folder's name where a delimiter is asked for."""
        asked = dict(parse_qsl(urlsplit(self.path).query))
        prefix, delimiter, after = (asked.get(name, "") for name in ("prefix", "delimiter", "start-after"))
        bucket, told = f"{self.key.rstrip('/')}/", dict[str, str]()
        for path, body in sorted(self.server.objects.items()):
            key = path.removeprefix(bucket)
            if path.startswith(bucket + prefix) and key > after:
                folder, found, _ = key.removeprefix(prefix).partition(delimiter) if delimiter else ("", "", "")
                name = prefix + folder + found if found else key
                told[name] = FOLDER.format(name) if found else LISTED.format(name, len(body))
        return LISTING.format(len(told), "".join(told.values()))

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_DELETE(self) -> None:
        self.server.objects.pop(self.key, None)
        self.answer(204, b"")

    def do_POST(self) -> None:  # of several objects to delete
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(200, b'<?xml version="1.0"?><DeleteResult/>')

    def fail(self, status: int) -> None:
        self.answer(status, ERROR.format(CODES[status]).encode())

    def answer(self, status: int, body: bytes, told: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (told or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def unchunked(body: bytes) -> bytes:
    """What Amazon's clients send in signed pieces: each after a line with its size in hexadecimal, the last one empty."""
    found = b""
    while body:
        head, _, body = body.partition(b"\r\n")
        size = int(head.partition(b";")[0], 16)
        if not size:
            break
        found, body = found + body[:size], body[size + 2 :]
    return found


@contextmanager
def serving() -> Iterator[Store]:
    with Store() as store:
        Thread(target=store.serve_forever, daemon=True).start()
        yield store
        store.shutdown()


@contextmanager
def serving_apart(folder: Path) -> Iterator[str]:
    """The address of one that has the folder's files in its bucket `bucket`, in a process of its own: delta-rs lets no other thread of
    its process work while it waits."""
    command = [sys.executable, "-m", "tests.small_store", str(folder)]
    with subprocess.Popen(command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def main() -> None:
    folder = Path(sys.argv[1])
    with Store() as store:
        store.objects |= {f"/bucket/{file.relative_to(folder)}": file.read_bytes() for file in folder.rglob("*") if file.is_file()}
        print(store.url, flush=True)
        store.serve_forever()


if __name__ == "__main__":
    main()
