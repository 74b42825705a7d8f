-- What people say of an endpoint. Those there were had no place for it.

ALTER TABLE endpoints ADD COLUMN description TEXT NOT NULL DEFAULT '';
