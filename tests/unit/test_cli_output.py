"""What commands say on the way to their answer."""

import os
import pty
import subprocess
import sys

PROGRAM = """
from yunmo.cli.output import Output
output = Output(as_json=True)
with output.progress("train 7") as tell:
    tell("step 3 of 9", 0.3)
output.result({"done": True}, "done")
"""


def run(stderr):
    return subprocess.run([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=stderr, text=True, check=True, timeout=60)


def test_who_sits_at_a_terminal_sees_how_far_it_is_beside_an_answer_in_json():
    ours, theirs = pty.openpty()
    try:
        done = run(theirs)
        assert done.stdout.replace(" ", "").replace("\n", "") == '{"done":true}'
        assert "step 3 of 9" in os.read(ours, 65536).decode()
    finally:
        os.close(ours)
        os.close(theirs)


def test_machines_are_told_the_answer_alone():
    assert run(subprocess.PIPE).stderr == ""
