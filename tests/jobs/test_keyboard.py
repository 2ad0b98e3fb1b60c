"""Ctrl-C in processes of their own: what is done first, and how they end."""

import signal
import subprocess
import sys

import pytest

from jobs.keyboard import STOPPED

PROGRAM = """
import signal, sys, time
from jobs import keyboard

def first():
    print("first", flush=True)
    {first}
    print("done", flush=True)

keyboard.PATIENCE = {patience}
signal.signal(signal.SIGINT, signal.{inherited})
with keyboard.heeded(first, "mend it"):
    with keyboard.kept():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    print("up", flush=True)
    time.sleep({awake})
print("end", flush=True)
"""


def begun(
    first: str = "pass", patience: float = 60.0, inherited: str = "default_int_handler", awake: float = 60.0
) -> "subprocess.Popen[str]":
    """The program, once Ctrl-C would be heeded."""
    program = PROGRAM.format(first=first, patience=patience, inherited=inherited, awake=awake)
    process = subprocess.Popen([sys.executable, "-c", program], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


@pytest.mark.parametrize(
    ("first", "patience", "done"),
    [("pass", 60.0, ["first", "done"]), ("time.sleep(60)", 0.1, ["first"]), ("raise OSError", 60.0, ["first"])],
    ids=["done", "that takes too long", "that fails"],
)
def test_the_process_ends_after_what_is_to_be_done_first(first: str, patience: float, done: list[str]) -> None:
    with begun(first, patience) as process:
        process.send_signal(signal.SIGINT)
        out, said = process.communicate(timeout=30)
    assert (out.splitlines(), process.returncode) == (done, STOPPED)
    assert said.endswith("\nshelfmates: stopped from the keyboard\n  → mend it\n")


def test_a_second_one_ends_it_at_once() -> None:
    with begun("time.sleep(60)") as process:
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        assert process.stdout.readline() == "first\n"
        process.send_signal(signal.SIGINT)
        out, said = process.communicate(timeout=30)
    assert (out, said, process.returncode) == ("", "", STOPPED)


def test_what_was_begun_to_pass_over_it_does_so() -> None:
    with begun(inherited="SIG_IGN", awake=0.5) as process:
        process.send_signal(signal.SIGINT)
        out, said = process.communicate(timeout=30)
    assert (out, said, process.returncode) == ("end\n", "", 0)
