-- What the watcher knows: alert rules, alerts and what became of them, how far it has read, which reports went out.
-- The body is JSON of which the store knows nothing; only what is live is looked at in every round.

CREATE TABLE note (
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    at INTEGER NOT NULL,
    live INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX note_at ON note (kind, at);

CREATE INDEX note_live ON note (kind, at) WHERE live = 1;
