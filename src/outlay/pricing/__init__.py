"""Usage events become priced lines. Pure: no clock, no store, no network."""
