-- A registry of schema 10, as SQL: never edited, must load for ever.
PRAGMA foreign_keys = OFF;
BEGIN TRANSACTION;
CREATE TABLE _sqlx_migrations (
    version BIGINT PRIMARY KEY,
    description TEXT NOT NULL,
    installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    success BOOLEAN NOT NULL,
    checksum BLOB NOT NULL,
    execution_time BIGINT NOT NULL
);
INSERT INTO "_sqlx_migrations" VALUES(1,'resources','2025-11-24 16:00:00',1,X'6CAF2D7A081924B2B10BA93C9750682AF930232EC35D87A7F4E8CF6AEC42B3EB662D89268B623156A2386D5833BFE919',0);
INSERT INTO "_sqlx_migrations" VALUES(2,'jobs','2025-11-24 16:00:00',1,X'FC34E9AB91166A9A3EA75A0C0629502136E18F2EA31B85C15C7B2C7F953EAB3DEDF98925ADF2A1C3865685B78A2CE5FF',0);
INSERT INTO "_sqlx_migrations" VALUES(3,'studies','2025-11-24 16:00:00',1,X'F27B5BBC7DFD4C0C72B5B93EB01856EF6B103C2CE58A9CBC95CE6559864FE2B7E8EC6E6D31F47984E38E28E11CCE0EA7',0);
INSERT INTO "_sqlx_migrations" VALUES(4,'keys','2025-11-24 16:00:00',1,X'E698F6AF2654C9B3C45582633D4F4381ED7A9A7F296489ADE2A2241F0DC95A0DC7D2A324B8D26CD500682AE5214D9C97',0);
INSERT INTO "_sqlx_migrations" VALUES(5,'engines','2025-11-24 16:00:00',1,X'AF872078CE57F541261B464640C86D46003AA9CFCDE0D381A7A7047EDA2BFC386213E6BC27801D6C3A561628FD18E8B1',0);
INSERT INTO "_sqlx_migrations" VALUES(6,'shadows and residence','2025-11-24 16:00:00',1,X'77649BFDE405F3A3721DD0805FF59BC9ACA5FB8AF1616075B2B47B1AFAC95650CAAE93F8D1B45BF1EEFEE66BBBEFA210',0);
INSERT INTO "_sqlx_migrations" VALUES(7,'model texts','2025-11-24 16:00:00',1,X'DCE8C37613D73F04D9F3D30FF968EEDC2602B53E65F90186086495966AEDB67706B75A1BD25E747BA026651565902E77',0);
INSERT INTO "_sqlx_migrations" VALUES(8,'limits','2025-11-24 16:00:00',1,X'35C8F7077C3349F13DF3463CBFF949EF7C3C871AE01D5D166DB6BA55BA1404A976B8783142C61F7A1CBF0586A1DBE100',0);
INSERT INTO "_sqlx_migrations" VALUES(9,'endpoint descriptions','2025-11-24 16:00:00',1,X'850F4067975F813BA65D72235B9755649835EE0BFBB01F6991BFAAAE2C43647F2BEEC581673F2E183513003559D5EF3B',0);
INSERT INTO "_sqlx_migrations" VALUES(10,'failed attempts','2025-11-24 16:00:00',1,X'E02C36C4F75DD863909276737138ABDBE98F688FA812356F99913F83E6B01CC193B1F7B257139C40822019DE0C360968',0);
CREATE TABLE aliases (
    project TEXT    NOT NULL,
    model   TEXT    NOT NULL,
    alias   TEXT    NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (project, model, alias),
    FOREIGN KEY (project, model, version) REFERENCES versions (project, model, version)
) STRICT;
INSERT INTO "aliases" VALUES('default','sp500-deciles','champion',1);
INSERT INTO "aliases" VALUES('default','sp500-deciles','default',1);
CREATE TABLE api_keys (
    id            TEXT    NOT NULL PRIMARY KEY,
    -- NULL: every project.
    project       TEXT,
    display_name  TEXT    NOT NULL,
    scope         TEXT    NOT NULL CHECK (scope IN ('predict', 'train', 'admin')),
    secret_digest TEXT    NOT NULL,
    created_at    INTEGER NOT NULL,
    expires_at    INTEGER,
    revoked_at    INTEGER
) STRICT;
INSERT INTO "api_keys" VALUES('k1','default','desk','predict','efefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefef',1764000000000000,NULL,NULL);
CREATE TABLE datasets (
    project    TEXT    NOT NULL REFERENCES projects (id),
    name       TEXT    NOT NULL,
    snapshot   INTEGER NOT NULL,
    digest     TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (project, name)
) STRICT;
INSERT INTO "datasets" VALUES('default','sp500-20',1,'abababababababababababababababababababababababababababababababab',1764000000000000,1764000000000000);
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
    created_at   INTEGER NOT NULL, engine TEXT, shadow_percent INTEGER, on_demand INTEGER NOT NULL DEFAULT 0, limits_json TEXT NOT NULL DEFAULT '{}',
    PRIMARY KEY (project, endpoint, id),
    FOREIGN KEY (project, endpoint) REFERENCES endpoints (project, id),
    FOREIGN KEY (project, model, version) REFERENCES versions (project, model, version)
) STRICT;
INSERT INTO "deployments" VALUES('default','live','1','sp500-deciles',1,'Deciles',2.0,4.0,'n1-standard-2',1764000000000000,'rten',NULL,0,'{}');
INSERT INTO "deployments" VALUES('default','live','2','sp500-deciles',1,'Shadow',1.0,0.5,NULL,1764000000000000,NULL,20,1,'{"max_batch_rows":256,"max_delay_us":0}');
CREATE TABLE endpoints (
    project            TEXT    NOT NULL REFERENCES projects (id),
    id                 TEXT    NOT NULL,
    display_name       TEXT    NOT NULL,
    traffic_split_json TEXT    NOT NULL,
    labels_json        TEXT    NOT NULL,
    created_at         INTEGER NOT NULL,
    updated_at         INTEGER NOT NULL, description TEXT NOT NULL DEFAULT '', failed_attempt_json TEXT,
    PRIMARY KEY (project, id)
) STRICT;
INSERT INTO "endpoints" VALUES('default','live','Live','{"1":100,"2":0}','{}',1764000000000000,1764000000000000,'What the desk trades on','{"operation":"1764000000000001","kind":"DeployModel","deployment":"3","model":"sp500-deciles","version":1,"failure":{"kind":"FAILED_PRECONDITION","message":"the golden sample came out otherwise"},"failed_at":"2025-11-24T16:00:00.000001Z"}');
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
INSERT INTO "jobs" VALUES('default','1764000000000001','train','First','{"team":"quant"}','{"pipeline":"version = 1"}','{"dataset":"sp500-20","snapshot":1}','succeeded',1,'','sp500-deciles',1,1764000000000000,1764000000000000,1764000000000000,1764000000000000);
INSERT INTO "jobs" VALUES('default','1764000000000002','train','Second','{}','{"pipeline":"version = 1"}','null','queued',0,'',NULL,NULL,1764000000000000,NULL,NULL,1764000000000000);
CREATE TABLE models (
    project      TEXT    NOT NULL REFERENCES projects (id),
    id           TEXT    NOT NULL,
    last_version INTEGER NOT NULL DEFAULT 0,
    created_at   INTEGER NOT NULL, display_name TEXT NOT NULL DEFAULT '', description TEXT NOT NULL DEFAULT '', labels_json TEXT NOT NULL DEFAULT '{}', updated_at INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (project, id)
) STRICT;
INSERT INTO "models" VALUES('default','sp500-deciles',1,1764000000000000,'Deciles','Ten classes of next month''s returns','{"desk":"us"}',1764000000000001);
CREATE TABLE operations (
    number        INTEGER NOT NULL PRIMARY KEY,
    project       TEXT    NOT NULL REFERENCES projects (id),
    id            TEXT    NOT NULL,
    parent        TEXT    NOT NULL,
    kind          TEXT    NOT NULL,
    response_json TEXT    NOT NULL,
    created_at    INTEGER NOT NULL, error_json TEXT,
    UNIQUE (project, id)
) STRICT;
INSERT INTO "operations" VALUES(1,'default','1764000000000000','models/sp500-deciles','UploadModel','{"model":"sp500-deciles"}',1764000000000000,NULL);
INSERT INTO "operations" VALUES(2,'default','1764000000000001','endpoints/live','DeployModel','null',1764000000000001,'{"kind":"FAILED_PRECONDITION","message":"the golden sample came out otherwise"}');
CREATE TABLE projects (
    id         TEXT    NOT NULL PRIMARY KEY,
    created_at INTEGER NOT NULL
) STRICT;
INSERT INTO "projects" VALUES('default',1764000000000000);
CREATE TABLE studies (
    project      TEXT    NOT NULL REFERENCES projects (id),
    id           TEXT    NOT NULL,
    model        TEXT    NOT NULL,
    dataset      TEXT    NOT NULL,
    spec_json    TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    PRIMARY KEY (project, id)
) STRICT;
INSERT INTO "studies" VALUES('default','s1','sp500-deciles','sp500-20','{}',1764000000000000);
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
INSERT INTO "trials" VALUES('default','s1',1,'{"fit.seed":1}','succeeded','{"rank_ic":0.01}',NULL,'',1764000000000000,1764000000000000);
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
INSERT INTO "versions" VALUES('default','sp500-deciles',1,'ready','','The first one','file:///artifacts/default/sp500-deciles/1','cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd','{"inputs":[{"name":"features","dtype":"float32","shape":[null,75]}],"outputs":[{"name":"probabilities","dtype":"float32","shape":[null,10]}]}','{"metrics":{"rank_ic":0.012}}','{"team":"quant"}',1764000000000000,1764000000000000);
INSERT INTO "versions" VALUES('default','sp500-deciles',2,'uploading','','','','','null','null','{}',1764000000000000,1764000000000000);
CREATE INDEX versions_by_state ON versions (state) WHERE state = 'uploading';
CREATE INDEX aliases_by_version ON aliases (project, model, version);
CREATE INDEX deployments_by_version ON deployments (project, model, version);
CREATE INDEX jobs_unfinished ON jobs (created_at, project, id) WHERE ended_at IS NULL;
CREATE INDEX studies_by_model ON studies (project, model, dataset);
COMMIT;
