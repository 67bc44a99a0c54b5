"""Install Outlay, editable, at the versions of constraints.txt: `core` alone, or `dev` with all for development."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def main(what: str) -> None:
    """Read the dev group from pyproject.toml (older pips know no --group) and install it with the package."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = ["-e", str(ROOT)]
    if what == "dev":
        wanted = [*project["dependency-groups"]["dev"], "-e", f"{ROOT}[all]"]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--constraint", str(ROOT / "constraints.txt")]
    subprocess.run([*command, *wanted], check=True, cwd=ROOT)
    print("installed", what, "into", sys.prefix)
    if what == "dev":
        browser()
        validator()


def validator() -> None:
    """FOCUS' own validator, which checks our exports, in an environment of its own where Python 3.12 is found."""
    import focus_validator

    if focus_validator.find_python() is None:
        print("FOCUS' validator needs Python 3.12; its tests will say that they are skipped", file=sys.stderr)
        return
    focus_validator.environment()


def browser() -> None:
    """The dashboard's tests drive a real browser: Debian's, as a root may install it; others are told how."""
    if shutil.which("chromium"):
        return
    if os.geteuid() == 0 and shutil.which("apt-get"):
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-qq"], check=True, env=quiet)
        subprocess.run(["apt-get", "install", "-y", "-qq", "chromium"], check=True, env=quiet)
        return
    print("the tests of the dashboard need Chromium: apt-get install chromium", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1])
