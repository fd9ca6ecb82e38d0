"""Run the command line as a module: ``python -m krona``."""

from krona.cli.krona import main

if __name__ == "__main__":
    main()
