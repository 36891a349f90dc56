"""Words about music: reading a prompt, writing lyrics, tags and titles."""
