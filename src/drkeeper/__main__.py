"""Start the command line: ``drkeeper`` and ``python -m drkeeper``."""

from drkeeper.app.cli import main

if __name__ == "__main__":
    main()
