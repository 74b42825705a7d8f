-- Times are microseconds since 1970-01-01 UTC; columns named *_json hold JSON documents.

CREATE TABLE projects (
    id         TEXT    NOT NULL PRIMARY KEY,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE datasets (
    project    TEXT    NOT NULL REFERENCES projects (id),
    name       TEXT    NOT NULL,
    snapshot   INTEGER NOT NULL,
    digest     TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (project, name)
) STRICT;

-- last_version is the highest number ever registered: a number is never given twice, even if its version goes.
CREATE TABLE models (
    project      TEXT    NOT NULL REFERENCES projects (id),
    id           TEXT    NOT NULL,
    last_version INTEGER NOT NULL DEFAULT 0,
    created_at   INTEGER NOT NULL,
    PRIMARY KEY (project, id)
) STRICT;

-- A version is 'uploading' until its artifact is whole, and invisible as long.
CREATE TABLE versions (
    project        TEXT    NOT NULL,
    model          TEXT    NOT NULL,
    version        INTEGER NOT NULL CHECK (version > 0),
    state          TEXT    NOT NULL CHECK (state IN ('uploading', 'ready')),
    display_name   TEXT    NOT NULL DEFAULT '',
    description    TEXT    NOT NULL DEFAULT '',
    artifact_uri   TEXT    NOT NULL DEFAULT '',
    bundle_digest  TEXT    NOT NULL DEFAULT '',
    signature_json TEXT    NOT NULL DEFAULT 'null',
    summary_json   TEXT    NOT NULL DEFAULT 'null',
    labels_json    TEXT    NOT NULL DEFAULT '{}',
    created_at     INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL,
    PRIMARY KEY (project, model, version),
    FOREIGN KEY (project, model) REFERENCES models (project, id)
) STRICT;

CREATE INDEX versions_by_state ON versions (state) WHERE state = 'uploading';

CREATE TABLE aliases (
    project TEXT    NOT NULL,
    model   TEXT    NOT NULL,
    alias   TEXT    NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (project, model, alias),
    FOREIGN KEY (project, model, version) REFERENCES versions (project, model, version)
) STRICT;

CREATE INDEX aliases_by_version ON aliases (project, model, version);

CREATE TABLE endpoints (
    project            TEXT    NOT NULL REFERENCES projects (id),
    id                 TEXT    NOT NULL,
    display_name       TEXT    NOT NULL,
    traffic_split_json TEXT    NOT NULL,
    labels_json        TEXT    NOT NULL,
    created_at         INTEGER NOT NULL,
    updated_at         INTEGER NOT NULL,
    PRIMARY KEY (project, id)
) STRICT;

CREATE TABLE deployments (
    project      TEXT    NOT NULL,
    endpoint     TEXT    NOT NULL,
    id           TEXT    NOT NULL,
    model        TEXT    NOT NULL,
    version      INTEGER NOT NULL,
    display_name TEXT    NOT NULL,
    cpu_cores    REAL    NOT NULL,
    memory_gb    REAL    NOT NULL,
    machine_type TEXT,
    created_at   INTEGER NOT NULL,
    PRIMARY KEY (project, endpoint, id),
    FOREIGN KEY (project, endpoint) REFERENCES endpoints (project, id),
    FOREIGN KEY (project, model, version) REFERENCES versions (project, model, version)
) STRICT;

CREATE INDEX deployments_by_version ON deployments (project, model, version);

CREATE TABLE operations (
    number        INTEGER NOT NULL PRIMARY KEY,
    project       TEXT    NOT NULL REFERENCES projects (id),
    id            TEXT    NOT NULL,
    parent        TEXT    NOT NULL,
    kind          TEXT    NOT NULL,
    response_json TEXT    NOT NULL,
    created_at    INTEGER NOT NULL,
    UNIQUE (project, id)
) STRICT;
