-- The engine a deployment asked for by name; NULL: the one its version is pinned to.

ALTER TABLE deployments ADD COLUMN engine TEXT;
