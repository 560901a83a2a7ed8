"""The front door: the ``modelcast`` command, what it prints and how it ends. Imported by no library code."""
