"""The scripts of docker/: that a shell can read them, and what they do."""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from cryptography.fernet import Fernet

DOCKER = Path(__file__).parents[2] / "docker"
SCRIPTS = sorted(DOCKER.glob("*.sh"))


def run(*command: str, environment: dict[str, str] | None = None, folder: Path = DOCKER.parent) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)


def program(name: str) -> str:
    """Of this environment. Skips where it is not installed."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def stub(folder: Path, name: str, says: str) -> None:
    file = folder / name
    file.write_text(f"#!/bin/bash\n{says}\n", encoding="utf-8")
    file.chmod(0o755)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_shell_can_read_it_and_run_it(script: Path) -> None:
    assert run("bash", "-n", str(script)).stderr == ""
    assert script.stat().st_mode & stat.S_IXUSR
    text = script.read_text(encoding="utf-8")
    assert text.startswith("#!/bin/bash\n# ")
    assert "\nset -euo pipefail\n" in text


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_shellcheck_finds_nothing(script: Path) -> None:
    assert run(program("shellcheck"), str(script)).stdout == ""


@pytest.mark.parametrize("file", sorted(DOCKER.glob("*.Dockerfile")), ids=lambda file: file.name)
def test_hadolint_finds_nothing(file: Path) -> None:
    found = run(program("hadolint"), str(file))
    assert found.stdout + found.stderr == ""


def test_an_executor_is_started_as_spark_has_told_it(tmp_path: Path) -> None:
    """Options in the order of their numbers, blanks and signs of equality in them as they are."""
    stub(tmp_path, "python", "echo /spark")
    stub(tmp_path, "java", "printf '%s\\n' \"$@\"")
    told = {
        "SPARK_DRIVER_URL": "spark://driver",
        "SPARK_EXECUTOR_ID": "7",
        "SPARK_EXECUTOR_CORES": "4",
        "SPARK_EXECUTOR_MEMORY": "6144m",
        "SPARK_APPLICATION_ID": "spark-1",
        "SPARK_EXECUTOR_POD_IP": "10.0.0.9",
        "SPARK_EXECUTOR_POD_NAME": "night-exec-7",
        "SPARK_RESOURCE_PROFILE_ID": "0",
        "SPARK_JAVA_OPT_10": "-Dlast=",
        "SPARK_JAVA_OPT_2": "-Dspark.app.name=a night",
        "SPARK_JAVA_OPT_0": "-Dfirst=a=b",
        "SPARK_CLASSPATH": "/more.jar",
    }
    nowhere = {"BASH_FUNC_cd%%": "() { echo work in $1; }"}  # the image's folder is not here
    done = run("bash", str(DOCKER / "entrypoint.sh"), "executor", environment={"PATH": f"{tmp_path}:{os.environ['PATH']}"} | told | nowhere)
    work, *words = done.stdout.splitlines()
    assert work == "work in /opt/shelfmates/work"
    assert words[:3] == ["-Dfirst=a=b", "-Dspark.app.name=a night", "-Dlast="]
    assert words[3:8] == ["-Xms6144m", "-Xmx6144m", "-cp", "/opt/spark/conf:/more.jar:/spark/jars/*", words[7]]
    assert dict(zip(words[8::2], words[9::2], strict=True)) == {
        "--driver-url": "spark://driver",
        "--executor-id": "7",
        "--cores": "4",
        "--app-id": "spark-1",
        "--hostname": "10.0.0.9",
        "--resourceProfileId": "0",
        "--podName": "night-exec-7",
    }


def test_what_is_no_part_of_spark_is_run_as_it_is(tmp_path: Path) -> None:
    stub(tmp_path, "python", "echo /spark")
    done = run("bash", str(DOCKER / "entrypoint.sh"), "echo", "a  b", environment={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert done.stdout == "a  b\n"


def test_gpus_are_told_as_spark_reads_them(tmp_path: Path) -> None:
    stub(tmp_path, "nvidia-smi", "printf '0\\n1\\n'")
    done = run("bash", str(DOCKER / "gpus.sh"), environment={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert json.loads(done.stdout) == {"name": "gpu", "addresses": ["0", "1"]}


def test_no_driver_of_gpus_is_an_error(tmp_path: Path) -> None:
    stub(tmp_path, "nvidia-smi", "exit 9")
    assert run("bash", str(DOCKER / "gpus.sh"), environment={"PATH": f"{tmp_path}:{os.environ['PATH']}"}).returncode


def test_packages_are_those_of_the_variant(tmp_path: Path) -> None:
    stub(tmp_path, "uv", 'printf "%s\\n" "$@"')
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    whole = run(str(DOCKER / "packages.sh"), "cuda", "--extra", "s3", environment=environment).stdout.splitlines()
    assert whole == ["sync", "--frozen", "--compile-bytecode", "--extra", "s3"]
    less = run(str(DOCKER / "packages.sh"), "cpu", environment=environment).stdout.splitlines()
    assert "--no-install-package=triton" in less
    wrong = run(str(DOCKER / "packages.sh"), "tpu", environment=environment)
    assert (wrong.returncode, wrong.stdout) == (2, "")


def test_keys_are_made_up_once(tmp_path: Path) -> None:
    for name in ("keys.py", ".env.example"):
        shutil.copy(DOCKER / name, tmp_path)
    assert run(sys.executable, str(tmp_path / "keys.py")).returncode == 0
    made = tmp_path / ".env"
    text = made.read_text(encoding="utf-8")
    keys = dict(re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE))
    assert set(keys) == set(re.findall(r"^(\w+)=$", (DOCKER / ".env.example").read_text(encoding="utf-8"), re.MULTILINE))
    assert len(set(keys.values())) == len(keys)
    assert min(map(len, keys.values())) >= 43  # 32 bytes
    Fernet(keys["AIRFLOW_FERNET_KEY"].encode())
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    assert run(sys.executable, str(tmp_path / "keys.py")).returncode == 1
    assert made.read_text(encoding="utf-8") == text


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"scheduler": {"status": "healthy"}, "triggerer": {"status": "unhealthy"}}).encode())

    def log_message(self, *told: object) -> None:
        """Says nothing."""


def test_health_is_that_of_the_part_that_is_asked_for() -> None:
    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        healthy = [
            run(sys.executable, str(DOCKER / "healthy.py"), url, *parts) for parts in ([], ["scheduler"], ["triggerer"], ["postgres"])
        ]
        server.shutdown()
    assert [done.returncode for done in healthy] == [0, 0, 1, 1]
    assert healthy[2].stderr == "triggerer is unhealthy\n"
