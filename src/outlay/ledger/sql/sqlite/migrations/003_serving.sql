-- What servers share: access keys, the log of changes, leases.

-- The body is JSON of which the store knows nothing; it holds the SHA-256 of the key, never the key.
CREATE TABLE access_key (
    id TEXT PRIMARY KEY,
    body BLOB NOT NULL,
    used_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE change_log (
    number INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    who TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;

CREATE TABLE lease (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    until_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
