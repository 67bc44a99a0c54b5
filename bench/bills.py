"""How fast a large bill is taken in, and how much memory that needs: a FOCUS file of a million hourly rows.

Run as `python bench/bills.py [rows]`; with `--write` the section of docs/benchmarks.md is written anew.
"""

from __future__ import annotations

import gzip
import json
import resource
import subprocess
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path

ROWS = 1_000_000
SERVICES = (
    ("Amazon Elastic Compute Cloud", "Compute", "Hours", "0.0416"),
    ("Amazon Relational Database Service", "Databases", "Hours", "0.017"),
    ("Amazon Simple Storage Service", "Storage", "GB-Mo", "0.000031"),
    ("AWS Lambda", "Compute", "Requests", "0.0000002"),
    ("Amazon CloudWatch", "Management and Governance", "GB", "0.5"),
)
COLUMNS = (
    *(
        "BilledCost",
        "BillingAccountId",
        "BillingCurrency",
        "BillingPeriodEnd",
        "BillingPeriodStart",
        "ChargeCategory",
    ),
    *(
        "ChargeDescription",
        "ChargePeriodEnd",
        "ChargePeriodStart",
        "ConsumedQuantity",
        "ConsumedUnit",
        "EffectiveCost",
    ),
    *("InvoiceIssuerName", "ListCost", "PricingQuantity", "PricingUnit", "ProviderName", "PublisherName", "RegionId"),
    *("ResourceId", "ServiceCategory", "ServiceName", "SkuId", "SkuPriceId", "SubAccountId", "Tags"),
)
MARK = "## Bills in"
ROOT = Path(__file__).parent.parent


def generate(path: Path, rows: int) -> None:
    """An hourly bill of 30 days: as many resources as fill the rows, each with its tags."""
    resources = rows // (30 * 24) + 1
    with path.open("w") as file:
        file.write(",".join(COLUMNS) + "\n")
        written = 0
        for day in range(1, 31):
            for hour in range(24):
                start = f"2026-09-{day:02d}T{hour:02d}:00:00Z"
                end = f"2026-09-{day:02d}T{hour + 1:02d}:00:00Z" if hour < 23 else _next_day(day)
                for number in range(resources):
                    if written == rows:
                        return
                    file.write(_row(number, start, end))
                    written += 1


def _next_day(day: int) -> str:
    return f"2026-09-{day + 1:02d}T00:00:00Z" if day < 30 else "2026-10-01T00:00:00Z"


def _row(number: int, start: str, end: str) -> str:
    service, category, unit, price = SERVICES[number % len(SERVICES)]
    used = f"{(number * 7919 + int(start[8:10]) * 24 + int(start[11:13])) % 9973 + 1}.25"
    cost = f"{Decimal(price) * Decimal(used):.10f}"
    tags = f'"{{""project"": ""p{number % 40}"", ""team"": ""t{number % 7}""}}"'
    cells = (
        *(cost, "123456789012", "USD", "2026-10-01T00:00:00Z", "2026-09-01T00:00:00Z", "Usage"),
        *(f"${price} per {unit} in us-east-2", end, start, used, unit, cost),
        *("Amazon Web Services", cost, used, unit, "AWS", "AWS", "us-east-2"),
        *(f"arn:aws:x:us-east-2:123456789012:resource/{number:06d}", category, service, f"SKU{number % 97}"),
        *(f"SKU{number % 97}.ONDEMAND", f"{210000000000 + number % 12}", tags),
    )
    return ",".join(cells) + "\n"


def measure(path: Path) -> dict[str, float]:
    """Import a file in a process of its own: seconds and its peak of memory in MB."""
    with tempfile.TemporaryDirectory() as folder:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        before = children.ru_utime + children.ru_stime
        began = time.perf_counter()
        code = (
            "import sys; from outlay.__main__ import main; sys.argv = ['outlay', *sys.argv[1:]]\n"
            "try: main()\n"
            "finally: print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0], file=sys.stderr)"
        )
        ledger = Path(folder) / "bill.db"
        done = subprocess.run(
            [sys.executable, "-c", code, "import", str(path), "--ledger", str(ledger), "--json"],
            capture_output=True,
            text=True,
            check=True,
        )
        seconds = time.perf_counter() - began
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        told = json.loads(done.stdout)
        return {
            "seconds": seconds,
            "cpu_s": used.ru_utime + used.ru_stime - before,
            "peak_mb": int(done.stderr.split()[-1]) / 1024,
            "rows": told["rows_charged"],
            "ledger_mb": ledger.stat().st_size / 1e6,
        }


def main() -> None:
    """Measure each form of the file."""
    rows = next((int(each) for each in sys.argv[1:] if each.isdigit()), ROWS)
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "focus.csv"
        generate(plain, rows)
        packed = Path(folder) / "focus.csv.gz"
        with plain.open("rb") as source, gzip.open(packed, "wb", compresslevel=1) as target:
            while block := source.read(1 << 20):
                target.write(block)
        parquet = Path(folder) / "focus.parquet"
        to_parquet(plain, parquet)
        for name, path in (("CSV", plain), ("CSV, gzip", packed), ("Parquet", parquet)):
            told = measure(path)
            size = path.stat().st_size / 1e6
            lines.append(
                f"| {name} | {told['rows']:,} | {size:,.0f} MB | {told['seconds']:.0f} s | {told['cpu_s']:.0f} s | "
                f"{told['peak_mb']:,.0f} MB | {told['ledger_mb']:,.0f} MB |"
            )
            print(lines[-1], flush=True)
    if "--write" in sys.argv:
        write(lines)


def to_parquet(plain: Path, target: Path) -> None:
    """The same rows as Parquet, every column text."""
    import pyarrow
    import pyarrow.csv
    import pyarrow.parquet

    types = pyarrow.csv.ConvertOptions(column_types={name: pyarrow.string() for name in COLUMNS})
    pyarrow.parquet.write_table(pyarrow.csv.read_csv(plain, convert_options=types), target)


def write(lines: list[str]) -> None:
    """Put the section into docs/benchmarks.md in place of the one that is there."""
    page = ROOT / "docs" / "benchmarks.md"
    head, _, rest = page.read_text().partition(f"{MARK}\n")
    _, mark, after = rest.partition("\n## ")
    section = "\n".join(
        [
            MARK,
            "",
            "`python bench/bills.py --write`: a FOCUS file of hourly rows of 30 days, as many resources as fill it, "
            "imported by `outlay import` into a new file. Peak memory is of the whole process. Where other programs "
            "share the machine, the time of the processor is what a free core needs.",
            "",
            "| file | rows | size | time | of the processor | peak memory | ledger |",
            "|---|---|---|---|---|---|---|",
            *lines,
            "",
        ]
    )
    page.write_text(head.rstrip("\n") + "\n\n" + section + (f"{mark}{after}" if mark else ""))


if __name__ == "__main__":
    main()
