"""``python -m modelcast.shared.cli`` is the command ``modelcast``."""

from modelcast.shared.cli.main import main

main()
