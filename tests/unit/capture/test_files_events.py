"""Files of events: nothing lost, nothing twice, no prompt kept."""

from __future__ import annotations

import gzip
import io
import json
from decimal import Decimal
from pathlib import Path

import pytest

from outlay.capture.files import EventReader, FileEvent
from outlay.capture.lines import BadLine, contents_of, files_under, open_bytes
from outlay.errors import InvalidInput

SEED_LINE = (
    '{"timestamp": "2025-11-01T10:00:00", "service": "gemini", "operation": "story_generation", "cost": 0.0002,'
    ' "metadata": {"topic": "whales", "num_stories": 3, "model": {"name": "flash"}}, "video_id": "video-1"}'
)


def read(text: str | bytes, reader: EventReader | None = None, source: str = "events") -> list[FileEvent | BadLine]:
    data = text if isinstance(text, bytes) else text.encode()
    return list((reader or EventReader(zone="UTC")).read(contents_of(io.BytesIO(data), source)))


def good(text: str | bytes, reader: EventReader | None = None) -> list[dict[str, object]]:
    found = read(text, reader)
    assert not [each for each in found if isinstance(each, BadLine)]
    return [each.fields for each in found if isinstance(each, FileEvent)]


def bad(text: str | bytes, reader: EventReader | None = None) -> list[tuple[int, str]]:
    return [(each.line, each.code) for each in read(text, reader) if isinstance(each, BadLine)]


def test_a_seed_cost_entry_becomes_an_event_that_keeps_its_cost_as_told() -> None:
    [fields] = good(SEED_LINE)
    assert fields.pop("id") == good(SEED_LINE)[0]["id"]
    assert fields == {
        "time": "2025-11-01T10:00:00Z",
        "provider": "google",
        "service": "gemini",
        "operation": "story_generation",
        "reported_cost": Decimal("0.0002"),
        "basis": "reported",
        "tags": {"num_stories": 3, "model.name": "flash"},
        "job": "video-1",
    }


def test_prompts_topics_and_texts_are_left_out_and_counted() -> None:
    metadata = {
        "prompt": "a whale at night",
        "topic": "whales",
        "input": {"text": "hello", "text_tokens": 4},
        "long": "x" * 201,
        "chars": 1200,
        "voice": "ana",
    }
    line = json.dumps({"time": "2026-01-01T00:00Z", "provider": "a", "service": "b", "metadata": metadata})
    reader = EventReader()
    [fields] = good(line, reader)
    assert fields["tags"] == {"input.text_tokens": 4, "chars": 1200, "voice": "ana"}
    assert reader.texts_dropped == {"prompt": 1, "topic": 1, "input.text": 1, "long": 1}
    [kept] = good(line, EventReader(keep=frozenset({"topic"})))
    assert kept["tags"] == {"topic": "whales", "input.text_tokens": 4, "chars": 1200, "voice": "ana"}
    assert kept["id"] == fields["id"], "what is kept does not change which event it is"


def test_importing_a_file_twice_gives_the_same_ids_and_identical_lines_in_it_count_each() -> None:
    text = f"{SEED_LINE}\n{SEED_LINE}\n{SEED_LINE}\n"
    ids = [fields["id"] for fields in good(text)]
    assert len(set(ids)) == 3
    assert [fields["id"] for fields in good(text)] == ids
    assert [fields["id"] for fields in good(gzip.compress(text.encode()) and text)] == ids
    assert [fields["id"] for fields in good(f"{SEED_LINE}\n")] == ids[:1]


def test_a_given_id_is_kept() -> None:
    [fields] = good('{"id": "mine", "time": "2026-01-01T00:00:00+02:00", "provider": "a", "service": "b"}')
    assert fields["id"] == "mine"
    assert fields["time"] == "2025-12-31T22:00:00Z"


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("{not json", "bad_json"),
        ('["a"]', "bad_json"),
        ('{"time": "2026-01-01T00:00:00Z", "provider": "a", "service": "b", "cost": -1}', "negative_cost"),
        ('{"time": "2026-01-01T00:00:00Z", "provider": "a", "service": "b", "cost": "much"}', "not_a_number"),
        ('{"time": "2026-01-01T00:00:00Z", "provider": "a", "service": "b", "cost": true}', "not_a_number"),
        ('{"time": "2026-01-01T00:00:00Z", "timestamp": "x", "provider": "a", "service": "b"}', "field_twice"),
        ('{"time": "yesterday", "provider": "a", "service": "b"}', "bad_time"),
        ('{"time": 5, "provider": "a", "service": "b"}', "bad_time"),
        ('{"provider": "a", "service": "b"}', "missing_time"),
        ('{"time": "2026-01-01T00:00:00Z", "provider": "a", "service": "b", "tags": "x"}', "bad_text"),
        ('{"time": "2026-01-01T00:00:00Z", "provider": "a", "service": "b", "success": "maybe"}', "unknown_status"),
    ],
)
def test_a_bad_line_is_kept_whole_with_its_place_and_reason_and_reading_goes_on(line: str, code: str) -> None:
    found = read(f"{SEED_LINE}\n\n{line}\n{SEED_LINE}")
    assert [type(each) for each in found] == [FileEvent, BadLine, FileEvent]
    rejected = found[1]
    assert isinstance(rejected, BadLine)
    assert (rejected.line, rejected.code, rejected.raw, rejected.source) == (3, code, line, "events")
    assert rejected.reason


