"""Values only: read once at each entry point and handed down."""
