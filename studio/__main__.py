"""`python -m studio` is the command `easel`, without a script that remembers where its Python was."""

from studio.cli import main

main()
