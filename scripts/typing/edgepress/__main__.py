"""`python -m edgepress`: the command where its script isn't on the path."""

from edgepress.deploy.cli.main import main

main()
