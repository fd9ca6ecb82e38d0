"""The rows of GLUE that a run was made with, against those that GLUE has."""

from krona.outputs.result import Result

Part = tuple[str, int, int]  # its name in the source, the rows found, GLUE's rows


def odd_part(result: Result) -> Part | None:
    """The part whose rows are furthest from GLUE's; None where all are GLUE's, or where nobody counted them."""
    counts: dict[str, list[int]] = result.provenance.get("official_rows") or {}
    odd = [(name, found, official) for name, (found, official) in counts.items() if found != official]
    return max(odd, key=distance, default=None)


def distance(part: Part) -> float:
    """How far the rows found are from GLUE's, as a part of these."""
    _, found, official = part
    return abs(found - official) / official


def glue_form(part: Part) -> str:
    """What data of GLUE's form is called that has other rows than GLUE."""
    name, found, official = part
    return f"GLUE's form, {found:,} rows for {official:,} in {name}"
