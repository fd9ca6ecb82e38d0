"""Group the runs of a section into the rows of a table, and name the rows."""

from krona.report.layouts import Layout
from krona.report.runs import ReportRun, Runs, first_run, group_by, list_settings
from krona.report.table import Row
from krona.report.text import setting_text
from krona.runs.description import asked_shape, used_shape


def group_rows(layout: Layout, runs: Runs) -> list[Row]:
    """Group a section's runs into rows. Return the rows, without cells, in table order.

    The variants of a method are groups of runs that differ in a setting other than the seed. Each variant has its own
    row. Variants on different tasks share a row if the settings that distinguish them are equal.
    """
    by_settings: dict[tuple[str, tuple[tuple[str, str], ...]], Row] = {}
    for (key, task), group in sorted(group_by(runs, lambda run: (str(layout.row(run.result)), run.task)).items()):
        variants = _split_variants(group)
        firsts = [first_run(variant) for variant in variants]
        settings_of_variants = list_settings(firsts)
        for variant, first, settings in zip(variants, firsts, settings_of_variants, strict=True):
            row = by_settings.setdefault((key, tuple(settings.items())), Row(key, settings=settings))
            row.runs[task], row.first[task] = variant, first
    with_runs = {row.key for row in by_settings.values()}
    rows = [*by_settings.values(), *(Row(key) for key in layout.rows if key not in with_runs)]
    rows.sort(key=lambda row: (layout.order(row.key), [_by_size(*item) for item in row.settings.items()]))
    for row in rows:
        name_row(layout, row)
    return rows


def _split_variants(runs: Runs) -> list[list[ReportRun]]:
    """Return the runs of each variant. If any variant has finished runs, omit the variants without finished runs.

    A run that ended before it recorded its data fingerprints is added to a variant whose other settings are equal.
    """
    by_variant = group_by(runs, lambda run: run.variant)
    if all(run.done for run in runs):
        return [*by_variant.values()]
    items = {variant: {*group[0].settings.items()} for variant, group in by_variant.items()}
    for variant in [*by_variant]:
        complete = next((other for other in by_variant if other != variant and items[variant] < items[other]), None)
        if complete is not None:
            by_variant[complete] += by_variant.pop(variant)
    return [group for group in by_variant.values() if any(run.done for run in group)] or [*by_variant.values()]


def _by_size(key: str, value: str) -> tuple[str, float, str]:
    """Return a sort key that sorts lr=0.0001 before lr=0.001, and 2x384 before 12x64."""
    try:
        return key, float(value.split("x")[0]), value
    except ValueError:
        return key, float("inf"), value


def name_row(layout: Layout, row: Row) -> None:
    """Set a row's label and the text of its differing settings. The text names the shape of A that the layers use."""
    first = next(iter(row.first.values()), None)
    used, asked = (used_shape(first.result), asked_shape(first.result)) if first else (None, None)
    row.label = layout.label(row.key)
    texts = {key: setting_text(key, value) for key, value in row.settings.items()}
    if (key := "method.kron_factors") in texts:
        texts[key] = f"{used} (the paper's {asked})" if asked else used or row.settings[key]
    words = [f"{key.removeprefix('method.')}={value}" for key, value in texts.items()]
    if layout.by_shape and asked:  # in a table of shapes, the label is the shape that was used
        row.label, words = used or row.label, [f"the paper's {row.key}", *words]
    row.differs = ", ".join(words)
