"""Run FOCUS' own validator over a file: `python tools/focus_validator.py FILE`. It needs Python 3.12.

It lives in an environment of its own, made on first use: its dependencies pin NumPy below 2, which ours do not.
Known of version 2.2.1: with pyarrow 22 or newer it does not start; it reads a file by a path relative to its own
folder, and writes a log there; it exits with 0 whatever it finds, so that its report is read.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

WANTED = ("focus-validator==2.2.1", "pyarrow<22")
VERSION = "1.2.0.1"
CRITERIA = (
    "USAGE_MEASUREMENT_SUPPORTED",
    "UNIT_PRICING_SUPPORTED",
    "PUBLIC_PRICE_LIST_SUPPORTED",
    "NEGOTIATED_PRICING_SUPPORTED",
    "MULTIPLE_PRICING_CATEGORIES_SUPPORTED",
    "SUB_ACCOUNT_SUPPORTED",
    "MULTIPLE_SUB_ACCOUNT_TYPES_SUPPORTED",
    "MULTIPLE_BILLING_ACCOUNT_TYPES_SUPPORTED",
    "TAGGING_SUPPORTED",
    "ACCOUNT_NAMING_SUPPORTED",
)


@dataclass(frozen=True)
class Verdict:
    """How many rules were checked, and those that failed, with the validator's words."""

    checked: int
    skipped: int
    failed: dict[str, str]


def find_python() -> str | None:
    """A Python that the validator runs on, or None."""
    for found in _candidates():
        question = "import sys, venv; print(sys.version_info[:2] == (3, 12))"
        asked = subprocess.run([found, "-c", question], capture_output=True, check=False)
        if asked.stdout.strip() == b"True":
            return found
    return None


def _candidates() -> Iterator[str]:
    for name in ("python3.12",):  # NumPy below 2 has no wheel for 3.13, and takes half an hour to be built.
        if found := shutil.which(name):
            yield found
    for version in sorted((Path.home() / ".pyenv" / "versions").glob("3.12.*")):
        yield str(version / "bin" / "python")


def environment() -> Path:
    """The environment of the validator, made if it is not there. Raises RuntimeError without a Python 3.12."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "outlay" / f"focus-validator-{WANTED[0].partition('==')[2]}"
    if (folder / "ready").exists():
        return folder
    python = find_python()
    if python is None:
        raise RuntimeError("FOCUS' validator needs Python 3.12, which is not on this machine")
    subprocess.run([python, "-m", "venv", "--clear", str(folder)], check=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    pip.append("--only-binary=numpy,pandas,pyarrow")
    subprocess.run([*pip, *WANTED], check=True)
    (folder / "ready").touch()
    return folder


def validate(file: Path) -> Verdict:
    """What the validator says of a file of FOCUS 1.2, CSV or Parquet."""
    folder = environment()
    (packages,) = folder.glob("lib/python3.*/site-packages")
    with tempfile.TemporaryDirectory() as place:
        report = Path(place) / "report.xml"
        command = [str(folder / "bin" / "focus-validator"), "--data-file", str(file.resolve())]
        command += ["--validate-version", VERSION, "--block-download", "--applicability-criteria", ",".join(CRITERIA)]
        command += ["--output-type", "unittest", "--output-destination", str(report)]
        done = subprocess.run(command, cwd=packages, capture_output=True, text=True, check=False)
        if not report.exists():
            raise RuntimeError(f"the validator did not run: {(done.stderr or done.stdout)[-2_000:]}")
        return _read(report)


def _read(report: Path) -> Verdict:
    checked, skipped, failed = 0, 0, {}
    for case in ElementTree.parse(report).iter("testcase"):
        if case.find("skipped") is not None:
            skipped += 1
            continue
        checked += 1
        wrong = next((found for name in ("failure", "error") if (found := case.find(name)) is not None), None)
        if wrong is not None:
            name = case.get("name", "")
            rule = re.search(r"[A-Za-z]+-[CD]-\d{3}-[A-Z]", name)
            failed[rule[0] if rule else name] = wrong.get("message") or (wrong.text or "").strip()[:200]
    return Verdict(checked, skipped, failed)


def main(files: list[str]) -> int:
    """Print what each file's validation says; 1 where a rule failed. Without files the environment is made ready."""
    environment()
    wrong = 0
    for file in files:
        verdict = validate(Path(file))
        print(f"{file}: {verdict.checked} rules checked, {len(verdict.failed)} failed, {verdict.skipped} skipped")
        for rule, message in verdict.failed.items():
            print(f"  {rule}: {message}")
        wrong |= bool(verdict.failed)
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
