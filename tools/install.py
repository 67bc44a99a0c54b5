"""Install Outlay, editable, at the versions of constraints.txt: `core` alone, or `dev` with all for development."""

from __future__ import annotations

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


if __name__ == "__main__":
    main(sys.argv[1])
