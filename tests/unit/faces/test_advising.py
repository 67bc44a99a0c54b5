"""`outlay advise`: what is shown, said to it, and kept."""

from __future__ import annotations

import json
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
    with outlay.open("outlay.db") as ledger:
        # Failed calls that cost: 0.0025 + 0.009 each of 40, and a tenth of them for nothing.
        for number in range(40):
            ledger.record(
                provider="openai",
                service="gpt-4o",
                user="u1",
                feature="chat",
                usage={"input_tokens": 1000, "output_tokens": 900},
                status="failed" if number % 10 == 0 else "ok",
            )


def test_a_measure_is_shown_with_what_it_rests_on_accepted_and_its_effect_asked() -> None:
    shown = run("advise", "--explain")
    assert "Stop paying for failed calls of openai/gpt-4o for chat" in shown
    assert "seen: failed calls: 4" in shown
    assert "assumed: half of what failed calls cost, or all, can be avoided" in shown
    assert "none is accepted yet" in run("advise", "--effects")
    [row] = run_json("advise")["rows"]
    assert (
        run("advise", "--accept", row["id"], "--why", "checked before the call").strip() == f"{row['id']}: accepted"
    )
    assert run_json("advise")["rows"][0]["state"] == "accepted"
    [effect] = run_json("advise", "--effects")["rows"]
    # 40 calls for 0.46 in 28 days
    assert (effect["id"], effect["call_before"]) == (row["id"], "0.0115")
    run("advise", "--dismiss", "failures")
    assert run_json("advise")["rows"] == []
    assert [one["state"] for one in run_json("advise", "--all")["rows"]] == ["dismissed"]


def test_a_stack_adds_its_own_advice_and_together_is_less_than_the_sum() -> None:
    hours = {"backend": {name: [[20, 40]] * 336 for name in ("cpu", "memory")}}
    Path("metrics.json").write_text(json.dumps(hours))
    found = run_json("advise", str(STACK), "--metrics", "metrics.json")
    rules = {row["id"].rpartition("-")[0] for row in found["rows"]}
    assert {"rightsizing", "spot", "savings_plan", "reserved_1y_no_upfront", "logs", "bitrate", "failures"} <= rules
    together = found["together"]
    assert float(together["high"]) < float(together["sum_of_single_high"])
    assert [month["month"] for month in found["plan"]] == [1, 2, 3]
    ticks = run_json("advise", str(STACK), "--metrics", "metrics.json", "--checklist")["rows"]
    assert len(ticks) == 24
    assert {row["item"]: row["tick"] for row in ticks}["CPU and memory of ECS monitored"] == "done"


def test_a_stack_alone_needs_no_ledger() -> None:
    Path("outlay.db").unlink()
    found = run_json("advise", str(STACK))
    # Of what is estimated: 66.4216 of AWS and 5.20 of videos
    assert (found["cost"], found["calls"]) == ("71.6216", 0)
    assert "[no_ledger]" in error_of("advise", str(STACK), "--accept", "x", code=Exit.LEDGER)


def test_mistakes_are_named() -> None:
    assert "[no_such_advice]" in error_of("advise", "--accept", "nothing", code=Exit.NOT_FOUND)
    assert "[bad_option]" in error_of("advise", "--aws", code=Exit.BAD_INPUT)
    Path("metrics.json").write_text("[]")
    assert "[bad_metrics]" in error_of("advise", str(STACK), "--metrics", "metrics.json", code=Exit.BAD_INPUT)
