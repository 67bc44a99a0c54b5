"""Settings: the environment wins over outlay.toml, and mistakes are named."""

from __future__ import annotations

from pathlib import Path

import pytest

import outlay
from outlay.config import load_settings


def test_a_file_in_a_parent_folder_is_found_and_the_environment_wins(tmp_path: Path) -> None:
    (tmp_path / "outlay.toml").write_text('ledger = "spend.db"\nzone = "Europe/Berlin"\n')
    inner = tmp_path / "src" / "deep"
    inner.mkdir(parents=True)
    settings = load_settings(inner, {"OUTLAY_ZONE": "Asia/Tokyo"})
    assert (settings.ledger, settings.zone, settings.currency) == ("spend.db", "Asia/Tokyo", "USD")
    assert load_settings(Path("/"), {}).ledger == "outlay.db"


@pytest.mark.parametrize("text", ["ledger = ", "prices_age_days_max = 'soon'", "leger = 'spend.db'"])
def test_a_broken_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "outlay.toml").write_text(text)
    with pytest.raises(outlay.InvalidInput) as refused:
        load_settings(tmp_path, {})
    assert refused.value.code == "bad_config"
    assert "outlay.toml" in refused.value.message
    with pytest.raises(outlay.InvalidInput):
        load_settings(tmp_path, {"OUTLAY_CONFIG": str(tmp_path / "none.toml")})


def test_the_process_has_one_ledger_as_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTLAY_LEDGER", str(tmp_path / "one.db"))
    first = outlay.current_ledger()
    assert outlay.current_ledger() is first
    first.close()
    again = outlay.current_ledger()
    assert again is not first
    again.close()
    assert (tmp_path / "one.db").exists()


def test_an_address_nobody_knows_is_refused() -> None:
    for address in ("mysql://localhost/outlay", "s3://bucket/outlay.db"):
        with pytest.raises(outlay.InvalidInput) as refused:
            outlay.open(address)
        assert refused.value.code == "unknown_address"
    with pytest.raises(outlay.InvalidInput):
        outlay.open("memory:", zone="Mars/Olympus")
    with pytest.raises(outlay.InvalidInput):
        outlay.open("memory:", synchronous="sometimes")
