"""`python -m roofcast.harness`: the command, where the script is not on the path."""

from .cli.command import main

main()
