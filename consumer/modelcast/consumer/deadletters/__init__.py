"""What instances refused: dead letters joined with the reports that say why. Looks only; nothing is taken or unpickled."""
