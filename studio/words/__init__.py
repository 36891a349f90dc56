"""The glossary as frozen values: one noun a file. Everything that crosses a floor is one of these."""
