"""Where things are kept: Postgres, the object store, file formats."""
