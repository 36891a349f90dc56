"""What is asked of the tables, one file a noun. Words go in and come out; nothing here commits."""
