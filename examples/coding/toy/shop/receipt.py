"""The text that is printed."""

from shop import money
from shop.basket import Basket


def receipt(basket: Basket) -> str:
    """Return a line for each article, and the total."""
    lines = [f"{count} x {name}  {money.show(count * price)}" for name, count, price in basket.lines]
    return "\n".join([*lines, f"total  {money.show(basket.total())}"])
