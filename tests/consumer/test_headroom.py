"""What loading takes, what the limits leave, and the refusal in between."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from modelcast.consumer.headroom import FACTORS, Headroom, expected_need, read_headroom, refuse_what_cannot_fit
from modelcast.shared.errors import SenderFault
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


def host(root: Path, **files: str) -> Path:
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


def test_what_cannot_fit_is_refused_with_both_numbers_and_the_limit() -> None:
    big = artifact("safetensors", weights_bin=2 * GIB)
    with pytest.raises(SenderFault, match=r"2,048 MiB of memory; this host's memory leaves 1,024 MiB") as raised:
        refuse_what_cannot_fit(big, [Headroom(4 * GIB, "a wide limit"), Headroom(GIB, "this host's memory")])
    assert raised.value.reason is Reason.TOO_LARGE_FOR_MEMORY
    assert raised.value.facts == {
        "needed_bytes": 2 * GIB, "available_bytes": GIB, "limit": "this host's memory", "loader": "safetensors",
        "artifact_bytes": 2 * GIB,
    }


def test_what_fits_is_not_refused_and_neither_is_anything_where_no_limit_is_known() -> None:
    refuse_what_cannot_fit(artifact("safetensors", weights_bin=GIB), [Headroom(GIB, "exactly enough")])
    refuse_what_cannot_fit(artifact("safetensors", weights_bin=GIB), [])


def test_mapped_buffers_need_address_space_only() -> None:
    mapped = artifact("cloudpickle", model_buffers=GIB, model_layout=1, model_pickle=1)
    refuse_what_cannot_fit(mapped, [Headroom(GIB // 2, "this host's memory")])
    with pytest.raises(SenderFault, match="address space"):
        refuse_what_cannot_fit(mapped, [Headroom(GIB // 2, "the address space", counts_mappings=True)])


@LINUX
def test_the_limits_of_all_groups_above_count_and_cached_files_do_not(tmp_path: Path) -> None:
    root = host(
        tmp_path, proc__self__cgroup="0::/pod/app\n",
        sys__fs__cgroup__pod__app__memorydotmax="max\n", sys__fs__cgroup__pod__app__memorydotcurrent="100\n",
        sys__fs__cgroup__pod__memorydotmax="1000\n", sys__fs__cgroup__pod__memorydotcurrent="900\n",
        sys__fs__cgroup__pod__memorydotstat="anon 300\ninactive_file 400\nactive_file 200\n",
    )
    assert read_headroom(root) == [Headroom(700, "the memory limit of the control group pod")]


@LINUX
def test_the_limits_of_the_first_version_of_control_groups_count(tmp_path: Path) -> None:
    root = host(
        tmp_path, proc__self__cgroup="5:cpu,cpuacct:/x\n4:memory:/docker/abc\n0::/\n",
        sys__fs__cgroup__memory__memorydotlimit_in_bytes="2000\n", sys__fs__cgroup__memory__memorydotusage_in_bytes="1500\n",
        sys__fs__cgroup__memory__memorydotstat="total_inactive_file 100\ntotal_active_file 50\n",
    )
    assert read_headroom(root) == [Headroom(650, "the memory limit of the control group memory")]


@LINUX
def test_a_group_outside_of_the_namespace_is_looked_for_at_the_top(tmp_path: Path) -> None:
    root = host(
        tmp_path, proc__self__cgroup="0::/../../other\n", sys__fs__cgroup__memorydotmax="1000\n", sys__fs__cgroup__memorydotcurrent="1\n",
    )
    assert read_headroom(root) == [Headroom(999, "the memory limit of the control group cgroup")]


@LINUX
def test_the_memory_of_the_host_is_what_is_available_and_its_free_swap(tmp_path: Path) -> None:
    root = host(tmp_path, proc__meminfo="MemTotal: 100 kB\nMemAvailable: 10 kB\nSwapFree: 5 kB\nHugePages_Total: 0\n")
    assert read_headroom(root) == [Headroom(15 * 1024, "this host's memory")]


@LINUX
def test_what_cannot_be_read_or_understood_is_left_out(tmp_path: Path) -> None:
    assert read_headroom(tmp_path) == []
    root = host(
        tmp_path, proc__self__cgroup="garbage\n0::/\n", sys__fs__cgroup__memorydotmax="many\n", proc__meminfo="MemAvailable:\n",
        proc__self__limits="Max address space unlimited unlimited bytes\n", proc__self__status="VmSize: 1 kB\n",
    )
    assert read_headroom(root) == []


@LINUX
def test_this_host_has_memory_left() -> None:
    assert all(left.available_bytes > 0 for left in read_headroom())
    assert "this host's memory" in {left.limit for left in read_headroom()}


@LINUX
def test_a_limited_address_space_counts() -> None:
    program = "from modelcast.consumer.headroom import read_headroom; print(max(h.available_bytes for h in read_headroom() if h.counts_mappings))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (4 * GIB, 4 * GIB)),
    )
    assert GIB < int(done.stdout) < 4 * GIB
