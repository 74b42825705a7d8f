-- A shadow's percent of the requests that it gets copies of; NULL: no shadow. And whether a deployment is loaded only when it is
-- asked: what was deployed before stays in memory, as it did.

ALTER TABLE deployments ADD COLUMN shadow_percent INTEGER;
ALTER TABLE deployments ADD COLUMN on_demand INTEGER NOT NULL DEFAULT 0;