def test_a_naive_time_needs_a_zone() -> None:
    assert bad(SEED_LINE, EventReader()) == [(1, "naive_time")]
    [fields] = good(SEED_LINE, EventReader(zone="America/New_York"))
    assert fields["time"] == "2025-11-01T14:00:00Z"


def test_the_shadow_of_a_float_is_rounded_to_the_digits_money_has() -> None:
    [fields] = good(SEED_LINE.replace("0.0002", "0.00015000000000000001"))
    assert fields["reported_cost"] == Decimal("0.00015")


def test_a_line_that_is_not_utf8_is_kept_byte_for_byte() -> None:
    found = read(SEED_LINE.encode() + b'\n{"caf\xe9": 1}\n')
    rejected = found[1]
    assert isinstance(rejected, BadLine)
    assert rejected.code == "not_utf8"
    assert rejected.raw.encode("utf-8", "surrogateescape") == b'{"caf\xe9": 1}'


def test_a_gzip_that_breaks_off_gives_what_came_before_and_says_so(tmp_path: Path) -> None:
    # Random ids, so that the packed text does not fit into one block that the cut would take away whole.
    lines = "\n".join(
        f'{{"id":"{n * 7919 % 100_003}","time":"2026-01-01T00:00Z","provider":"a","service":"b"}}'
        for n in range(9_000)
    )
    packed = gzip.compress(lines.encode())
    file = tmp_path / "events.jsonl.gz"
    file.write_bytes(packed[: len(packed) // 2])
    with open_bytes(str(file)) as stream:
        found = list(EventReader().read(contents_of(stream, "events")))
    assert 0 < len(found) - 1 < 9_000
    last = found[-1]
    assert isinstance(last, BadLine)
    assert last.code in ("broken_file", "bad_json")
    assert [each.code for each in found if isinstance(each, BadLine)][-1] == "broken_file"


def test_a_csv_of_events_fills_usage_tags_and_conditions() -> None:
    text = (
        "time,provider,service,input_tokens,usage.output_tokens,tag.team x,conditions.service_tier,count,feature\n"
        '2026-01-01T00:00Z,openai,gpt-4o,1200,350,"a, b",priority,2,summary\n'
        "2026-01-01T00:01Z,openai,gpt-4o,,,,,,\n"
    )
    first, second = good(text)
    assert first["usage"] == {"input_tokens": "1200", "output_tokens": "350"}
    assert first["tags"] == {"team x": "a, b"}
    assert first["conditions"] == {"service_tier": "priority"}
    assert (first["count"], first["feature"]) == (2, "summary")
    assert set(second) == {"time", "provider", "service", "id"}


def test_an_unknown_csv_column_is_named_before_anything_is_read() -> None:
    with pytest.raises(InvalidInput, match=r"tag\.featur") as caught:
        read("time,provider,service,featur\n2026-01-01T00:00Z,a,b,c\n")
    assert caught.value.code == "unknown_column"
    with pytest.raises(InvalidInput) as unknown:
        read("time,provider,service,usage.input_token\n")
    assert unknown.value.code == "unknown_meter"


def test_a_quote_that_never_closes_costs_its_own_line_only() -> None:
    text = (
        "time,provider,service,feature\n"
        '2026-01-01T00:00Z,a,b,"never closed\n'
        "2026-01-01T00:01Z,a,b,x\n"
        '2026-01-01T00:02Z,a,b,"two\nlines"\n'
        "2026-01-01T00:03Z,a,b\n"
    )
    found = read(text)
    assert [each.fields["feature"] for each in found if isinstance(each, FileEvent)] == ["x", "two\nlines"]
    assert bad(text) == [(2, "bad_csv"), (6, "bad_csv")]


def test_a_json_array_and_a_statement_are_refused_by_name() -> None:
    with pytest.raises(InvalidInput) as caught:
        read('[{"time": 1}]')
    assert caught.value.code == "json_array"
    with pytest.raises(InvalidInput) as statement:
        read("Date,Service,Resource,Cost,Usage,Unit\n")
    assert statement.value.code == "not_events"


def test_a_folder_is_read_in_order_without_hidden_and_rejects_files(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.jsonl", ".hidden", "a.rejects.jsonl", "sub/c.jsonl"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    assert [Path(file).name for file in files_under(str(tmp_path))] == ["a.jsonl", "b.jsonl", "c.jsonl"]
    with pytest.raises(InvalidInput, match="does not exist") as caught:
        files_under(str(tmp_path / "none"))
    assert caught.value.code == "no_such_file"


def test_an_empty_file_and_a_byte_order_mark_do_no_harm() -> None:
    assert read("\n\n") == []
    assert len(good(b"\xef\xbb\xbf" + SEED_LINE.encode())) == 1
