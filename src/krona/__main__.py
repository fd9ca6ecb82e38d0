"""Run the command line as a module: ``python -m krona``."""

from krona.paths import hide_working_directory

if __name__ == "__main__":
    hide_working_directory()  # before the command line imports any library
    from krona.cli.krona import main

    main()
