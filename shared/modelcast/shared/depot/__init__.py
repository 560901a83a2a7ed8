"""The shared directory of the file road: what lies where in it, and how each part is written and read."""
