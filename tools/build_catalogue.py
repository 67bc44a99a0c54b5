"""Write the catalogue of prices that Outlay ships, from the installed genai-prices and Outlay's own cards.

python tools/build_catalogue.py            write src/outlay/pricing/data/catalogue.msgpack
python tools/build_catalogue.py --check    say whether the shipped file is what would be written
"""

from __future__ import annotations

import sys
from pathlib import Path

from outlay.pricing.sync import build_catalogue

TARGET = Path(__file__).resolve().parent.parent / "src" / "outlay" / "pricing" / "data" / "catalogue.msgpack"


def main() -> int:
    """Write or check the file; the exit status says whether a check found it different."""
    name, body = build_catalogue()
    if "--check" in sys.argv[1:]:
        same = TARGET.exists() and TARGET.read_bytes() == body
        print(f"{name}: {'as shipped' if same else 'differs; run tools/build_catalogue.py'}")
        return 0 if same else 1
    TARGET.write_bytes(body)
    print(f"{name}: {len(body):,} bytes written to {TARGET}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
