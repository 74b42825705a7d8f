-- Searches for a better model. Studies and trials are never removed: how much was tried is part of what a result means.

CREATE TABLE studies (
    project      TEXT    NOT NULL REFERENCES projects (id),
    id           TEXT    NOT NULL,
    model        TEXT    NOT NULL,
    dataset      TEXT    NOT NULL,
    spec_json    TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    PRIMARY KEY (project, id)
) STRICT;

CREATE INDEX studies_by_model ON studies (project, model, dataset);

CREATE TABLE trials (
    project         TEXT    NOT NULL,
    study           TEXT    NOT NULL,
    number          INTEGER NOT NULL CHECK (number > 0),
    parameters_json TEXT    NOT NULL,
    state           TEXT    NOT NULL CHECK (state IN ('running', 'succeeded', 'stopped', 'failed')),
    metrics_json    TEXT    NOT NULL DEFAULT 'null',
    bundle_digest   TEXT,
    error           TEXT    NOT NULL DEFAULT '',
    started_at      INTEGER NOT NULL,
    finished_at     INTEGER,
    PRIMARY KEY (project, study, number),
    FOREIGN KEY (project, study) REFERENCES studies (project, id),
    CHECK ((state = 'running') = (finished_at IS NULL))
) STRICT;
