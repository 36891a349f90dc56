"""What people typed, shown as they typed it."""


def escape(text: str) -> str:
    """Text so that Markdown shows it as it is: every ASCII punctuation mark behind a backslash (CommonMark 2.4)."""
    return "".join(
        f"\\{char}" if char.isascii() and not char.isalnum() and not char.isspace() else char for char in text
    )
