"""Prices as people write them."""


def parse(text: str) -> float:
    """Return the amount of ``"12.50 EUR"``."""
    return float(text.split(maxsplit=1)[0])


def show(amount: float) -> str:
    """Return ``"12.50 EUR"`` of an amount."""
    return f"{amount:.2f} EUR"
