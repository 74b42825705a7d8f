-- Work that runs beside the server. attempts counts how often it was handed to a launcher; what to do is in spec_json,
-- what its first attempt read is in inputs_json.

CREATE TABLE jobs (
    project      TEXT    NOT NULL REFERENCES projects (id),
    id           TEXT    NOT NULL,
    kind         TEXT    NOT NULL,
    display_name TEXT    NOT NULL,
    labels_json  TEXT    NOT NULL,
    spec_json    TEXT    NOT NULL,
    inputs_json  TEXT    NOT NULL DEFAULT 'null',
    state        TEXT    NOT NULL CHECK (state IN ('queued', 'pending', 'running', 'succeeded', 'failed', 'cancelling', 'cancelled')),
    attempts     INTEGER NOT NULL DEFAULT 0,
    error        TEXT    NOT NULL DEFAULT '',
    model        TEXT,
    version      INTEGER,
    created_at   INTEGER NOT NULL,
    started_at   INTEGER,
    ended_at     INTEGER,
    updated_at   INTEGER NOT NULL,
    PRIMARY KEY (project, id),
    CHECK ((state IN ('succeeded', 'failed', 'cancelled')) = (ended_at IS NOT NULL)),
    CHECK ((state = 'succeeded') = (model IS NOT NULL AND version IS NOT NULL))
) STRICT;

CREATE INDEX jobs_unfinished ON jobs (created_at, project, id) WHERE ended_at IS NULL;
