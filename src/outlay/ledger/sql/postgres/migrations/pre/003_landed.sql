-- The last transaction of each client's connection. Where a COMMIT was not answered, this row tells whether it landed: a
-- server that crashed gives the numbers of transactions that it lost to others, so theirs tells nothing.
CREATE TABLE landed (
    client bigint PRIMARY KEY,       -- a random number for each connection
    xact bigint NOT NULL,
    at timestamptz NOT NULL
) WITH (fillfactor = 50);
