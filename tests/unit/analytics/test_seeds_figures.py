"""The tables of the five documents, computed: each figure of examples/seeds/figures.py, worked by hand here.

The right values are those of the documents' own rates: 0.017 × 730 + 20 × 0.115 = 14.71, and so on; the program names
the formula's parts, the guide shows its table.
"""

from __future__ import annotations

import importlib.util
import re
from decimal import Decimal
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[3]
PROGRAM = ROOT / "examples" / "seeds" / "figures.py"
GUIDE = ROOT / "docs" / "estimate.md"

RIGHT: dict[str, dict[str, str]] = {
    "1:33, 50-67": {
        "instance": "12.41",
        "storage": "2.30",
        "month": "14.71",
        "year": "176.52",
    },
    "1:34, 74-76": {
        "month": "11.534",
        "year": "138.408",
        "of 720 hours at 0.016": "11.52",
    },
    "1:35, 79-137": {
        "hour": "0.04937",
        "24/7": "36.0401",
        "12 hours a day": "18.02005",
        "mean": "27.030075",
        "hours in 14.88": "301.40",
        "% of the month": "41.29",
    },
    "1:36, 139-154": {
        "4 GB, as the prefixes sum": "0.092",
        "5 GB": "0.115",
        "Intelligent-Tiering": "0.0025",
        "4 GB and it": "0.0945",
        "5 GB and it": "0.1175",
    },
    "1:37, 162-176": {
        "PUT": "0.05",
        "GET": "0.02",
        "month": "0.07",
        "times too much": "7.14",
        "100K PUT": "0.50",
        "100K GET": "0.04",
    },
    "1:39, 179-188": {
        "ingested": "2.50",
        "with 5 GB free": "0",
        "kept 7 days, uncompressed": "0.03452054796",
    },
    "1:40, 198": {
        "list": "0.90",
        "with 100 GB free": "0",
        "42.76 with it and the alarms again": "44.16",
    },
    "1:46, 200": {
        "its own figures with 5 alarms": "43.26",
        "24/7": "65.9216",
        "with alarms": "66.4216",
        "year": "797.0592",
        "12 hours a day": "47.90155",
        "12 hours a day, with alarms": "48.40155",
    },
    "1:439": {
        "month": "43.80",
    },
    "1:212-217": {
        "low": "0.052",
        "high": "0.124",
        "100 low": "5.20",
        "100 high": "12.40",
        "500 low": "26",
        "500 high": "62",
        "1000 low": "52",
        "1000 high": "124",
    },
    "1:231-234": {
        "100 low": "47.20",
        "100 high": "62.40",
        "500 low": "68",
        "500 high": "112",
        "1000 low": "94",
        "1000 high": "174",
        "100 low on the right base": "71.6216",
        "100 high on the right base": "78.8216",
    },
    "1:248 v. 301-307": {
        "AWS": "1.38",
        "Replicate": "0.165",
        "videos by images": "3",
        "by clips": "2",
    },
    "1:301-307": {
        "ECS": "1.18488",
        "RDS": "0.408",
        "with storage": "0.483616438356",
        "S3": "0.000015753425",
        "GB-hours in 0.02": "634.78",
        "5 GB a day": "0.00378",
        "cache": "0.3792",
        "logs": "0.08",
        "images": "0.045",
        "clips": "0.12",
    },
    "1:248-252": {
        "day 1": "0.23375",
        "day 2": "0.1325",
        "day 3": "0.34",
        "month": "0.204",
        "with sheet 2's 42.76": "0.20504",
        "Replicate a video": "0.034",
        "250 videos at the least": "13",
        "and at the most": "31",
    },
    "1:258-264": {
        "RDS": "28.70",
        "cache": "26.90",
        "ECS": "34.80",
        "S3": "1.40",
        "logs": "5.90",
        "other": "2.20",
        "sum": "99.90",
    },
    "1:258-267": {
        "RDS": "-0.24",
        "cache": "-0.48",
        "ECS": "-0.12",
        "S3": "-1.38",
        "logs": "-0.47",
        "other": "-0.05",
        "AWS": "-2.74",
        "Replicate": "-1.50",
        "all": "-4.24",
    },
    "1:275-285": {
        "AWS %": "14.48",
        "Replicate %": "29.1667",
        "all %": "17.3226",
        "budget of sheet 2": "55.50",
        "budget of sheet 3": "62",
    },
    "1:288-292": {
        "as written": "76.01",
        "days in 51.26": "31.07",
        "15 days at 1.65": "49.50",
        "under by": "12.50",
        "if 51.26 is 15 days": "102.52",
        "over by": "40.52",
    },
    "1:364, 778, 863": {
        "2 a day": "60",
        "3 a day": "90",
        "5 a day": "150",
        "the month binds on day": "20",
    },
    "1:378 v. 409": {
        "saving": "1.035",
        "%": "90",
    },
    "1:419-420": {
        "saving": "1.46",
        "% of the instance": "11.76",
        "% with storage": "9.93",
    },
    "1:428-433": {
        "no upfront": "5.11",
        "%": "41.18",
        "all upfront": "5.5767",
        "its %": "44.94",
        "% of all of RDS": "34.74",
        "left": "9.60",
        "break-even, months": "6.61",
        "no upfront pays above % of hours": "58.82",
        "6.84 × 12": "82.08",
    },
    "1:456-463": {
        "reserved": "4.604",
        "cache.t3.micro": "1.314",
    },
    "1:475-478": {
        "low": "10.81203",
        "high": "18.02005",
        "14.88 low": "4.464",
        "14.88 high": "7.44",
    },
    "1:483-485": {
        "of 14.88": "12.3504",
        "24/7": "29.913283",
        "saves of 14.88": "2.5296",
        "saves": "6.126817",
    },
    "1:493": {
        "24/7": "18.02005",
        "of 14.88": "7.44",
    },
    "1:625": {
        "off 24/7": "18.02005",
    },
    "1:656-662": {
        "all three": "28.56177925",
        "% of it": "79.25",
        "sum of the three": "42.166917",
        "of 14.88": "11.7924",
        "sum of 14.88": "17.4096",
    },
    "1:522-523": {
        "saves least": "1.25",
        "saves most": "1.75",
    },
    "1:550": {
        "least": "1.04",
        "most": "4.96",
    },
    "1:562-573": {
        "least": "0.3045",
        "most": "0.406",
        "compositions only, least": "0.2838",
        "compositions only, most": "0.3784",
        "2M for 3M, %": "33.30",
    },
    "1:601-602, 659": {
        "10 GB": "0.90",
        "50 GB": "4.50",
        "100 GB": "9",
        "10 GB with the allowance": "0",
    },
    "1:662": {
        "rows least": "27.90",
        "rows most": "59.38",
        "least %": "65.20",
        "most %": "138.90",
        "what can be saved": "23.9924",
        "of 42.76 %": "56.10",
    },
    "1:666-667": {
        "month 2 low": "32.45",
        "month 2 high": "40.45",
        "month 3 low": "17",
        "month 3 high": "35",
        "50-70 % would leave low": "12.83",
        "and high": "21.38",
    },
    "1:776-787": {
        "fires after days": "2.10",
    },
    "4:47 v. 49-78": {
        "sum of its parts": "0.0231048",
        "off by": "0.0002952",
        "right": "0.01325286672",
        "with Claude 4 at its rates": "0.02648286672",
    },
    "4:60, 67, 74, 170": {
        "lambda": "0.00001020002",
        "table": "0.0000001667",
        "Claude 3.5": "0.01323",
        "Claude 4": "0.02646",
        "Haiku": "0.0011025",
        "1,340 in + 502 out at 6/30": "0.0231",
        "embedding": "0.000009",
    },
    "4:170 v. 31, 184": {
        "characters": "37",
        "÷ 4": "10",
        "words × 2": "12",
    },
    "4:99-122": {
        "sum of its parts": "0.0086054",
        "off by": "0.0000946",
        "speech": "0.0072",
        "PUT": "0.0000054",
        "lambda": "0.000093950188",
        "right": "0.007302850188",
        "without the gateway": "0.007299350188",
        "GB for 0.0014": "3.73",
    },
    "4:252": {
        "right": "1744286400",
    },
    "4:41, 347-360, 448-450": {
        "10 a day for 30 days": "300",
        "50 a day for 30 days": "1500",
        "25 a day for 30 days": "750",
        "the month binds after days": "20",
        "of a tier after days": "10",
    },
    "4:137-138": {
        "Claude 4, a million each way": "18",
        "Titan v2, a million": "0.02",
    },
    "2:190, 203": {
        "9,615 images": "49.998",
        "9,616 images": "50.0032",
        "96,154 images": "500.0008",
        "50 for 24 hours": "1200",
    },
    "3:317-345": {
        "2,000 images": "40",
        "25,000 images": "500",
        "250 images": "5",
        "50 for 30 days": "1500",
        "the month binds after days": "10",
    },
    "3:195-212, 391, 470": {
        "gemini(1000, 500)": "0.000375",
        "story": "0.00015",
        "script": "0.00025",
        "video": "0.4607",
        "with 10 %": "0.50677",
    },
    "5:112": {
        "before": "120",
        "after": "60",
        "a day before": "2",
        "a day after": "2",
    },
    "1:206-210 v. 2:34-36; 2:49 v. 3:175": {
        "upscaling, times least": "3.50",
        "upscaling, times most": "10.40",
        "Gemini, times": "8",
    },
}


@pytest.fixture(scope="module")
def program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("figures", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(PROGRAM.parent)  # As where it is run: its parts lie beside it.
        spec.loader.exec_module(module)
    return module


def test_every_figure_is_what_its_rates_give(program: ModuleType) -> None:
    found = {one.where: dict(one.right) for one in program.figures()}
    expected = {where: {name: Decimal(text) for name, text in figures.items()} for where, figures in RIGHT.items()}
    assert found == expected


def test_every_section_that_has_wrong_figures_is_there(program: ModuleType) -> None:
    assert [f"2.{number}" for number in range(1, 8)] == sorted({one.section for one in program.figures()})


def test_the_guide_shows_the_table_that_the_program_prints(program: ModuleType) -> None:
    shown = re.search(r"<!-- figures -->\n(.*?)\n<!-- end of figures -->", GUIDE.read_text(), re.DOTALL)
    assert shown is not None
    assert shown[1] == program.table(), "run python examples/seeds/figures.py and put its table into the guide"
