"""The studio: words, sound, music, text and pictures. Pure: no files outside the package, no network, no clock."""
