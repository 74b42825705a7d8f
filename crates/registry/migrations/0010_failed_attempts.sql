-- Operations that came to nothing: {"kind": "FAILED_PRECONDITION", "message": "..."} where there is no response. And the newest change of
-- what an endpoint serves that did, until one succeeds.

ALTER TABLE operations ADD COLUMN error_json TEXT;
ALTER TABLE endpoints ADD COLUMN failed_attempt_json TEXT;
