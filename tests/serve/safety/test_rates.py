from __future__ import annotations

from geneface.serve.safety.rates import AddressRates, Bucket


class _Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_gives_what_it_holds_and_then_what_it_gains() -> None:
    clock = _Clock()
    bucket = Bucket(10, 5, clock)
    assert [bucket.take_if_there() for _ in range(6)] == [0, 0, 0, 0, 0, 0.1]
    clock.now = 0.1
    assert bucket.take_if_there() == 0
    clock.now = 100
    assert [bucket.take_if_there() for _ in range(6)] == [0, 0, 0, 0, 0, 0.1]


def test_what_is_owed_is_waited_for() -> None:
    bucket = Bucket(10, 1, _Clock())
    assert [round(bucket.take(), 6) for _ in range(4)] == [0, 0.1, 0.2, 0.3]


def test_one_address_does_not_use_up_anothers() -> None:
    clock = _Clock()
    rates = AddressRates(60, clock)
    assert sum(rates.wait("192.0.2.1") == 0 for _ in range(100)) == 60
    assert rates.wait("192.0.2.2") == 0
    clock.now = 30
    assert sum(rates.wait("192.0.2.1") == 0 for _ in range(100)) == 30


def test_a_customer_of_ipv6_has_one_address_of_many() -> None:
    rates = AddressRates(60, _Clock())
    assert sum(rates.wait(f"2001:db8:1:2::{i:x}") == 0 for i in range(100)) == 60
    assert rates.wait("2001:db8:1:3::1") == 0


def test_the_table_of_addresses_does_not_grow_without_end() -> None:
    rates = AddressRates(60, _Clock())
    for i in range(20_000):
        rates.wait(f"10.0.{i // 256}.{i % 256}")
    assert len(rates._buckets) < 5000
