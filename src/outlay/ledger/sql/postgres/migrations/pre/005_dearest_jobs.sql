-- The dearest jobs, and the time that all jobs span, are found without a walk over every job's total.
CREATE INDEX rollup_job_total_dearest ON rollup_job_total (micro DESC, pico DESC);

CREATE INDEX rollup_job_total_first ON rollup_job_total (first_at);

CREATE INDEX rollup_job_total_last ON rollup_job_total (last_at);
