"""What the shop should do. Most of it does not hold yet: the change that is asked for makes it hold."""

import unittest

from shop import money
from shop.basket import Basket
from shop.receipt import receipt


class MoneyTest(unittest.TestCase):
    def test_an_amount_is_whole_cents(self) -> None:
        assert money.parse("12.50 EUR") == 1250
        assert type(money.parse("0.29 EUR")) is int

    def test_what_is_read_is_shown_as_it_was(self) -> None:
        for text in ("0.05 EUR", "12.50 EUR", "1000.00 EUR"):
            assert money.show(money.parse(text)) == text


class BasketTest(unittest.TestCase):
    def test_no_cent_is_lost(self) -> None:
        basket = Basket()
        for _ in range(3):
            basket.add("sweet", "0.10 EUR")
        assert basket.total() == 30

    def test_ten_pieces_are_five_per_cent_off_rounded_half_up(self) -> None:
        basket = Basket()
        basket.add("pen", "1.01 EUR", 10)
        assert basket.total() == 1010 - 51

    def test_nine_pieces_are_not(self) -> None:
        basket = Basket()
        basket.add("pen", "1.01 EUR", 9)
        assert basket.total() == 909


class ReceiptTest(unittest.TestCase):
    def test_the_discount_is_a_line_of_its_own(self) -> None:
        basket = Basket()
        basket.add("pen", "1.01 EUR", 10)
        basket.add("ink", "4.00 EUR")
        assert receipt(basket) == "10 x pen  10.10 EUR\n  discount  -0.51 EUR\n1 x ink  4.00 EUR\ntotal  13.59 EUR"


if __name__ == "__main__":
    unittest.main()
