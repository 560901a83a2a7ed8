"""Run the snippets of one page as a reader would: in one folder, one Python session and one terminal.

Called as ``python run_page.py PAGE``. What a console block exports is there for the blocks after it. Every line that the page
promises as output must come, in this order; others (log lines) may come between. ``…`` stands for anything.
"""

import contextlib
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.docs.pages import ROOT, Snippet, snippets

CONSOLE_SECONDS = 60
MARK = "--- exported ---"
TELL = 'import json, os; print(json.dumps({k: v for k, v in os.environ.items() if k.startswith("MODELCAST_")}))'


def run_python(snippet: Snippet, session: dict[str, object]) -> None:
    source = "\n" * snippet.line + snippet.text   # so that a traceback names the line of the page
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(source, snippet.page, "exec"), session)
    check(snippet, said.getvalue(), snippet.prints)


def run_bash(snippet: Snippet, script: str, promised: str | None) -> None:
    wrapped = f"set -eo pipefail\n{script}\necho '{MARK}'\n'{sys.executable}' -c '{TELL}'\n"
    done = subprocess.run(
        ["bash", "-c", wrapped], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=CONSOLE_SECONDS, check=False
    )
    if done.returncode:
        sys.exit(f"{snippet.page}:{snippet.line}: status {done.returncode}\n{script}\n{done.stdout}")
    said, _, exported = done.stdout.rpartition(f"{MARK}\n")
    os.environ.update(json.loads(exported))
    check(snippet, said, promised)


def run_console(snippet: Snippet) -> None:
    """Run a block of ``$ commands``, each followed by what it prints."""
    for part in re.split(r"(?m)^\$ ", snippet.text)[1:]:
        lines = part.splitlines()
        end = next(number for number, line in enumerate(lines, 1) if not line.endswith("\\"))
        run_bash(snippet, "\n".join(lines[:end]), "\n".join(lines[end:]))


def pattern_of(promised: str) -> re.Pattern[str]:
    """Runs of spaces are one space; ``…`` stands for anything."""
    return re.compile(".*".join(re.escape(part) for part in " ".join(promised.split()).split("…")))


def check(snippet: Snippet, said: str, promised: str | None) -> None:
    lines = iter(" ".join(line.split()) for line in said.splitlines())
    for wanted in filter(str.strip, (promised or "").splitlines()):
        pattern = pattern_of(wanted)
        if not any(pattern.fullmatch(line) for line in lines):
            sys.exit(f"{snippet.page}:{snippet.line}: not printed (in this order): {wanted}\nIt printed:\n{said}")


def main(page: str) -> None:
    session: dict[str, object] = {"__name__": "__main__"}
    for snippet in snippets(ROOT / page):
        if snippet.not_run is not None:
            continue
        if snippet.language == "python":
            run_python(snippet, session)
        elif snippet.language == "bash":
            run_bash(snippet, snippet.text, snippet.prints)
        else:
            run_console(snippet)


if __name__ == "__main__":
    main(sys.argv[1])
