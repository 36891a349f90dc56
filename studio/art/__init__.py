"""Pictures: covers, palettes, typography."""
