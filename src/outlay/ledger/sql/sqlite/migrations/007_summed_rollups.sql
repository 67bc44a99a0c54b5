-- Rollups that sum others, for the questions of who cost most: by day, by week from Monday, by month since the year 0,
-- and of each job.
CREATE TABLE rollup_daily_customer (
    day INTEGER NOT NULL,
    customer INTEGER NOT NULL,
    basis INTEGER NOT NULL,
    events INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    incomplete INTEGER NOT NULL,
    micro INTEGER NOT NULL,
    pico INTEGER NOT NULL,
    PRIMARY KEY (day, customer, basis)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollup_daily_project (
    day INTEGER NOT NULL,
    project INTEGER NOT NULL,
    basis INTEGER NOT NULL,
    events INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    incomplete INTEGER NOT NULL,
    micro INTEGER NOT NULL,
    pico INTEGER NOT NULL,
    PRIMARY KEY (day, project, basis)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollup_daily_team (
    day INTEGER NOT NULL,
    team INTEGER NOT NULL,
    basis INTEGER NOT NULL,
    events INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    incomplete INTEGER NOT NULL,
    micro INTEGER NOT NULL,
    pico INTEGER NOT NULL,
    PRIMARY KEY (day, team, basis)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollup_daily_user (
    day INTEGER NOT NULL,
    user INTEGER NOT NULL,
    basis INTEGER NOT NULL,
    events INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    incomplete INTEGER NOT NULL,
    micro INTEGER NOT NULL,
    pico INTEGER NOT NULL,
    PRIMARY KEY (day, user, basis)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollup_weekly_customer (
    week INTEGER NOT NULL,
    customer INTEGER NOT NULL,
    basis INTEGER NOT NULL,
    events INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    incomplete INTEGER NOT NULL,
    micro INTEGER NOT NULL,
    pico INTEGER NOT NULL,
    PRIMARY KEY (week, customer, basis)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollup_weekly_project (
    week INTEGER NOT NULL,
    project INTEGER NOT NULL,
    basis INTEGER NOT NULL,
    events INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    incomplete INTEGER NOT NULL,
    micro INTEGER NOT NULL,
    pico INTEGER NOT NULL,
    PRIMARY KEY (week, project, basis)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollup_weekly_team (
    week INTEGER NOT NULL,
    team INTEGER NOT NULL,
    basis INTEGER NOT NULL,
    events INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    incomplete INTEGER NOT NULL,
    micro INTEGER NOT NULL,
    pico INTEGER NOT NULL,
    PRIMARY KEY (week, team, basis)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollup_weekly_user (
    week INTEGER NOT NULL,
    user INTEGER NOT NULL,
    basis INTEGER NOT NULL,
    events INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    incomplete INTEGER NOT NULL,
    micro INTEGER NOT NULL,
    pico INTEGER NOT NULL,
    PRIMARY KEY (week, user, basis)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollup_monthly_customer (
    month INTEGER NOT NULL,
    customer INTEGER NOT NULL,
    basis INTEGER NOT NULL,
    events INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    incomplete INTEGER NOT NULL,
    micro INTEGER NOT NULL,
    pico INTEGER NOT NULL,
    PRIMARY KEY (month, customer, basis)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollup_monthly_project (
    month INTEGER NOT NULL,
    project INTEGER NOT NULL,
    basis INTEGER NOT NULL,
    events INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    incomplete INTEGER NOT NULL,
    micro INTEGER NOT NULL,
    pico INTEGER NOT NULL,
    PRIMARY KEY (month, project, basis)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollup_monthly_team (
    month INTEGER NOT NULL,
    team INTEGER NOT NULL,
    basis INTEGER NOT NULL,
    events INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    incomplete INTEGER NOT NULL,
    micro INTEGER NOT NULL,
    pico INTEGER NOT NULL,
    PRIMARY KEY (month, team, basis)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollup_monthly_user (
    month INTEGER NOT NULL,
    user INTEGER NOT NULL,
    basis INTEGER NOT NULL,
    events INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    incomplete INTEGER NOT NULL,
    micro INTEGER NOT NULL,
    pico INTEGER NOT NULL,
    PRIMARY KEY (month, user, basis)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollup_job_total (
    job INTEGER NOT NULL,
    events INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    incomplete INTEGER NOT NULL,
    micro INTEGER NOT NULL,
    pico INTEGER NOT NULL,
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    PRIMARY KEY (job)
) STRICT, WITHOUT ROWID;

-- What was folded before is in the rollups that they sum, also where its entries are gone.
INSERT INTO rollup_daily_customer
    (day, customer, basis, events, failed, unpriced, incomplete, micro, pico)
SELECT
    day, customer, basis, events, failed, unpriced, incomplete,
    micro + (pico - (pico % 1000000 + 1000000) % 1000000) / 1000000, (pico % 1000000 + 1000000) % 1000000
FROM (
    SELECT
        day, customer, basis,
        sum(events) AS events, sum(failed) AS failed, sum(unpriced) AS unpriced, sum(incomplete) AS incomplete,
        sum(micro) AS micro, sum(pico) AS pico
    FROM rollup_customer GROUP BY 1, 2, 3
) AS summed;

INSERT INTO rollup_daily_project
    (day, project, basis, events, failed, unpriced, incomplete, micro, pico)
SELECT
    day, project, basis, events, failed, unpriced, incomplete,
    micro + (pico - (pico % 1000000 + 1000000) % 1000000) / 1000000, (pico % 1000000 + 1000000) % 1000000
FROM (
    SELECT
        day, project, basis,
        sum(events) AS events, sum(failed) AS failed, sum(unpriced) AS unpriced, sum(incomplete) AS incomplete,
        sum(micro) AS micro, sum(pico) AS pico
    FROM rollup_project GROUP BY 1, 2, 3
) AS summed;

INSERT INTO rollup_daily_team
    (day, team, basis, events, failed, unpriced, incomplete, micro, pico)
SELECT
    day, team, basis, events, failed, unpriced, incomplete,
    micro + (pico - (pico % 1000000 + 1000000) % 1000000) / 1000000, (pico % 1000000 + 1000000) % 1000000
FROM (
    SELECT
        day, team, basis,
        sum(events) AS events, sum(failed) AS failed, sum(unpriced) AS unpriced, sum(incomplete) AS incomplete,
        sum(micro) AS micro, sum(pico) AS pico
    FROM rollup_team GROUP BY 1, 2, 3
) AS summed;

INSERT INTO rollup_daily_user
    (day, user, basis, events, failed, unpriced, incomplete, micro, pico)
SELECT
    day, user, basis, events, failed, unpriced, incomplete,
    micro + (pico - (pico % 1000000 + 1000000) % 1000000) / 1000000, (pico % 1000000 + 1000000) % 1000000
FROM (
    SELECT
        day, user, basis,
        sum(events) AS events, sum(failed) AS failed, sum(unpriced) AS unpriced, sum(incomplete) AS incomplete,
        sum(micro) AS micro, sum(pico) AS pico
    FROM rollup_user GROUP BY 1, 2, 3
) AS summed;

INSERT INTO rollup_weekly_customer
    (week, customer, basis, events, failed, unpriced, incomplete, micro, pico)
SELECT
    week, customer, basis, events, failed, unpriced, incomplete,
    micro + (pico - (pico % 1000000 + 1000000) % 1000000) / 1000000, (pico % 1000000 + 1000000) % 1000000
FROM (
    SELECT
        (day + 3 - ((day + 3) % 7 + 7) % 7) / 7 AS week, customer, basis,
        sum(events) AS events, sum(failed) AS failed, sum(unpriced) AS unpriced, sum(incomplete) AS incomplete,
        sum(micro) AS micro, sum(pico) AS pico
    FROM rollup_daily_customer GROUP BY 1, 2, 3
) AS summed;

INSERT INTO rollup_weekly_project
    (week, project, basis, events, failed, unpriced, incomplete, micro, pico)
SELECT
    week, project, basis, events, failed, unpriced, incomplete,
    micro + (pico - (pico % 1000000 + 1000000) % 1000000) / 1000000, (pico % 1000000 + 1000000) % 1000000
FROM (
    SELECT
        (day + 3 - ((day + 3) % 7 + 7) % 7) / 7 AS week, project, basis,
        sum(events) AS events, sum(failed) AS failed, sum(unpriced) AS unpriced, sum(incomplete) AS incomplete,
        sum(micro) AS micro, sum(pico) AS pico
    FROM rollup_daily_project GROUP BY 1, 2, 3
) AS summed;

INSERT INTO rollup_weekly_team
    (week, team, basis, events, failed, unpriced, incomplete, micro, pico)
SELECT
    week, team, basis, events, failed, unpriced, incomplete,
    micro + (pico - (pico % 1000000 + 1000000) % 1000000) / 1000000, (pico % 1000000 + 1000000) % 1000000
FROM (
    SELECT
        (day + 3 - ((day + 3) % 7 + 7) % 7) / 7 AS week, team, basis,
        sum(events) AS events, sum(failed) AS failed, sum(unpriced) AS unpriced, sum(incomplete) AS incomplete,
        sum(micro) AS micro, sum(pico) AS pico
    FROM rollup_daily_team GROUP BY 1, 2, 3
) AS summed;

INSERT INTO rollup_weekly_user
    (week, user, basis, events, failed, unpriced, incomplete, micro, pico)
SELECT
    week, user, basis, events, failed, unpriced, incomplete,
    micro + (pico - (pico % 1000000 + 1000000) % 1000000) / 1000000, (pico % 1000000 + 1000000) % 1000000
FROM (
    SELECT
        (day + 3 - ((day + 3) % 7 + 7) % 7) / 7 AS week, user, basis,
        sum(events) AS events, sum(failed) AS failed, sum(unpriced) AS unpriced, sum(incomplete) AS incomplete,
        sum(micro) AS micro, sum(pico) AS pico
    FROM rollup_daily_user GROUP BY 1, 2, 3
) AS summed;

INSERT INTO rollup_monthly_customer
    (month, customer, basis, events, failed, unpriced, incomplete, micro, pico)
SELECT
    month, customer, basis, events, failed, unpriced, incomplete,
    micro + (pico - (pico % 1000000 + 1000000) % 1000000) / 1000000, (pico % 1000000 + 1000000) % 1000000
FROM (
    SELECT
        CAST(strftime('%Y', day * 86400, 'unixepoch') AS INTEGER) * 12
            + CAST(strftime('%m', day * 86400, 'unixepoch') AS INTEGER) - 1 AS month, customer, basis,
        sum(events) AS events, sum(failed) AS failed, sum(unpriced) AS unpriced, sum(incomplete) AS incomplete,
        sum(micro) AS micro, sum(pico) AS pico
    FROM rollup_daily_customer GROUP BY 1, 2, 3
) AS summed;

INSERT INTO rollup_monthly_project
    (month, project, basis, events, failed, unpriced, incomplete, micro, pico)
SELECT
    month, project, basis, events, failed, unpriced, incomplete,
    micro + (pico - (pico % 1000000 + 1000000) % 1000000) / 1000000, (pico % 1000000 + 1000000) % 1000000
FROM (
    SELECT
        CAST(strftime('%Y', day * 86400, 'unixepoch') AS INTEGER) * 12
            + CAST(strftime('%m', day * 86400, 'unixepoch') AS INTEGER) - 1 AS month, project, basis,
        sum(events) AS events, sum(failed) AS failed, sum(unpriced) AS unpriced, sum(incomplete) AS incomplete,
        sum(micro) AS micro, sum(pico) AS pico
    FROM rollup_daily_project GROUP BY 1, 2, 3
) AS summed;

INSERT INTO rollup_monthly_team
    (month, team, basis, events, failed, unpriced, incomplete, micro, pico)
SELECT
    month, team, basis, events, failed, unpriced, incomplete,
    micro + (pico - (pico % 1000000 + 1000000) % 1000000) / 1000000, (pico % 1000000 + 1000000) % 1000000
FROM (
    SELECT
        CAST(strftime('%Y', day * 86400, 'unixepoch') AS INTEGER) * 12
            + CAST(strftime('%m', day * 86400, 'unixepoch') AS INTEGER) - 1 AS month, team, basis,
        sum(events) AS events, sum(failed) AS failed, sum(unpriced) AS unpriced, sum(incomplete) AS incomplete,
        sum(micro) AS micro, sum(pico) AS pico
    FROM rollup_daily_team GROUP BY 1, 2, 3
) AS summed;

INSERT INTO rollup_monthly_user
    (month, user, basis, events, failed, unpriced, incomplete, micro, pico)
SELECT
    month, user, basis, events, failed, unpriced, incomplete,
    micro + (pico - (pico % 1000000 + 1000000) % 1000000) / 1000000, (pico % 1000000 + 1000000) % 1000000
FROM (
    SELECT
        CAST(strftime('%Y', day * 86400, 'unixepoch') AS INTEGER) * 12
            + CAST(strftime('%m', day * 86400, 'unixepoch') AS INTEGER) - 1 AS month, user, basis,
        sum(events) AS events, sum(failed) AS failed, sum(unpriced) AS unpriced, sum(incomplete) AS incomplete,
        sum(micro) AS micro, sum(pico) AS pico
    FROM rollup_daily_user GROUP BY 1, 2, 3
) AS summed;

INSERT INTO rollup_job_total
    (job, events, failed, unpriced, incomplete, micro, pico, first_at, last_at)
SELECT
    job, events, failed, unpriced, incomplete,
    micro + (pico - (pico % 1000000 + 1000000) % 1000000) / 1000000, (pico % 1000000 + 1000000) % 1000000, first_at, last_at
FROM (
    SELECT
        job,
        sum(events) AS events, sum(failed) AS failed, sum(unpriced) AS unpriced, sum(incomplete) AS incomplete,
        sum(micro) AS micro, sum(pico) AS pico,
        min(first_at) AS first_at, max(last_at) AS last_at
    FROM rollup_job GROUP BY 1
) AS summed;
