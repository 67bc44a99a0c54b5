"""The example in Node is run as it stands against a real server: what it prints, and what the ledger holds then."""

from __future__ import annotations

import shutil
import subprocess
from decimal import Decimal
from pathlib import Path

import pytest
from tests.conftest import ROOT
from tests.served import Served, free_port, served

import outlay

NODE = shutil.which("node")
FOLDER = ROOT / "examples" / "node"
PRICES = ROOT / "examples" / "seeds" / "prices.toml"


@pytest.fixture(autouse=True)
def node() -> str:
    """The program; the tests fail without it, since two of the documents behind the examples are TypeScript."""
    if NODE is None:
        pytest.fail("the Node example cannot be run: there is no `node` on the PATH; install Node 18 or newer")
    return NODE


def run(node: str, *arguments: str, program: str | None = None) -> str:
    command = [node, *(["--input-type=module", "-e", program] if program else []), *arguments]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_flows_and_image_operations_in_node_are_capped_booked_and_read_back(node: str) -> None:
    # Seed 5 prices Claude 3 Haiku at $0.25 and $1.25 a million: 1,000 × 0.25 + 400 × 1.25 = 0.00075 a run, twice.
    # Seed 2 prices replicate's image at 0.0052 and stability's upscale at 0.0060; gpt-4o's 1,000 tokens are 0.01.
    with outlay.open("memory:") as ledger:
        ledger.add_prices(PRICES, force=True)
        ledger.budget("flows", limit="0.05", window="day", action="refuse", where={"provider": "aws"})
        with served(ledger) as server:
            printed = run(node, "main.mjs", server.address).splitlines()
        assert printed[:6] == [
            "A bright flat.",
            "failed: TypeError",
            "refused: budget_spent flows",
            "failed: RangeError",
            "created negative_quantity",
            "feature null 0.0212 4 1",
        ]
        assert "feature listingDescription 0.0015 3 1" in printed
        assert "user user123 0.0015 3 1" in printed
        assert printed[-1] == "dashboard 0.0227 7"
        assert [line for line in printed if "total" in line] == [
            f"{by} total 0.0227" for by in ("feature", "user", "provider")
        ]
        assert ledger.costs(where={"tag.category": "content"}).total.amount == Decimal("0.0015")
        (status,) = ledger.budgets("flows")
        assert (status.spent, status.reserved) == (1_500_000_000, 0)
        told = "\n".join(receipt.explain() + str(receipt.event) for receipt in ledger.events())
        assert "Vienna" not in told
        assert "the model refused" not in told


WHILE_AWAY = """
import { Outlay } from "./outlay.mjs";
const outlay = new Outlay({ address: process.argv[1] });
const call = { provider: "openai", service: "gpt-4o", usage: { output_tokens: 1000 } };
for (let n = 0; n < 3; n++) console.log((await outlay.record({ ...call, id: `n${n}` })).outcome);
process.stdin.once("data", async () => {
  console.log(await outlay.flush(), outlay.waiting);
  console.log((await outlay.record({ ...call, id: "n0" }).catch((error) => error)).code ?? "created");
  process.exit(0);
});
console.log("ready");
"""


def test_what_node_records_while_the_server_is_away_is_sent_once_when_it_is_back(node: str, tmp_path: Path) -> None:
    with outlay.open(str(tmp_path / "outlay.db")) as ledger:
        server = Served(ledger, port=free_port())
        command = [node, "--input-type=module", "-e", WHILE_AWAY, server.address]
        with subprocess.Popen(
            command, cwd=FOLDER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as program:
            assert program.stdin is not None
            assert program.stdout is not None
            assert [program.stdout.readline().strip() for _ in range(4)] == ["waiting"] * 3 + ["ready"]
            server.start()
            try:
                program.stdin.write("go\n")
                program.stdin.flush()
                assert program.stdout.readline().strip() == "3 0"
                # The same id with another time of its own is another event's: refused by name, not booked again.
                assert program.stdout.readline().strip() == "exists_with_different_time"
            finally:
                server.stop()
        assert ledger.costs().events == 3
        assert ledger.audit().ok
