"""The commands in process: what they write, and the exit code of each kind of error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import outlay
from outlay.faces.cli.commands import app
from outlay.faces.cli.exits import Exit, code_of
from outlay.faces.cli.reference import help_texts, reference

ROOT = Path(__file__).parent.parent.parent.parent
STORY = ("--provider", "openai", "--service", "gpt-4o", "--time", "2026-03-01T10:00:00Z")


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("OUTLAY_LEDGER", "OUTLAY_CONFIG", "OUTLAY_ZONE"):
        monkeypatch.delenv(name, raising=False)


def run(*arguments: str, code: Exit = Exit.OK, input: str | None = None) -> str:
    result = CliRunner().invoke(app, list(arguments), input=input)
    assert result.exit_code == code, f"{result.output}\n{result.stderr}\n{result.exception!r}"
    assert "Traceback" not in result.stderr
    return result.stdout


def run_json(*arguments: str, code: Exit = Exit.OK) -> Any:
    return json.loads(run(*arguments, "--json", code=code))


def error_of(*arguments: str, code: Exit, input: str | None = None) -> str:
    result = CliRunner().invoke(app, list(arguments), input=input)
    assert result.exit_code == code, f"{result.output}\n{result.stderr}\n{result.exception!r}"
    assert result.stdout == ""
    [line] = result.stderr.splitlines()
    return line


def record(*more: str) -> Any:
    return run_json("record", *STORY, "-u", "input_tokens=1000000", "-u", "output_tokens=100000", *more)


def test_a_call_is_recorded_explained_corrected_and_cancelled() -> None:
    # gpt-4o: 1,000,000 × 2.50 / 1M + 100,000 × 10 / 1M = 2.50 + 1.00
    assert record("--id", "one", "--job", "video-7")["total"] == "3.50"
    assert record("--id", "one", "--job", "video-7")["outcome"] == "exists"
    assert "1,000,000 × 2.5 USD" in run("explain", "one")
    assert "1,000,000 × 2.5 USD" in run("explain", "video-7")
    corrected = run_json("correct", "one", "--reason", "counted twice", "--usage", "input_tokens=500000")
    assert corrected["total"] == "1.25"
    assert "reversal" in run("event", "one")
    assert run_json("costs", "--by", "")["total"]["cost"] == "1.25"
    run("correct", "one", "--reason", "never happened", "--cancel")
    assert run_json("costs")["total"]["cost"] == "0.00"
    assert "clean" in run("audit")


def test_what_a_call_would_cost_is_said_and_not_kept() -> None:
    assert record("--dry-run")["total"] == "3.50"
    assert run_json("costs")["total"]["events"] == 0


def test_a_provider_s_answer_is_recorded_from_standard_input() -> None:
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "gpt-4o-2024-08-06",
        "choices": [{"message": {"role": "assistant", "content": "secret words"}}],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100},
    }
    shown = run("record", "--response", "-", "--feature", "summary", "--json", input=json.dumps(body))
    assert json.loads(shown)["total"] == "0.0035"  # 1000 × 2.50 / 1M + 100 × 10 / 1M
    assert "secret words" not in shown


def test_names_to_group_by_may_be_repeated() -> None:
    run("record", *STORY, "--usage", "output_tokens=100000")
    assert run_json("costs", "--by", "day", "--by", "provider")["by"] == ["day", "provider"]


def test_costs_group_filter_and_cut_by_time() -> None:
    record("--feature", "story", "--user", "ana", "--tag", "tier=a")
    record("--feature", "story", "--time", "2026-03-02T23:30:00Z")
    record("--feature", "images", "--user", "ben", "--time", "2026-03-05T00:00:00Z")
    by_day = run_json("costs", "--by", "day,feature", "--until", "2026-03-05")
    assert [(row["day"], row["feature"], row["cost"]) for row in by_day["rows"]] == [
        ("2026-03-01", "story", "3.50"),
        ("2026-03-02", "story", "3.50"),
    ]
    berlin = run_json("costs", "--by", "day", "--zone", "Europe/Berlin", "--where", "feature=story")
    assert [row["day"] for row in berlin["rows"]] == ["2026-03-01", "2026-03-03"]
    assert [
        row["user"] for row in run_json("costs", "--by", "user", "--where", "user=", "--where", "user=ana")["rows"]
    ]
    without = run_json("costs", "--by", "user", "--where", "user=")
    assert [(row["user"], row["cost"]) for row in without["rows"]] == [(None, "3.50")]
    assert "(no user)" in run("costs", "--by", "user")
    assert run("costs", "--by", "tag.tier", "--where", "tag.tier=a", "--csv").splitlines()[1].startswith("a,3.50,1,")


def test_categories_come_from_outlay_toml_and_hold_for_the_past(tmp_path: Path) -> None:
    record("--feature", "story-1", "--operation", "chat")
    record("--feature", "story-2", "--operation", "chat")
    record("--operation", "generate_image")
    assert "no_categories" in error_of("costs", "--category", code=Exit.BAD_INPUT)
    (tmp_path / "outlay.toml").write_text('[categories]\nwriting = ["feature:story*"]\n')
    found = run_json("costs", "--category")
    assert [(row["category"], row["cost"]) for row in found["rows"]] == [("writing", "7.00"), (None, "3.50")]
    assert found["total"]["cost"] == "10.50"
    only = run_json("costs", "--by", "day", "--where", "category=writing")
    assert [(row["day"], row["cost"]) for row in only["rows"]] == [("2026-03-01", "7.00")]
    assert only["total"]["cost"] == "7.00"
    assert [row["category"] for row in run_json("top", "categories")["rows"]] == ["writing", None]


def test_top_leaves_out_what_cost_less_and_keeps_to_the_limit() -> None:
    record("--job", "dear")
    record("--job", "dear")
    record("--job", "cheap", "-u", "cache_read_tokens=1000000")
    assert [row["job"] for row in run_json("top", "jobs", "--min", "3.51")["rows"]] == ["dear"]
    assert [row["job"] for row in run_json("top", "jobs", "-n", "1")["rows"]] == ["dear"]
    assert run_json("top", "jobs", "--since", "1h")["rows"] == []


def test_a_finished_job_has_a_cost_per_unit() -> None:
    record("--job", "video-7", "--step", "clip-1", "--request", "r1")
    record("--job", "video-7", "--step", "clip-2", "--status", "failed", "--error", "timeout")
    assert "$1.75" in run("finish", "video-7", "--units", "4")
    found = run_json("job", "video-7")
    assert (found["total"], found["units"], found["cost_per_unit"], found["failed"]) == ("7.00", 4, "1.75", 1)
    assert run("job", "video-7", "--csv").count("\n") == 3
    assert "clip-2" in run("job", "video-7")
    assert run_json("job", "--request", "r1")["total"] == "3.50"


def test_what_was_finished_earlier_counts_on_its_own_day() -> None:
    record("--job", "video-7", "--time", "2026-11-01T10:00:00Z")
    run("finish", "video-7", "--units", "4", "--time", "2026-11-01T10:05:00Z")
    report = json.loads(run("report", "--since", "2026-11-01", "--until", "2026-11-03", "--form", "json"))
    found = [(row["date"], row["finished"]) for row in report["sections"]["daily"]]
    assert found == [("2026-11-01", 4)]


def test_a_call_keeps_how_long_it_took_and_what_it_was_asked_with() -> None:
    id = record("--duration-s", "2.4", "--parameter", "max_tokens=300", "--parameter", "effort=high")["id"]
    kept = run_json("event", id)
    assert (kept["duration_s"], kept["parameters"]) == ("2.4", {"max_tokens": 300, "effort": "high"})


def test_what_has_no_price_is_shown_as_unpriced_and_never_as_zero() -> None:
    record("--id", "one", "--job", "video-7")
    run("record", "-p", "acme", "-s", "img", "-u", "images=5", "--time", "2026-03-01T10:00:00Z", "--job", "video-7")
    shown = run("costs", "--by", "service").splitlines()
    assert [line.split()[:2] for line in shown] == [
        ["service", "cost"],
        ["gpt-4o", "$3.50"],
        ["img", "unpriced"],
        ["total", "$3.50"],
    ]
    # For programs the sum of what is known stays a number, with the count of what is not.
    (_, row) = run_json("costs", "--by", "service")["rows"]
    assert (row["cost"], row["events"], row["unpriced"], row["average"]) == ("0.00", 1, 1, None)
    job = run("job", "video-7")
    assert [line.split()[1] for line in job.splitlines() if line.startswith(("unpriced", "acme/img"))] == [
        "1",
        "unpriced",
    ]
    with outlay.open("outlay.db") as ledger:
        assert "$3.50 in 2 calls, 1 of them unpriced" in ledger.job("video-7").explain()


def test_a_price_of_one_s_own_is_added_shown_and_brings_the_past_up_to_date_on_demand() -> None:
    run("record", "-p", "acme", "-s", "img", "-u", "images=5", "--time", "2026-03-01T10:00:00Z", "--id", "x")
    assert run_json("event", "x")["pricing_status"] == "unpriced"
    added = run_json(
        "prices", "add", "-p", "acme", "-s", "img", "-m", "images", "--price", "0.02", "--source", "deal"
    )
    assert [(row["service"], row["price"]) for row in added["rows"]] == [("img", "0.02")]
    dry = run_json("reprice", "--dry-run")
    assert (dry["changed"], dry["difference"]) == (1, "0.10")  # 5 × 0.02
    assert "not_confirmed" in error_of("reprice", code=Exit.BAD_INPUT)
    assert run_json("event", "x")["pricing_status"] == "unpriced"
    run("reprice", "--yes")
    assert run_json("event", "x")["total"] == "0.10"
    assert "0.02" in run("prices", "show", "acme", "img")
    typo = ("prices", "add", "-p", "acme", "-s", "img", "-m", "images", "--price", "20")
    assert "suspicious_price" in error_of(*typo, code=Exit.BAD_INPUT)
    run(*typo, "--force")
    assert [row["price"] for row in run_json("prices", "history")["prices_of_your_own"]] == ["0.02", "20"]
    assert "no_source" in [row["code"] for row in run_json("prices", "check", code=Exit.FINDING)["rows"]]


def test_prices_can_be_read_without_a_ledger() -> None:
    assert "openai" in run("prices", "show")
    assert "gpt-4o" in run("prices", "show", "openai")
    rates = run_json("prices", "show", "openai", "gpt-4o")["rows"]
    assert {rate["meter"] for rate in rates} >= {"input_tokens", "output_tokens"}
    assert all(rate["source"] for rate in rates)
    assert {row["meter"] for row in run_json("prices", "meters")["rows"]} >= {"input_tokens", "gb_hours", "runs"}
    assert not Path("outlay.db").exists()


def test_the_catalogue_in_force_compared_with_the_shipped_one_differs_in_nothing() -> None:
    record()
    assert run_json("prices", "diff")["rows"] == []
    assert CliRunner().invoke(app, ["prices", "sync", "--shipped"]).stderr.endswith("is this one already\n")
    assert "no_such_catalogue" in error_of("prices", "diff", "zzz", code=Exit.NOT_FOUND)


def test_care_for_the_ledger_asks_before_it_drops_and_proves_what_is_left() -> None:
    record("--user", "ana", "--customer", "acme")
    assert "not_confirmed" in error_of("retain", "--days", "1", code=Exit.BAD_INPUT)
    assert run_json("forget", "--user", "ana", "--yes")["events_touched"] == 1
    assert "ana" not in run("costs", "--by", "user")
    with outlay.open("outlay.db") as ledger:
        logged = [(one.who, one.action, one.subject, one.detail) for one in ledger.store.logged_changes(10)]
    assert logged == [("cli", "forgotten", "user", "1 events")], "that somebody was, and not who"
    assert run_json("backup", "copy.db")["bytes"] > 0
    assert run_json("costs", "-l", "copy.db")["total"]["cost"] == "3.50"
    assert run_json("retain", "--days", "1", "--yes")["events_dropped"] == 1
    assert run_json("costs")["total"]["cost"] == "3.50"
    assert run_json("audit")["ok"] is True
    assert run_json("doctor")["outlay"] == outlay.__version__


def test_an_export_is_imported_again_into_the_same_events(tmp_path: Path) -> None:
    record("--id", "a", "--tag", "x=@y", "--condition", "service_tier=default", "--user", "ana", "--count", "3")
    record("--id", "b", "--status", "failed", "--error", "no, really", "--reported-cost", "9.99")
    total = run_json("costs", "--by", "user,tag.x,status")
    for form, name in (((), "events.jsonl"), (("--csv",), "events.csv")):
        (tmp_path / name).write_text(run("export", *form))
        assert run_json("import", name)["known_already"] == 2, f"{name} into the ledger it came from"
        assert run_json("import", name, "-l", f"{name}.db")["events_booked"] == 2
        assert run_json("costs", "--by", "user,tag.x,status", "-l", f"{name}.db")["rows"] == total["rows"]


@pytest.mark.parametrize(
    ("arguments", "code", "name"),
    [
        (("costs", "-l", "none.db"), Exit.LEDGER, "no_ledger"),
        (("costs", "--by", "nonsense", "-l", "memory:"), Exit.BAD_INPUT, "unknown_dimension"),
        (("costs", "--json", "--csv", "-l", "memory:"), Exit.BAD_INPUT, "bad_option"),
        (("costs", "--since", "soon", "-l", "memory:"), Exit.BAD_INPUT, "bad_time"),
        (("costs", "--since", "today", "--until", "yesterday", "-l", "memory:"), Exit.BAD_INPUT, "time_reversed"),
        (("costs", "--zone", "Mars/Olympus", "--since", "7d", "-l", "memory:"), Exit.BAD_INPUT, "unknown_zone"),
        (("costs", "--where", "feature", "-l", "memory:"), Exit.BAD_INPUT, "bad_option"),
        (("record", "-p", "a", "-s", "b", "-u", "input_token=1", "-l", "memory:"), Exit.BAD_INPUT, "unknown_meter"),
        (("record", "-p", "a", "-l", "memory:"), Exit.BAD_INPUT, "missing_field"),
        (("record", "-p", "a", "-s", "b", "-u", "images=1", "-u", "images=2"), Exit.BAD_INPUT, "bad_option"),
        (("correct", "x", "--reason", "y", "-l", "memory:"), Exit.BAD_INPUT, "bad_option"),
        (("forget", "--yes", "-l", "memory:"), Exit.BAD_INPUT, "bad_option"),
        (("job", "none", "-l", "memory:"), Exit.NOT_FOUND, "no_such_job"),
        (("event", "none", "-l", "memory:"), Exit.NOT_FOUND, "no_such_event"),
        (("explain", "none", "-l", "memory:"), Exit.NOT_FOUND, "not_found"),
        (("prices", "show", "nobody", "nothing"), Exit.NOT_FOUND, "no_such_price"),
        (("prices", "show", "nobody"), Exit.NOT_FOUND, "no_such_price"),
        (("prices", "add", "-p", "a", "-l", "memory:"), Exit.BAD_INPUT, "missing_field"),
        (("import", "none.jsonl", "-l", "memory:"), Exit.BAD_INPUT, "no_such_file"),
        (("demo", "--start", "soon"), Exit.BAD_INPUT, "bad_time"),
        (("demo", "--start", "2999-01-01", "-l", "memory:"), Exit.BAD_INPUT, "time_in_future"),
    ],
)
def test_every_error_is_one_line_with_its_code_and_the_exit_code_says_the_kind(
    arguments: tuple[str, ...], code: Exit, name: str
) -> None:
    line = error_of(*arguments, code=code)
    assert line.startswith("outlay: ")
    assert line.endswith(f"[{name}]")


def test_a_reused_id_with_another_body_is_bad_input() -> None:
    record("--id", "one")
    again = ("record", *STORY, "--id", "one", "-u", "input_tokens=7")
    assert "exists_with_different_usage" in error_of(*again, code=Exit.BAD_INPUT)


def test_a_file_that_is_no_ledger_is_a_ledger_error(tmp_path: Path) -> None:
    (tmp_path / "noise.db").write_bytes(b"this is not a database, " * 100)
    assert "[corrupt]" in error_of("costs", "-l", "noise.db", code=Exit.LEDGER)


def test_every_error_of_outlay_has_an_exit_code() -> None:
    def kinds(kind: type[outlay.OutlayError]) -> list[type[outlay.OutlayError]]:
        return [kind, *(each for child in kind.__subclasses__() for each in kinds(child))]

    codes = {kind.__name__: code_of(kind.__new__(kind)) for kind in kinds(outlay.OutlayError)}
    assert codes["AmbiguousId"] == Exit.NOT_FOUND
    assert codes["LedgerCorrupt"] == codes["SchemaTooNew"] == Exit.LEDGER
    assert codes["EventConflict"] == codes["MissingExtra"] == codes["PriceBookError"] == Exit.BAD_INPUT


def test_docs_cli_md_says_what_help_says() -> None:
    assert (ROOT / "docs" / "cli.md").read_text() == reference(), (
        "run python -m outlay.faces.cli.reference > docs/cli.md"
    )


def test_every_command_and_every_option_has_help() -> None:
    texts = dict(help_texts())
    assert len(texts) > 30, "groups and what is in them"
    for name, text in texts.items():
        body = [line for line in text.splitlines()[1:] if line.strip()]
        assert not body[0].startswith("Options"), f"{name} says nothing of itself"
        for line in body[body.index("Options:") :]:
            option = line.strip()
            if option.startswith("-"):
                assert "  " in option, f"{name}: {option} has no help"
