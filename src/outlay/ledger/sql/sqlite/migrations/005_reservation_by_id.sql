-- Reservations stand in the order of their ids, which begin with the time: a reservation writes one page less.

CREATE TABLE reservation_by_id (
    id TEXT PRIMARY KEY,
    fingerprint BLOB NOT NULL,
    state INTEGER NOT NULL,          -- open, settled, released, expired
    started_at INTEGER NOT NULL,
    deadline INTEGER NOT NULL,
    shares BLOB NOT NULL,            -- JSON: what is held in which accounts
    estimate BLOB,                   -- msgpack of the row that expiry writes; NULL once it is over
    entry INTEGER                    -- the first entry of its event
) STRICT, WITHOUT ROWID;

INSERT INTO reservation_by_id
SELECT id, fingerprint, state, started_at, deadline, shares, estimate, entry FROM reservation;

DROP TABLE reservation;

ALTER TABLE reservation_by_id RENAME TO reservation;

CREATE INDEX reservation_deadline ON reservation (deadline) WHERE state = 0;
