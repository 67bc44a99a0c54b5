-- No program folds any more that does not know them: from here on they are kept, and answer.
DELETE FROM rollup_daily_customer;
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

DELETE FROM rollup_daily_project;
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

DELETE FROM rollup_daily_team;
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

DELETE FROM rollup_daily_user;
INSERT INTO rollup_daily_user
    (day, "user", basis, events, failed, unpriced, incomplete, micro, pico)
SELECT
    day, "user", basis, events, failed, unpriced, incomplete,
    micro + (pico - (pico % 1000000 + 1000000) % 1000000) / 1000000, (pico % 1000000 + 1000000) % 1000000
FROM (
    SELECT
        day, "user", basis,
        sum(events) AS events, sum(failed) AS failed, sum(unpriced) AS unpriced, sum(incomplete) AS incomplete,
        sum(micro) AS micro, sum(pico) AS pico
    FROM rollup_user GROUP BY 1, 2, 3
) AS summed;

DELETE FROM rollup_weekly_customer;
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

DELETE FROM rollup_weekly_project;
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

DELETE FROM rollup_weekly_team;
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

DELETE FROM rollup_weekly_user;
INSERT INTO rollup_weekly_user
    (week, "user", basis, events, failed, unpriced, incomplete, micro, pico)
SELECT
    week, "user", basis, events, failed, unpriced, incomplete,
    micro + (pico - (pico % 1000000 + 1000000) % 1000000) / 1000000, (pico % 1000000 + 1000000) % 1000000
FROM (
    SELECT
        (day + 3 - ((day + 3) % 7 + 7) % 7) / 7 AS week, "user", basis,
        sum(events) AS events, sum(failed) AS failed, sum(unpriced) AS unpriced, sum(incomplete) AS incomplete,
        sum(micro) AS micro, sum(pico) AS pico
    FROM rollup_daily_user GROUP BY 1, 2, 3
) AS summed;

DELETE FROM rollup_monthly_customer;
INSERT INTO rollup_monthly_customer
    (month, customer, basis, events, failed, unpriced, incomplete, micro, pico)
SELECT
    month, customer, basis, events, failed, unpriced, incomplete,
    micro + (pico - (pico % 1000000 + 1000000) % 1000000) / 1000000, (pico % 1000000 + 1000000) % 1000000
FROM (
    SELECT
        (extract(year FROM date '1970-01-01' + day) * 12
            + extract(month FROM date '1970-01-01' + day))::integer - 1 AS month, customer, basis,
        sum(events) AS events, sum(failed) AS failed, sum(unpriced) AS unpriced, sum(incomplete) AS incomplete,
        sum(micro) AS micro, sum(pico) AS pico
    FROM rollup_daily_customer GROUP BY 1, 2, 3
) AS summed;

DELETE FROM rollup_monthly_project;
INSERT INTO rollup_monthly_project
    (month, project, basis, events, failed, unpriced, incomplete, micro, pico)
SELECT
    month, project, basis, events, failed, unpriced, incomplete,
    micro + (pico - (pico % 1000000 + 1000000) % 1000000) / 1000000, (pico % 1000000 + 1000000) % 1000000
FROM (
    SELECT
        (extract(year FROM date '1970-01-01' + day) * 12
            + extract(month FROM date '1970-01-01' + day))::integer - 1 AS month, project, basis,
        sum(events) AS events, sum(failed) AS failed, sum(unpriced) AS unpriced, sum(incomplete) AS incomplete,
        sum(micro) AS micro, sum(pico) AS pico
    FROM rollup_daily_project GROUP BY 1, 2, 3
) AS summed;

DELETE FROM rollup_monthly_team;
INSERT INTO rollup_monthly_team
    (month, team, basis, events, failed, unpriced, incomplete, micro, pico)
SELECT
    month, team, basis, events, failed, unpriced, incomplete,
    micro + (pico - (pico % 1000000 + 1000000) % 1000000) / 1000000, (pico % 1000000 + 1000000) % 1000000
FROM (
    SELECT
        (extract(year FROM date '1970-01-01' + day) * 12
            + extract(month FROM date '1970-01-01' + day))::integer - 1 AS month, team, basis,
        sum(events) AS events, sum(failed) AS failed, sum(unpriced) AS unpriced, sum(incomplete) AS incomplete,
        sum(micro) AS micro, sum(pico) AS pico
    FROM rollup_daily_team GROUP BY 1, 2, 3
) AS summed;

DELETE FROM rollup_monthly_user;
INSERT INTO rollup_monthly_user
    (month, "user", basis, events, failed, unpriced, incomplete, micro, pico)
SELECT
    month, "user", basis, events, failed, unpriced, incomplete,
    micro + (pico - (pico % 1000000 + 1000000) % 1000000) / 1000000, (pico % 1000000 + 1000000) % 1000000
FROM (
    SELECT
        (extract(year FROM date '1970-01-01' + day) * 12
            + extract(month FROM date '1970-01-01' + day))::integer - 1 AS month, "user", basis,
        sum(events) AS events, sum(failed) AS failed, sum(unpriced) AS unpriced, sum(incomplete) AS incomplete,
        sum(micro) AS micro, sum(pico) AS pico
    FROM rollup_daily_user GROUP BY 1, 2, 3
) AS summed;

DELETE FROM rollup_job_total;
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
