"""The dead letters of a run, as an operator sees them: by the command ``modelcast dead-letters``.

Decides which are this run's. Runs the command as a process of its own, because the publisher's room knows nothing of the
room that it lives in.
"""

import json
import os
import subprocess
import sys
from typing import Any

from modelcast.shared.cli.connection import URL_VARIABLE
from modelcast.shared.errors import HostFault

COMMAND_SECONDS = 60.0
LIMIT = "65535"
"""Other runs may have left theirs there; the command looks at the oldest first."""


def dead_letters(url: str, model: str, *, explained: bool = False) -> list[dict[str, Any]]:
    """Return a model's dead letters, oldest first.

    Args:
        url: Address of the road.
        model: Name of the model.
        explained: Whether they come from ``explain`` instead of ``list``.

    Raises:
        HostFault: The command failed; the message is what it said.
    """
    command = ["dead-letters", "explain" if explained else "list", "--json", "--limit", LIMIT]
    answer = subprocess.run(
        [sys.executable, "-m", "modelcast.shared.cli", *command], env={**os.environ, URL_VARIABLE: url}, check=False,
        capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=COMMAND_SECONDS,
    )  # fmt: skip
    if answer.returncode:
        raise HostFault(f"modelcast {' '.join(command)} ended with {answer.returncode}: {answer.stderr.strip()}")
    letters: list[dict[str, Any]] = json.loads(answer.stdout)["dead_letters"]
    return [letter for letter in letters if letter.get("model") == model]
