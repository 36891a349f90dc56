"""What people typed, shown as they typed it."""


def escape(text: str) -> str:
    """Text so that Markdown shows it as it is: every ASCII punctuation mark behind a backslash (CommonMark 2.4)."""
    return "".join(
        f"\\{char}" if char.isascii() and not char.isalnum() and not char.isspace() else char for char in text
    )


def credits_text(number: int) -> str:
    """A number of credits in words: "1 credit", "2 credits"."""
    return f"{number:,} credit" if number == 1 else f"{number:,} credits"
