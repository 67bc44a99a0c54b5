"""One table, four ways out."""

from __future__ import annotations

import io
import json
from decimal import Decimal

import pytest
from rich.console import Console

from outlay.faces.cli.render import (
    Bar,
    Column,
    Form,
    Named,
    Table,
    bar,
    csv_text,
    plain_text,
    print_rich,
    show,
    spark,
)
from outlay.money import Money

TABLE = Table(
    (
        Column("user", "user"),
        Column("cost", "cost", right=True),
        Column("bar", "", for_people=True),
        Column("failed", "failed", right=True, when_empty=False),
        Column("used", "used"),
    ),
    [
        [Named("ana", "ana"), Money(1_234_567_891_234_567), Bar(1.0), 0, {"images": 2}],
        [Named(None, "(no user)"), Money(150_200), Bar(0.001), 0, {}],
        ["=cmd()\x1b[2J", Money(-500_000_000_000), None, 0, {}],
    ],
    footer=["total", Money(7), None, 0, None],
    note="a note",
)


def test_people_see_points_in_line_sensible_digits_and_no_empty_column() -> None:
    assert plain_text(TABLE).splitlines() == _aligned()


def _aligned() -> list[str]:
    amounts = ["$1,234.57", "$0.0000001502", "-$0.50", "$0.000000000007"]
    before = max(len(text.split(".")[0]) for text in amounts)
    after = max(len(text.split(".")[1]) for text in amounts)
    texts = [f"{text.split('.')[0]:>{before}}.{text.split('.')[1]:<{after}}" for text in amounts]
    width = before + 1 + after
    names = ["ana", "(no user)", "=cmd()�[2J", "total"]
    bars = ["█" * 20, "▏", "", ""]
    used = ["images 2", "", "", ""]
    lines = [f"{'user':<10}  {'cost':>{width}}  {'':<20}  used"]
    lines += [
        f"{name:<10}  {text}  {drawn:<20}  {more}".rstrip()
        for name, text, drawn, more in zip(names, texts, bars, used, strict=True)
    ]
    return [*lines, "a note"]


def test_csv_is_exact_has_no_footer_and_runs_no_formula() -> None:
    assert csv_text(TABLE).splitlines() == [
        "user,cost,failed,used",
        'ana,1234.567891234567,0,"{""images"":2}"',
        ",0.0000001502,0,{}",
        "'=cmd()\x1b[2J,-0.50,0,{}",
    ]


def test_json_is_exact_decimal_text_and_null_where_there_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    show(Table(TABLE.columns, TABLE.rows[:2], facts={"total": Money(1), "at": [Decimal("1E-7")]}), Form.JSON)
    assert json.loads(capsys.readouterr().out) == {
        "total": "0.000000000001",
        "at": ["0.0000001"],
        "rows": [
            {"user": "ana", "cost": "1234.567891234567", "failed": 0, "used": {"images": 2}},
            {"user": None, "cost": "0.0000001502", "failed": 0, "used": {}},
        ],
    }


def test_a_terminal_gets_the_same_figures_and_no_sign_that_steers_it() -> None:
    out = io.StringIO()
    print_rich(TABLE, Console(file=out, width=120, force_terminal=True, color_system=None))
    text = out.getvalue()
    assert "$1,234.57" in text
    assert "(no user)" in text
    assert "\x1b[2J" not in text
    assert "failed" not in text


def test_bars_and_sparks_are_in_proportion() -> None:
    assert [bar(share, 4) for share in (0.0, 0.0001, 0.5, 0.53125, 1.0, 2.0)] == [
        "",
        "▏",
        "██",
        "██▏",
        "████",
        "████",
    ]
    assert spark([0, 1, 7, 14]) == "▁▁▄█"
    assert spark([0, 7, 14, 700], 14) == "▁▄██"
    assert spark([0, 0]) == "▁▁"
