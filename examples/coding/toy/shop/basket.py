"""What somebody is about to buy."""

from shop import money


class Basket:
    """Articles with their counts and prices."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, int, float]] = []

    def add(self, name: str, price: str, count: int = 1) -> None:
        """Put so many pieces of an article into it."""
        self.lines.append((name, count, money.parse(price)))

    def total(self) -> float:
        """Return what all of it costs."""
        return sum(count * price for _, count, price in self.lines)
