"""The command is quick to ask for help, and says what it lacks."""

import subprocess
import sys

from click.testing import CliRunner

from modelcast.publisher.demo.commands import demo


def test_help_shows_an_example() -> None:
    result = CliRunner().invoke(demo, ["--help"])
    assert result.exit_code == 0
    assert "modelcast demo --json 2>story.txt" in result.output
    assert "--skip [staging|rollback" in result.output


def test_a_chapter_that_the_story_needs_cannot_be_left_out() -> None:
    result = CliRunner().invoke(demo, ["--skip", "killed"])
    assert result.exit_code == 2
    assert "'killed' is not one of 'staging'" in result.output


def test_importing_it_loads_nothing_heavy() -> None:
    code = "import sys, modelcast.publisher.demo.commands; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"sklearn", "numpy", "structlog", "rich", "pika", "cryptography"} & set(loaded)


def test_without_scikit_learn_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['sklearn'] = None; from modelcast.shared.cli.main import run; sys.exit(run(['demo']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'modelcast[demo]'" in done.stderr
