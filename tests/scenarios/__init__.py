"""Random accounts and markets, simulated by the kernel and booked again by the ``Decimal`` ledger.

``python -m tests.scenarios --n N --seed S`` prints one JSON line: scenarios, the worst relative difference of any
figure, and how many events of each kind were compared.
"""
