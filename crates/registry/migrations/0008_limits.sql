-- What a deployment takes at once, as far as it was asked for: {"max_batch_rows": 256, ...}. What was deployed before has the
-- server's defaults, as it had.

ALTER TABLE deployments ADD COLUMN limits_json TEXT NOT NULL DEFAULT '{}';
