"""Processes are found by their arguments and ended for good."""

import os
import subprocess
import sys
import uuid

import pytest

from modelcast.shared.localbroker import processes

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"


@pytest.fixture
def mark():
    return f"mark-{uuid.uuid4().hex}"


def test_a_launched_process_is_no_child_and_is_found_by_its_arguments(tmp_path, mark):
    def find():
        return processes.with_arguments("sleep", "-modelcast_test", mark)

    command = ["/bin/sh", "-c", "echo hello; sleep 600; :", "-modelcast_test", mark]
    processes.launch(command, variables={"PATH": os.defpath}, log=tmp_path / "log")
    (pid,) = find()
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    assert processes.with_arguments("sleep", "-modelcast_test", mark + "x") == []
    assert processes.with_arguments("other-program", "-modelcast_test", mark) == []
    processes.end(find, grace_seconds=0)
    assert find() == []


def test_a_process_that_does_not_want_to_end_is_killed(mark):
    with subprocess.Popen([sys.executable, "-c", STUBBORN, "-modelcast_test", mark], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"up\n"
        processes.end(lambda: processes.with_arguments("python", "-modelcast_test", mark), grace_seconds=0.1)
        assert process.wait(timeout=5) == -9


def test_ending_what_is_not_there_returns_at_once():
    processes.end(list, grace_seconds=60)
