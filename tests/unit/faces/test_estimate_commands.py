"""`outlay estimate`: the seeds' stack, scenarios of one's own, a job, and what it cost."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.faces.test_commands import error_of, run, run_json

import outlay
from outlay.faces.cli.exits import Exit

STACK = Path(__file__).parents[3] / "examples" / "stack.toml"


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OUTLAY_LEDGER", raising=False)


def test_the_seeds_stack_has_every_row_with_its_arithmetic() -> None:
    shown = run("estimate", str(STACK))
    assert "730 × 0.04048 USD = $29.5504" in shown
    assert "tasks run in public subnets" in shown
    found = run_json("estimate", str(STACK))
    # 66.4216 of AWS, and 100 videos at 0.052 to 0.124
    assert (found["month"], found["year"]["low"]) == ({"low": "71.6216", "high": "78.8216"}, "859.4592")
    assert [row["row"] for row in found["rows"]][-5:] == [
        "NAT gateway",
        "ALB",
        "Secrets Manager",
        "Route 53",
        "Videos",
    ]
    change = {row["scenario"]: row["change"] for row in found["scenarios"]}
    assert (change["12 hours a day"], change["500 videos"]) == ("-18.02005", "20.80")
    assert found["rows"][0]["lines"][0]["source"] == "seed 1, line 53"


def test_a_scenario_of_ones_own_and_allowances() -> None:
    own = run_json("estimate", str(STACK), "--set", "work.video.units=500", "--set", "resource.backend.purchase=spot")
    assert [(row["scenario"], row["month"], row["month_high"]) for row in own["scenarios"]] == [
        # 66.4216 − 36.0401 + 10.81203 + 26 and … + 18.02005 + 62
        ("work.video.units = 500, resource.backend.purchase = spot", "67.19353", "110.40155")
    ]
    free = run_json("estimate", str(STACK), "--free", "--margin", "10")
    # without 2.50 of logs, 0.90 of transfer, 0.50 of alarms: 67.7216, and a tenth
    assert (free["net"]["low"], free["margin"]["low"], free["month"]["low"]) == ("67.7216", "6.77216", "74.49376")


def test_mistakes_are_named() -> None:
    assert "[bad_scenario]" in error_of("estimate", str(STACK), "--scenario", "nothing", code=Exit.BAD_INPUT)
    assert "[bad_scenario]" in error_of("estimate", str(STACK), "--set", "resource.x.y=1", code=Exit.BAD_INPUT)
    missing = error_of("estimate", "none.toml", code=Exit.BAD_INPUT)
    assert missing == "outlay: none.toml cannot be read: No such file or directory [no_such_file]"


def test_a_purchase_without_a_price_stands_at_the_base_rate_and_is_said() -> None:
    Path("stack.toml").write_text(
        '[stack]\nname = "s"\n[resource.x]\nkind = "fargate"\nvcpu = 1\nmemory_gb = 2\npurchase = "half"\n'
    )
    shown = run("estimate", "stack.toml", "--brief")
    # 730 × (0.04048 + 2 × 0.004445)
    assert "$36.04" in shown
    assert "not as asked: x: fargate has no rate for purchase=half" in shown
    assert "too low" not in shown


def test_a_job_is_estimated_kept_and_compared() -> None:
    Path("job.toml").write_text(
        'margin_percent = 10\n[[step]]\nprovider = "openai"\nservice = "gpt-4o"\nusage = { output_tokens = 1000 }\n'
    )
    made = run("record", "--provider", "openai", "--service", "gpt-4o", "--usage", "output_tokens=3000", "--job", "v")
    assert made
    shown = run("estimate", "job.toml", "--job", "v", "--ledger", "outlay.db")
    assert "margin of 10 %" in shown
    assert "$0.011" in shown
    rows = run_json("estimated", "v")["rows"]
    # 0.01 estimated, 0.03 made
    assert [(row["estimated"], row["actual"], row["difference"]) for row in rows] == [("0.01", "0.03", "0.02")]


def test_the_central_banks_rates_price_what_was_told_in_euros() -> None:
    run("record", "--provider", "openai", "--service", "gpt-4o", "--usage", "output_tokens=1000")
    assert "rates brought" in run("prices", "exchange", "eur", "--since", "2026-10-01")
    assert "0 rates brought" in run("prices", "exchange", "EUR", "--since", "2026-10-01")
    with outlay.open("outlay.db") as ledger:
        receipt = ledger.record(
            provider="acme", service="x", reported_cost=outlay.Money.of("10", "EUR"), time="2026-10-31T12:00:00Z"
        )
        # A Saturday: one euro was 1.1172 dollars on Friday, 30 October 2026.
        assert receipt.total == outlay.Money.of("11.172")
        assert "one EUR was 1.1172 USD on 2026-10-30 by ECB reference rate" in receipt.explain()
    assert "[no_exchange_rate]" in error_of("prices", "exchange", "XAU", code=Exit.BAD_INPUT)
