"""A disk that is full and a process that is out of descriptors, for real: the old model serves, the fault is named, and what waits goes on by itself."""

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from tests.end_to_end.harness import Harness, eventually

needs_root = pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="a file system of its own is mounted: Linux, root")


@pytest.fixture
def disk(run: Harness) -> Iterator[Callable[[str], None]]:
    """A file system of 6 MiB under the store of the instance ``one``; calling it mounts it anew with other options."""
    store = run.folder / "store-one"
    store.mkdir(mode=0o700)

    def mount(options: str, *, again: bool = True) -> None:
        words = ["mount", "-t", "tmpfs", "-o", f"{'remount,' if again else ''}{options}", "modelcast-test", str(store)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode and not again:
            pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
        assert done.returncode == 0, done.stderr

    mount("size=6m,mode=0700", again=False)
    yield mount
    for serving in run.running.values():
        serving.end()
    subprocess.run(["umount", str(store)], check=True)


@needs_root
def test_a_full_disk_costs_nothing_but_time_and_is_named(broker_url: str, run: Harness, disk: Callable[[str], None]) -> None:
    instance = run.joined("one", broker_url)
    run.publish(broker_url)
    instance.serves("1.1.0")
    run.publish(broker_url, kibibytes=8 * 1024)
    status = instance.wait_for(lambda status: status["fault"], "a fault")
    assert "No space left on device" in status["fault"]
    assert (status["version"], status["rejected"]) == ("1.1.0", 0)
    disk("size=64m")
    instance.serves("1.2.0")
    run.finish(broker_url)


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="another process's limits are changed: Linux")
def test_a_process_without_descriptors_keeps_its_model_and_goes_on_when_there_are_some(broker_url: str, run: Harness) -> None:
    instance = run.joined("one", broker_url)
    run.publish(broker_url)
    instance.serves("1.1.0")
    instance.wait_for(lambda status: status["state"] == "idle" and status["unsent_reports"] == 0, "rest")
    eventually(lambda: instance.look() and any(event["kind"] == "resources" for event in instance.events), "a look at what it has")
    soft, hard = resource.prlimit(instance.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(instance.pid, resource.RLIMIT_NOFILE, (3, hard))   # what is open stays open
    run.publish(broker_url)
    status = instance.wait_for(lambda status: status["fault"], "a fault")
    assert "Too many open files" in status["fault"]
    assert status["version"] == "1.1.0"
    resource.prlimit(instance.pid, resource.RLIMIT_NOFILE, (soft, hard))
    instance.serves("1.2.0")
    run.finish(broker_url)
