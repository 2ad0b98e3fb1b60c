"""A driver that outlives its submitter ends by itself."""

import os
import subprocess
import sys

import pytest

from jobs.submitter import GONE, SUBMITTER

DRIVER = "import time; from jobs.submitter import leave_with_submitter; leave_with_submitter(); print('up', flush=True); time.sleep(60)"
SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.mark.parametrize("reaped", [True, False])
def test_a_driver_ends_with_its_submitter(reaped: bool) -> None:
    with subprocess.Popen(SLEEPER) as submitter:
        environment = os.environ | {SUBMITTER: str(submitter.pid)}
        driver = subprocess.Popen(
            [sys.executable, "-c", DRIVER], env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert driver.stdout is not None
        assert driver.stdout.readline() == "up\n"
        assert driver.poll() is None
        submitter.kill()
        if reaped:
            submitter.wait()
        _, said = driver.communicate(timeout=20)
    assert driver.returncode == GONE
    assert said == "shelfmates: the process that submitted this one is gone, so this one ends too\n"


def test_nobody_is_watched_where_nobody_submitted() -> None:
    environment = {name: value for name, value in os.environ.items() if name != SUBMITTER}
    done = subprocess.run([sys.executable, "-c", DRIVER.replace("sleep(60)", "sleep(2)")], env=environment, check=True, capture_output=True)
    assert done.stderr == b""
