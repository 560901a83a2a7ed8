"""Play the mutants: break a copy of the code at one place, run the tests that should notice, and say which did not.

    python -m tests.mutants [NAME...]

Ends with 0 when every mutant was killed, with 1 when one lives.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.mutants.mutants import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("shared", "consumer", "publisher")
SEEDS = "300"
SECONDS = 600.0


def broken_copy(mutant: Mutant, folder: Path) -> Path:
    """Return a copy of the repository with the defect in it."""
    copy = folder / "copy"
    for name in (*ROOMS, "tests"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "results"))
    for name in ("pyproject.toml", "README.md", "Makefile"):
        shutil.copy(ROOT / name, copy / name)
    path = copy / mutant.path
    text = path.read_text(encoding="utf-8")
    if text.count(mutant.before) != 1:
        raise SystemExit(f"{mutant.name}: {mutant.path} does not hold exactly once:\n{mutant.before}")
    path.write_text(text.replace(mutant.before, mutant.after), encoding="utf-8")
    return copy


def survives(mutant: Mutant) -> str | None:
    """Run the tests on the copy; returns the end of what they said when none failed."""
    with tempfile.TemporaryDirectory(prefix="modelcast-mutant-") as folder:
        copy = broken_copy(mutant, Path(folder))
        rooms = os.pathsep.join(str(copy / name) for name in ROOMS)
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *mutant.tests], cwd=copy, capture_output=True,
            text=True, timeout=SECONDS, check=False, env={**os.environ, "PYTHONPATH": rooms, "MODELCAST_SEEDS": SEEDS},
        )  # fmt: skip
    if done.returncode == 1:
        return None
    return f"pytest ended with {done.returncode}:\n{done.stdout[-1500:]}{done.stderr[-500:]}"


def check_whole(mutants: list[Mutant]) -> None:
    """Run every test that will be asked on a copy that is whole: one that fails there would kill every mutant."""
    tests = tuple(sorted({test for mutant in mutants for test in mutant.tests}))
    whole = Mutant("nothing is wrong", MUTANTS[0].path, MUTANTS[0].before, MUTANTS[0].before, tests)
    if survives(whole) is None:
        raise SystemExit("The tests fail without any mutant. Hint: make test")


def main(wanted: list[str]) -> int:
    """Play all mutants, or those whose names hold one of the words."""
    alive = 0
    chosen = [mutant for mutant in MUTANTS if not wanted or any(word in mutant.name for word in wanted)]
    check_whole(chosen)
    for mutant in chosen:
        began = time.monotonic()
        said = survives(mutant)
        alive += said is not None
        print(f"{'LIVES ' if said else 'killed'} {time.monotonic() - began:5.1f} s  {mutant.name}", flush=True)
        if said:
            print(said)
    return 1 if alive else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
