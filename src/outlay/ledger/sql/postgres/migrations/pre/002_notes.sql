-- What the watcher knows: alert rules, alerts and what became of them, how far it has read, which reports went out.
-- The body is JSON of which the store knows nothing; only what is live is looked at in every round.
CREATE TABLE note (
    kind text NOT NULL,
    id text NOT NULL,
    at bigint NOT NULL,
    live boolean NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (kind, id)
);

CREATE INDEX note_at ON note (kind, at);

CREATE INDEX note_live ON note (kind, at) WHERE live;
