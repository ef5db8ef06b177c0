"""Notes on how far the rows of a suite rank as the published ones do."""

from collections.abc import Sequence

from avbench.config.published_figures import plain_name
from avbench.evaluation.statistics.ranks import LEAST, rank_correlation
from avbench.reports.collect import Report
from avbench.reports.table import TITLES


def rank_notes(report: Report, datasets: Sequence[str], metrics: Sequence[str]) -> list[str]:
    """Return one note: Spearman's ρ of the rows, ours with the published, by dataset and score.

    Means over seeds are compared. Rows count that have both figures.
    """
    paper = report.paper.frame.assign(
        dataset=[plain_name(name) for name in report.paper.frame["dataset"]]
    ).set_index(["dataset", "metric", "label"])["value"]
    own = report.figures.frame
    own = own[(own["status"] == "ok") & (own["altered"] == "")]
    means = own.groupby(["dataset", "metric", "label"], sort=False)["value"].mean()
    said, few = [], False
    for dataset in datasets:
        for metric in metrics:
            pairs = [
                (means[dataset, metric, label], paper[plain_name(dataset), metric, label])
                for label in report.plan.labels
                if (dataset, metric, label) in means.index
                and (plain_name(dataset), metric, label) in paper.index
            ]
            found = rank_correlation([ours for ours, _ in pairs], [theirs for _, theirs in pairs])
            if found is None:
                continue
            ends = ""
            if found.interval is not None:
                ends = " [{:+.2f}, {:+.2f}]".format(*found.interval)
            few |= found.interval is None
            said.append(
                f"{dataset} {TITLES.get(metric, metric)} {found.rho:+.2f}{ends} ({found.n} rows)"
            )
    if not said:
        return ["Rank correlation of ours with the published: fewer than three rows have both."]
    none = f" There is no interval for fewer than {LEAST} rows, nor for ±1." if few else ""
    return [
        "Rank correlation (Spearman's ρ) of the rows, ours with the published, 95 % intervals by "
        f"Fisher's z with Bonett and Wright's variance: {'; '.join(said)}.{none}"
    ]
