-- The calls of the last 48 hours by their key, so that one that several captures see is booked once.

CREATE TABLE call_key (
    day INTEGER NOT NULL,            -- the UTC day of recorded_at: old ones go in one piece
    digest BLOB NOT NULL,
    recorded_at INTEGER NOT NULL,
    root INTEGER NOT NULL,           -- the first entry of the event
    seen INTEGER NOT NULL,           -- how many later captures of this call came
    PRIMARY KEY (day, digest)
) STRICT, WITHOUT ROWID;
