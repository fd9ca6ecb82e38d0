"""placeholder"""

from krona.report.model import Report


def render(report: Report) -> str:
    return ""
