"""Write the orders document of the standard workload: `make_orders.py 200 > orders.xml` is about 50 KB."""

import random
import sys
from collections.abc import Iterator
from xml.sax.saxutils import escape


def orders(count: int, seed: int = 7) -> Iterator[str]:
    chance = random.Random(seed)
    yield '<?xml version="1.0" encoding="UTF-8"?>\n<orders>\n'
    for number in range(1, count + 1):
        customer = escape(chance.choice(["Ävä & Söhne", "Nordwind <Shipping>", "Plain Ltd", "山田商店"]))
        yield f'  <order id="A{number:05d}"><customer>{customer}</customer>'
        for _ in range(chance.randint(1, 5)):
            yield f'<line sku="S{chance.randint(1, 999):03d}" quantity="{chance.randint(1, 9)}" price="{chance.randint(100, 9999) / 100:.2f}"/>'
        yield "</order>\n"
    yield "</orders>\n"


if __name__ == "__main__":
    sys.stdout.writelines(orders(int(sys.argv[1]) if len(sys.argv) > 1 else 200))
