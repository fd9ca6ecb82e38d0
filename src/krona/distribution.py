"""Define the version and the name on the package index, where `krona` is another project."""

DISTRIBUTION = "krona-pet"
VERSION = "0.1.0"


def install_command(extra: str) -> str:
    """Return the command that installs the packages of an extra, such as ``peft``."""
    return f'pip install "{DISTRIBUTION}[{extra}]"'
