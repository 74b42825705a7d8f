-- What people call a model, what they say of it and its labels are the model's, not a version's: taken from its default version, which is
-- how it was shown. What was said of each version stays its own, labels too. versions.display_name is no more read.

ALTER TABLE models ADD COLUMN display_name TEXT NOT NULL DEFAULT '';
ALTER TABLE models ADD COLUMN description TEXT NOT NULL DEFAULT '';
ALTER TABLE models ADD COLUMN labels_json TEXT NOT NULL DEFAULT '{}';
ALTER TABLE models ADD COLUMN updated_at INTEGER NOT NULL DEFAULT 0;

UPDATE models SET updated_at = created_at;
UPDATE models SET display_name = v.display_name, description = v.description
FROM versions v JOIN aliases a ON a.project = v.project AND a.model = v.model AND a.version = v.version
WHERE a.alias = 'default' AND v.project = models.project AND v.model = models.id;
