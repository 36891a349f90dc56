"""Answers for analysts: Parquet exports and questions over them."""
