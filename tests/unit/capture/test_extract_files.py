"""The providers' files are sound, and a new provider is a new file and nothing else."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from outlay.capture import detect, profiles
from outlay.capture.extract import extract
from outlay.capture.paths import parse, predicate

PAGE = Path(__file__).parents[3] / "docs" / "responses.md"


@pytest.mark.parametrize("head", profiles.heads().values(), ids=lambda head: head.file)
def test_a_file_compiles_and_describes_something(head: profiles.Profile) -> None:
    for pattern in (*head.hosts, *head.strip, *head.opaque):
        re.compile(pattern)
    for sign in (*head.signs, *head.sure_signs):
        predicate(sign)
    described = profiles.flavours(head.file)
    assert any(flavour.usage for flavour in described)
    assert all(flavour.when or flavour.url for flavour in described)
    assert head.title


def test_no_two_providers_share_a_name() -> None:
    names = [name for head in profiles.heads().values() for name in {head.id, *head.aliases}]
    assert sorted(names) == sorted(set(names))


def test_every_include_names_a_flavour() -> None:
    for head in profiles.heads().values():
        for reference in head.include:
            file, _, name = reference.partition(".")
            assert name == "*" or name in {flavour.name for flavour in profiles.flavours(file)}, (head.id, reference)


@pytest.fixture
def a_file_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The example of the page, as a file beside the others."""
    example = re.search(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert example
    folder = tmp_path / "data"
    shutil.copytree(profiles.DATA, folder)
    (folder / "acme.toml").write_text(example[1])
    caches = (profiles.heads, profiles.flavours, profiles._tables, detect._names)
    monkeypatch.setattr(profiles, "DATA", folder)
    for cache in caches:
        cache.cache_clear()
    yield
    monkeypatch.undo()
    for cache in caches:
        cache.cache_clear()


@pytest.mark.usefixtures("a_file_more")
def test_a_new_provider_is_a_new_file() -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 3, "reasoning_tokens": 20, "total_tokens": 28}
    body = {"object": "chat.completion", "model": "acme-1", "choices": [{}], "usage": usage}
    found = extract(body, url="https://api.acme.example/v1/chat/completions")
    assert (found.provider, found.service) == ("acme", "acme-1")
    assert found.usage == {"input_tokens": 5, "output_tokens": 23, "output_reasoning_tokens": 20}


@pytest.mark.parametrize("text", ["usage.x#sum", "a[b"])
def test_a_term_that_the_language_does_not_know_is_an_error_of_the_file(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text)):
        parse(text)


def test_no_file_is_read_before_the_first_answer() -> None:
    source = "import sys, outlay.capture.extract; print('tomllib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
