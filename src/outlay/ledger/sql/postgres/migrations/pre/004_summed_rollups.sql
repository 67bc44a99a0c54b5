-- Rollups that sum others, for the questions of who cost most: by day, by week from Monday, by month since the year 0,
-- and of each job.
CREATE TABLE rollup_daily_customer (
    day integer NOT NULL,
    customer integer NOT NULL,
    basis smallint NOT NULL,
    events bigint NOT NULL,
    failed bigint NOT NULL,
    unpriced bigint NOT NULL,
    incomplete bigint NOT NULL,
    micro bigint NOT NULL,
    pico integer NOT NULL,
    PRIMARY KEY (day, customer, basis)
);

CREATE TABLE rollup_daily_project (
    day integer NOT NULL,
    project integer NOT NULL,
    basis smallint NOT NULL,
    events bigint NOT NULL,
    failed bigint NOT NULL,
    unpriced bigint NOT NULL,
    incomplete bigint NOT NULL,
    micro bigint NOT NULL,
    pico integer NOT NULL,
    PRIMARY KEY (day, project, basis)
);

CREATE TABLE rollup_daily_team (
    day integer NOT NULL,
    team integer NOT NULL,
    basis smallint NOT NULL,
    events bigint NOT NULL,
    failed bigint NOT NULL,
    unpriced bigint NOT NULL,
    incomplete bigint NOT NULL,
    micro bigint NOT NULL,
    pico integer NOT NULL,
    PRIMARY KEY (day, team, basis)
);

CREATE TABLE rollup_daily_user (
    day integer NOT NULL,
    "user" integer NOT NULL,
    basis smallint NOT NULL,
    events bigint NOT NULL,
    failed bigint NOT NULL,
    unpriced bigint NOT NULL,
    incomplete bigint NOT NULL,
    micro bigint NOT NULL,
    pico integer NOT NULL,
    PRIMARY KEY (day, "user", basis)
);

CREATE TABLE rollup_weekly_customer (
    week integer NOT NULL,
    customer integer NOT NULL,
    basis smallint NOT NULL,
    events bigint NOT NULL,
    failed bigint NOT NULL,
    unpriced bigint NOT NULL,
    incomplete bigint NOT NULL,
    micro bigint NOT NULL,
    pico integer NOT NULL,
    PRIMARY KEY (week, customer, basis)
);

CREATE TABLE rollup_weekly_project (
    week integer NOT NULL,
    project integer NOT NULL,
    basis smallint NOT NULL,
    events bigint NOT NULL,
    failed bigint NOT NULL,
    unpriced bigint NOT NULL,
    incomplete bigint NOT NULL,
    micro bigint NOT NULL,
    pico integer NOT NULL,
    PRIMARY KEY (week, project, basis)
);

CREATE TABLE rollup_weekly_team (
    week integer NOT NULL,
    team integer NOT NULL,
    basis smallint NOT NULL,
    events bigint NOT NULL,
    failed bigint NOT NULL,
    unpriced bigint NOT NULL,
    incomplete bigint NOT NULL,
    micro bigint NOT NULL,
    pico integer NOT NULL,
    PRIMARY KEY (week, team, basis)
);

CREATE TABLE rollup_weekly_user (
    week integer NOT NULL,
    "user" integer NOT NULL,
    basis smallint NOT NULL,
    events bigint NOT NULL,
    failed bigint NOT NULL,
    unpriced bigint NOT NULL,
    incomplete bigint NOT NULL,
    micro bigint NOT NULL,
    pico integer NOT NULL,
    PRIMARY KEY (week, "user", basis)
);

CREATE TABLE rollup_monthly_customer (
    month integer NOT NULL,
    customer integer NOT NULL,
    basis smallint NOT NULL,
    events bigint NOT NULL,
    failed bigint NOT NULL,
    unpriced bigint NOT NULL,
    incomplete bigint NOT NULL,
    micro bigint NOT NULL,
    pico integer NOT NULL,
    PRIMARY KEY (month, customer, basis)
);

CREATE TABLE rollup_monthly_project (
    month integer NOT NULL,
    project integer NOT NULL,
    basis smallint NOT NULL,
    events bigint NOT NULL,
    failed bigint NOT NULL,
    unpriced bigint NOT NULL,
    incomplete bigint NOT NULL,
    micro bigint NOT NULL,
    pico integer NOT NULL,
    PRIMARY KEY (month, project, basis)
);

CREATE TABLE rollup_monthly_team (
    month integer NOT NULL,
    team integer NOT NULL,
    basis smallint NOT NULL,
    events bigint NOT NULL,
    failed bigint NOT NULL,
    unpriced bigint NOT NULL,
    incomplete bigint NOT NULL,
    micro bigint NOT NULL,
    pico integer NOT NULL,
    PRIMARY KEY (month, team, basis)
);

CREATE TABLE rollup_monthly_user (
    month integer NOT NULL,
    "user" integer NOT NULL,
    basis smallint NOT NULL,
    events bigint NOT NULL,
    failed bigint NOT NULL,
    unpriced bigint NOT NULL,
    incomplete bigint NOT NULL,
    micro bigint NOT NULL,
    pico integer NOT NULL,
    PRIMARY KEY (month, "user", basis)
);

CREATE TABLE rollup_job_total (
    job integer NOT NULL,
    events bigint NOT NULL,
    failed bigint NOT NULL,
    unpriced bigint NOT NULL,
    incomplete bigint NOT NULL,
    micro bigint NOT NULL,
    pico integer NOT NULL,
    first_at bigint NOT NULL,
    last_at bigint NOT NULL,
    PRIMARY KEY (job)
);
