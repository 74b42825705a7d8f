-- API keys. What is stored lets nobody in: the digest of a secret of 256 random bits. Revoked keys stay, so that what
-- they did can still be ascribed.

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
