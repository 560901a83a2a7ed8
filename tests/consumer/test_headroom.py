"""What loading takes, what the limits leave, and the refusal in between."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from modelcast.consumer.headroom import FACTORS, Headroom, MemoryCheck, expected_need, read_headroom
from modelcast.consumer.policy import Loading
from modelcast.shared.errors import HostFault, SenderFault
from modelcast.shared.limits import GIB, MIB
from modelcast.shared.manifest import Artifact, FileEntry
from modelcast.shared.reasons import Reason

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is read")


def artifact(loader: str, **sizes: int) -> Artifact:
    files = tuple(
        FileEntry(
            path=name.replace("_", "."), size=size, sha256=bytes(32), chunk_digests=bytes(32) * -(-size // MIB),
            chunk_sizes=tuple(min(MIB, size - at) for at in range(0, size, MIB)),
        )
        for name, size in sorted(sizes.items())
    )
    return Artifact(format=loader, loader=loader, files=files)


def laid_out(root: Path, **files: str) -> Path:
    """Lay out a root folder; two underscores are a slash in a name."""
    for name, content in files.items():
        path = root / name.replace("__", "/").replace("dot", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def test_objects_in_a_pickle_stream_take_many_times_their_bytes_and_mapped_buffers_few() -> None:
    need = expected_need(artifact("cloudpickle", model_layout=100, model_pickle=10 * MIB, model_buffers=GIB))
    assert 80 * MIB < need.private_bytes < 200 * MIB
    assert need.mapped_bytes == GIB


@pytest.mark.parametrize("loader", ["joblib", "safetensors", "skops", "onnx"])
def test_other_formats_take_at_least_their_size(loader: str) -> None:
    need = expected_need(artifact(loader, weights_bin=64 * MIB))
    assert need.private_bytes >= 64 * MIB
    assert need.mapped_bytes == 0


def test_nothing_is_expected_of_a_loader_that_nobody_knows() -> None:
    assert "files" not in FACTORS
    assert expected_need(artifact("files", weights_bin=GIB)).private_bytes == 0


class Host:
    """A host whose memory and clock the test sets."""

    def __init__(self, *limits: Headroom, **loading: object) -> None:
        self.limits, self.now = list(limits), 0.0
        self.check = MemoryCheck(Loading(**loading), lambda: self.limits, lambda: self.now)   # type: ignore[arg-type]

    def refusal(self, of: Artifact, order: str = "an order") -> SenderFault | HostFault | None:
        try:
            self.check.before_load(order, of)
        except (SenderFault, HostFault) as fault:
            return fault
        return None


BIG = artifact("safetensors", weights_bin=2 * GIB)
WIDE = Headroom(4 * GIB, 8 * GIB, "a wide limit")


def test_what_is_larger_than_a_limit_is_refused_before_a_byte_is_fetched_with_both_numbers() -> None:
    host = Host(WIDE, Headroom(GIB // 2, GIB, "this host's memory"))
    with pytest.raises(SenderFault, match=r"2,048 MiB of memory; this host's memory is 1,024 MiB in all") as raised:
        host.check.before_bytes(BIG)
    assert raised.value.reason is Reason.TOO_LARGE_FOR_MEMORY
    assert raised.value.facts == {
        "needed_bytes": 2 * GIB, "available_bytes": GIB // 2, "total_bytes": GIB, "limit": "this host's memory", "loader": "safetensors",
        "artifact_bytes": 2 * GIB,
    }
    assert isinstance(host.refusal(BIG), SenderFault)   # however little the time


def test_what_does_not_fit_now_is_the_hosts_fault_until_that_has_lasted_too_long() -> None:
    host = Host(WIDE, Headroom(GIB, 8 * GIB, "this host's memory"), shortage_seconds=60)
    host.check.before_bytes(BIG)   # there may be room when it is here
    first = host.refusal(BIG)
    assert isinstance(first, HostFault)
    assert str(first).endswith("2,048 MiB of memory; this host's memory leaves 1,024 MiB now.")
    assert "60 s" in (first.hint or "")
    host.now = 59.0
    assert isinstance(host.refusal(BIG), HostFault)
    host.now = 60.0
    last = host.refusal(BIG)
    assert isinstance(last, SenderFault)
    assert last.reason is Reason.TOO_LARGE_FOR_MEMORY
    assert str(last).endswith("this host's memory leaves 1,024 MiB, and no more for 60 s.")
    assert (last.facts["needed_bytes"], last.facts["available_bytes"], last.facts["waited_seconds"]) == (2 * GIB, GIB, 60.0)


def test_a_shortage_that_passed_and_one_of_another_order_begin_anew() -> None:
    short = Headroom(GIB, 8 * GIB, "this host's memory")
    host = Host(short, shortage_seconds=60)
    assert isinstance(host.refusal(BIG), HostFault)
    host.limits = [WIDE]
    assert host.refusal(BIG) is None
    host.limits, host.now = [short], 100.0
    assert isinstance(host.refusal(BIG), HostFault)
    host.now = 159.0
    assert isinstance(host.refusal(BIG, "another order"), HostFault)
    host.now = 160.0
    assert isinstance(host.refusal(BIG, "another order"), HostFault)


def test_after_it_was_refused_for_a_shortage_the_same_order_is_waited_for_again() -> None:
    host = Host(Headroom(GIB, 8 * GIB, "this host's memory"), shortage_seconds=60)
    assert isinstance(host.refusal(BIG), HostFault)
    host.now = 60.0
    assert isinstance(host.refusal(BIG), SenderFault)
    host.now = 61.0   # an operator sent it back
    assert isinstance(host.refusal(BIG), HostFault)


def test_a_shortage_may_be_given_no_time() -> None:
    assert isinstance(Host(Headroom(GIB, 8 * GIB, "this host's memory"), shortage_seconds=0).refusal(BIG), SenderFault)


def test_what_fits_is_not_refused_and_neither_is_anything_where_no_limit_is_known_or_nobody_wants_to_know() -> None:
    assert Host(Headroom(2 * GIB, 2 * GIB, "exactly enough")).refusal(BIG) is None
    assert Host().refusal(BIG) is None
    unasked = Host(Headroom(0, 1, "no memory at all"), check_memory=False)
    unasked.check.before_bytes(BIG)
    assert unasked.refusal(BIG) is None


def test_mapped_buffers_need_address_space_only() -> None:
    mapped = artifact("cloudpickle", model_buffers=GIB, model_layout=1, model_pickle=1)
    assert Host(Headroom(GIB // 2, GIB // 2, "this host's memory")).refusal(mapped) is None
    assert "address space" in str(Host(Headroom(GIB // 2, GIB // 2, "the address space", counts_mappings=True)).refusal(mapped))


@LINUX
def test_the_limits_of_all_groups_above_count_and_cached_files_do_not(tmp_path: Path) -> None:
    root = laid_out(
        tmp_path, proc__self__cgroup="0::/pod/app\n",
        sys__fs__cgroup__pod__app__memorydotmax="max\n", sys__fs__cgroup__pod__app__memorydotcurrent="100\n",
        sys__fs__cgroup__pod__memorydotmax="1000\n", sys__fs__cgroup__pod__memorydotcurrent="900\n",
        sys__fs__cgroup__pod__memorydotstat="anon 300\ninactive_file 400\nactive_file 200\n",
    )
    assert read_headroom(root) == [Headroom(700, 1000, "the memory limit of the control group pod")]


@LINUX
def test_the_limits_of_the_first_version_of_control_groups_count(tmp_path: Path) -> None:
    root = laid_out(
        tmp_path, proc__self__cgroup="5:cpu,cpuacct:/x\n4:memory:/docker/abc\n0::/\n",
        sys__fs__cgroup__memory__memorydotlimit_in_bytes="2000\n", sys__fs__cgroup__memory__memorydotusage_in_bytes="1500\n",
        sys__fs__cgroup__memory__memorydotstat="total_inactive_file 100\ntotal_active_file 50\n",
    )
    assert read_headroom(root) == [Headroom(650, 2000, "the memory limit of the control group memory")]


@LINUX
def test_a_group_outside_of_the_namespace_is_looked_for_at_the_top(tmp_path: Path) -> None:
    root = laid_out(
        tmp_path, proc__self__cgroup="0::/../../other\n", sys__fs__cgroup__memorydotmax="1000\n", sys__fs__cgroup__memorydotcurrent="1\n",
    )
    assert read_headroom(root) == [Headroom(999, 1000, "the memory limit of the control group cgroup")]


@LINUX
def test_the_memory_of_the_host_is_what_is_available_and_its_free_swap(tmp_path: Path) -> None:
    root = laid_out(tmp_path, proc__meminfo="MemTotal: 100 kB\nMemAvailable: 10 kB\nSwapTotal: 8 kB\nSwapFree: 5 kB\nHugePages_Total: 0\n")
    assert read_headroom(root) == [Headroom(15 * 1024, 108 * 1024, "this host's memory")]


@LINUX
def test_what_cannot_be_read_or_understood_is_left_out(tmp_path: Path) -> None:
    assert read_headroom(tmp_path) == []
    root = laid_out(
        tmp_path, proc__self__cgroup="garbage\n0::/\n", sys__fs__cgroup__memorydotmax="many\n", proc__meminfo="MemAvailable:\n",
        proc__self__limits="Max address space unlimited unlimited bytes\n", proc__self__status="VmSize: 1 kB\n",
    )
    assert read_headroom(root) == []


@LINUX
def test_this_host_has_memory_left() -> None:
    assert all(0 < left.available_bytes <= left.total_bytes for left in read_headroom())
    assert "this host's memory" in {left.limit for left in read_headroom()}


@LINUX
def test_a_limited_address_space_counts() -> None:
    program = "from modelcast.consumer.headroom import read_headroom; print(max(h.available_bytes for h in read_headroom() if h.counts_mappings))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (4 * GIB, 4 * GIB)),
    )
    assert GIB < int(done.stdout) < 4 * GIB
