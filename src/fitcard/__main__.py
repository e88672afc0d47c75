"""`python -m fitcard`: the command line."""

from fitcard.cli import main

main()
