"""CloudWatch Logs Insights: the questions about costs, asked of the lines of `EmfLog`, and a check of any query.

Logs Insights has no `eval`: an average is `avg()`, a sum of two fields is made by `fields` before `stats`. After
`stats` only what it names can be sorted by, so a day is named before it is grouped by.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from outlay.errors import InvalidInput
from outlay.instrument.emf import FIELDS

COMMANDS: Final = frozenset(
    (
        *("fields", "display", "filter", "filterIndex", "stats", "sort", "limit", "parse", "dedup", "pattern"),
        *("diff", "anomaly", "unmask", "unnest", "lookup", "join", "SOURCE"),
    )
)
"""docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CWL_QuerySyntax.html"""

STATS_MAX: Final = 2
_QUOTED: Final = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|/(?:[^/\\\n]|\\.)+/")
_AGGREGATE: Final = re.compile(r"\b(sum|avg|count|count_distinct|min|max|stddev|pct|median|earliest|latest)\s*\(")
_ALIAS: Final = re.compile(r"\bas\s+(`[^`]+`|[@\w.]+)", re.IGNORECASE)
_ORDER: Final = re.compile(r"\s+(asc|desc)$", re.IGNORECASE)


def queries(names: Mapping[str, str] | None = None) -> dict[str, str]:
    """The questions by name; `names` renames fields as `EmfLog(names=…)` does.

    Cost by day (UTC), the ten dearest users, cost and average by operation, tokens by model.
    """
    named = {name: (names or {}).get(name, name) for name in FIELDS}
    cost, user, operation = named["total_cost"], named["user_id"], named["operation"]
    model, asked, answered = named["model_id"], named["text_input_tokens"], named["text_output_tokens"]
    found = {
        "daily_cost": f"""filter ispresent({cost})
| fields {cost}, bin(1d) as day
| stats sum({cost}) as daily_cost by day
| sort day desc""",
        "dearest_users": f"""filter ispresent({cost}) and ispresent({user})
| stats sum({cost}) as user_total_cost by {user}
| sort user_total_cost desc
| limit 10""",
        "cost_by_operation": f"""filter ispresent({cost})
| stats sum({cost}) as operation_cost, count(*) as requests, avg({cost}) as avg_cost_per_request by {operation}
| sort operation_cost desc""",
        "tokens_by_model": f"""filter ispresent({asked})
| fields {asked}, {answered}, {model}, {asked} + {answered} as tokens
| stats sum({asked}) as total_input, sum({answered}) as total_output, sum(tokens) as total_tokens by {model}
| sort total_tokens desc""",
    }
    for query in found.values():
        check_query(query)
    return found


def spike_filter(above: str, names: Mapping[str, str] | None = None) -> str:
    """A filter pattern (FilterLogEvents, metric filters) for lines that cost more."""
    return f"{{ $.{(names or {}).get('total_cost', 'total_cost')} > {above} }}"


def check_query(query: str) -> None:
    """Raise InvalidInput `bad_query` for what Logs Insights would refuse or answer with nothing.

    Commands it does not have, parentheses and quotes that do not close, `stats` without an aggregate or a third one,
    a sort by a field that `stats` before it has not left, a limit that is no number.
    """
    known: set[str] | None = None
    stats = 0
    for command, rest in _commands(query):
        if command not in COMMANDS:
            raise _wrong(f"{command!r} is no command of Logs Insights")
        if rest.count("(") != rest.count(")"):
            raise _wrong(f"{command}: a parenthesis does not close")
        if command == "stats":
            stats += 1
            if stats > STATS_MAX or not _AGGREGATE.search(rest):
                raise _wrong("stats needs an aggregate, and stands at most twice")
            known = _left_by_stats(rest)
        elif command in ("fields", "display") and known is not None:
            known |= {found.strip("`") for found in _ALIAS.findall(rest)}
        elif command == "sort" and known is not None:
            _check_sort(rest, known)
        elif command == "limit" and not rest.isdigit():
            raise _wrong(f"limit {rest!r} is no number")


def _commands(query: str) -> list[tuple[str, str]]:
    bare = _QUOTED.sub("''", query)
    if bare.count("'") % 2 or '"' in bare:
        raise _wrong("a quote does not close")
    found = []
    for part in bare.split("|"):
        command, _, rest = part.strip().partition(" ")
        if not command:
            raise _wrong("there is an empty command between two |")
        found.append((command, rest.strip()))
    return found


def _left_by_stats(rest: str) -> set[str]:
    aggregates, _, groups = rest.partition(" by ")
    left = {found.strip("`") for found in _ALIAS.findall(aggregates)}
    for group in groups.split(","):
        alias = _ALIAS.search(group)
        left.add((alias[1] if alias else group.strip()).strip("`"))
    return left


def _check_sort(rest: str, known: set[str]) -> None:
    for part in rest.split(","):
        by = _ORDER.sub("", part.strip())
        if by.strip("`") not in known and not _AGGREGATE.match(by):
            raise _wrong(f"sort by {by!r} after stats, which left only {', '.join(sorted(known))}")


def _wrong(message: str) -> InvalidInput:
    return InvalidInput(f"this Logs Insights query cannot run: {message}", code="bad_query")
