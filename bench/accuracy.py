"""How good the forecasts and the detector of anomalies are: measures, and writes docs/accuracy.md between its marks.

    python bench/accuracy.py nab [--data DIR]        detectors on labelled series, by NAB's standard score
    python bench/accuracy.py forecast [--data DIR]   forecasts judged on the past of real series
    python bench/accuracy.py spend                   anomalies put into simulated spend: recall and precision by size
    python bench/accuracy.py all --write             all of them, into the page

DIR is any folder of CSV files: for `nab` with its windows as JSON, in whatever way they lie there. OUTLAY_TEST_DATA
(or ../shared/data) is the default. Without --write the figures are only shown.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import backtest
import nab
import spend

from outlay.analytics.forecast import LEVELS
from outlay.analytics.novelty import novelties, points_a_day

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "accuracy.md"
DATA = Path(os.environ.get("OUTLAY_TEST_DATA", ROOT.parent / "shared" / "data"))
FORECAST_FOLDERS = (DATA / "servegen", DATA / "timeseries")


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("nab", "forecast", "spend", "all"))
    parser.add_argument("--data", type=Path, help="a folder of series")
    parser.add_argument("--write", action="store_true", help="into docs/accuracy.md")
    parser.add_argument("--series", type=int, default=spend.SERIES_A_CELL, help="simulated series in a cell")
    options = parser.parse_args()
    measures = {
        "nab": lambda: measure_nab(options.data or DATA / "nab"),
        "forecast": lambda: measure_forecasts([options.data] if options.data else FORECAST_FOLDERS),
        "spend": lambda: measure_spend(options.series),
    }
    for name in measures if options.what == "all" else (options.what,):
        text = measures[name]()
        print(text + "\n")
        if options.write:
            write_section(name, text)


def write_section(name: str, text: str) -> None:
    """Put what was measured between the marks of its section."""
    begin, end = f"<!-- measured: {name} -->", f"<!-- end: {name} -->"
    marked = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    page = PAGE.read_text()
    if not marked.search(page):
        sys.exit(f"{PAGE} has no marks {begin} … {end}")
    PAGE.write_text(marked.sub(lambda _: f"{begin}\n\n{text}\n\n{end}", page))


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown; all but the first column to the right."""
    lines = [headings, ["---", *["---:"] * (len(headings) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


# --- anomalies on labelled series


def measure_nab(folder: Path) -> str:
    """Every labelled series of a folder by our detector and the two beside it."""
    corpus, without = nab.read_corpus(folder)
    if not corpus:
        sys.exit(f"{folder} holds no series with labelled windows")
    days = [points_a_day(series.instants) for series in corpus]
    ours = [[float(one.told) for one in novelties(s.values, day_points=d)] for s, d in zip(corpus, days, strict=True)]
    others = {
        "windowed Gaussian": [nab.windowed_gaussian(series.values) for series in corpus],
        "seasonal z-score": [nab.seasonal_z_score(s.values, d) for s, d in zip(corpus, days, strict=True)],
    }
    rows = []
    for name, scores, threshold in (("Outlay", ours, 0.5), *((name, found, None) for name, found in others.items())):
        found = [nab.best_score(corpus, scores, weights, threshold) for weights in nab.PROFILES.values()]
        windows = sum(len(series.counted) for series in corpus)
        first = found[0]
        rows.append([name, *(f"{one.score:.1f}" for one in found), f"{first.found} of {windows}", str(first.alarms)])
    parts = [
        f"{len(corpus)} series with {sum(len(series.windows) for series in corpus)} windows.",
        table(["detector", *nab.PROFILES, "windows found", "false alarms"], rows),
    ]
    groups = sorted({series.name.split("/")[0] for series in corpus})
    if len(groups) > 1:
        parts.append(_nab_by_group(corpus, ours, groups))
    parts.append(table(["series", "points", "windows found", "false alarms"], _nab_by_series(corpus, ours)))
    if without:
        parts.append(f"Without labels, and so left out: {', '.join(without)}.")
    return "\n\n".join(parts)


def _nab_by_group(corpus: Sequence[nab.Series], ours: Sequence[Sequence[float]], groups: Sequence[str]) -> str:
    rows = []
    for group in groups:
        places = [at for at, series in enumerate(corpus) if series.name.startswith(f"{group}/")]
        chosen = [corpus[at] for at in places], [ours[at] for at in places]
        part = nab.best_score(*chosen, nab.PROFILES["standard"], 0.5)
        windows = sum(len(corpus[at].counted) for at in places)
        score = f"{part.score:.1f}" if windows else "-"
        rows.append([group, str(len(places)), score, f"{part.found} of {windows}", str(part.alarms)])
    return table(["Outlay by folder", "series", "standard", "windows found", "false alarms"], rows)


def _nab_by_series(corpus: Sequence[nab.Series], ours: Sequence[Sequence[float]]) -> list[list[str]]:
    rows = []
    for series, scores in zip(corpus, ours, strict=True):
        one = nab.best_score([series], [scores], nab.PROFILES["standard"], 0.5)
        found = f"{one.found} of {len(series.counted)}"
        rows.append([series.name, f"{len(series.values):,}", found, str(one.alarms)])
    return rows


# --- forecasts


def measure_forecasts(folders: Sequence[Path]) -> str:
    """Every series of some folders, and the mean over all of them."""
    judged = []
    for folder in folders:
        for series in backtest.read_all(folder):
            found = backtest.judge(series)
            if found is not None:
                judged.append(found)
                print(f"{found.name}: {found.errors['Outlay']:.2f}", file=sys.stderr)
    if not judged:
        sys.exit("no series is long enough to be judged")
    names = ("Outlay", *backtest.BASELINES)
    rows = [[one.name, str(one.forecasts), *(f"{one.errors[name]:.2f}" for name in names)] for one in judged]
    rows.append(["**mean**", "", *(f"**{fmean(one.errors[name] for one in judged):.2f}**" for name in names)])
    hits = [[one.name, *_hits(one)] for one in judged]
    means = [fmean(shares) for shares in zip(*map(_shares, judged), strict=True)]
    hits.append(["**mean**", *(f"**{mean:.0f} %**" for mean in means)])
    headings = [f"{level} % {what}" for what in ("of sums", "of points") for level in LEVELS]
    return "\n\n".join(
        [
            "MASE of the points ahead:",
            table(["series", "forecasts", *names], rows),
            "How often the intervals held:",
            table(["series", *headings], hits),
        ]
    )


def _shares(one: backtest.Judged) -> list[float]:
    return [one.total_hits[level] for level in LEVELS] + [one.point_hits[level] for level in LEVELS]


def _hits(one: backtest.Judged) -> list[str]:
    return [f"{share:.0f} %" for share in _shares(one)]


# --- simulated spend


def measure_spend(series: int) -> str:
    """Recall, precision and the error of the impact, by kind and size."""
    recall, precision = [], []
    for kind in spend.KINDS:
        cells = []
        for size in spend.SIZES:
            cells.append(spend.measure(kind, size, series))
            print(f"{kind} {size} %: {cells[-1]}", file=sys.stderr)
        recall.append([kind, *(f"{100 * cell.found / cell.worth_telling:.0f} %" for cell in cells)])
        precision.append([kind, *(_precision(cell) for cell in cells)])
    clean = [spend.case(shape, None, 0, seed) for shape in spend.SHAPES for seed in range(4 * series)]
    false = sum(len(spend.found_in(one.values)) for one in clean)
    weeks = len(clean) * spend.HOURS // 168
    headings = ["", *(f"{size} % of a day" for size in spend.SIZES)]
    return "\n\n".join(
        [
            f"{series * len(spend.SHAPES)} series of eight weeks in each cell. Found, of those of $5 or more:",
            table(headings, recall),
            "Of all that was told of them, how much lay on the anomaly; and how far its impact was off:",
            table(headings, precision),
            f"In {len(clean)} series without an anomaly ({weeks} weeks) {false} false episodes were told: one in "
            f"{weeks / max(false, 1):.0f} weeks of a series.",
        ]
    )


def _precision(cell: spend.Cell) -> str:
    told = cell.found + cell.false
    error = "" if cell.impact_error is None else f", ± {cell.impact_error:.0f} %"
    return f"{100 * cell.found / told:.0f} %{error}" if told else "-"


if __name__ == "__main__":
    main()
