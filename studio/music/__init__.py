"""The built-in composer: theory, score, composing, instruments, voice, rendering."""
