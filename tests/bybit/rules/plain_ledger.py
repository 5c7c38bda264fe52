"""The conventions L1-L14 written down a second time, as plainly as possible, with fractions and point marks only."""

from fractions import Fraction as F

from bybit.rules.candles import Category
from bybit.rules.ledger import Event, FillEvent, FundingEvent, MarkEvent


class PlainLedger:
    def __init__(self, cash, category, leverage, tiers, maker, taker, is_cross):
        self.cash, self.is_inverse, self.leverage = F(cash), category is Category.INVERSE, F(leverage)
        self.tiers = [(None if bound is None else F(bound), F(rate), F(off)) for bound, rate, off in tiers]
        self.rates = {"maker": F(maker), "taker": F(taker)}
        self.is_cross = is_cross
        self.held: dict[str, list[F]] = {}  # size, entry, margin
        self.marks: dict[str, F] = {}
        self.fees = self.funding = self.realized = self.loss = F(0)
        self.kinds: list[str] = []

    def value(self, qty, price):
        return abs(qty) / price if self.is_inverse else abs(qty) * price

    def gain(self, size, entry, price):
        return size / entry - size / price if self.is_inverse else size * (price - entry)

    def maintenance(self, value):
        for bound, rate, off in self.tiers:
            if bound is None or value <= bound:
                return value * rate - off
        raise AssertionError

    def open_gain(self):
        return sum((self.gain(size, entry, self.marks[s]) for s, (size, entry, _) in self.held.items()), F(0))

    def apply(self, event: Event) -> None:
        {FillEvent: self.fill, FundingEvent: self.settle, MarkEvent: self.mark}[type(event)](event)

    def fill(self, event: FillEvent) -> None:
        qty, price = F(event.qty), F(event.price)
        size, entry, margin = self.held.get(event.symbol, (F(0), F(1), F(0)))
        closing = min(abs(qty), abs(size)) if size * qty < 0 else F(0)
        opening = abs(qty) - closing
        sign, side = (1 if qty > 0 else -1), (1 if size > 0 else -1)
        fee = self.value(qty, price) * self.rates[event.liquidity.value]
        result = self.gain(side * closing, entry, price) if closing else F(0)
        freed = margin * closing / abs(size) if closing else F(0)
        needed = self.value(opening, price) / self.leverage
        kept = size - side * closing
        if opening:
            available = self.cash - sum(row[2] for row in self.held.values()) + freed + result
            if self.is_cross:
                rest = {**self.held, event.symbol: [kept, entry, margin]}
                loss = sum((self.gain(n, e, self.marks[s]) for s, (n, e, _) in rest.items() if n), F(0))
                available += min(loss, F(0))
            if needed + fee > available:
                self.kinds.append("rejected")
                return
        self.kinds.append("fill")
        self.cash += result - fee
        self.fees += fee
        self.realized += result
        new = kept + sign * opening
        if not new:
            self.held.pop(event.symbol, None)
            return
        if kept and opening:
            total = self.value(kept, entry) + self.value(opening, price)
            entry = abs(new) / total if self.is_inverse else total / abs(new)
        elif not kept:
            entry, margin, freed = price, F(0), F(0)
        self.held[event.symbol] = [new, entry, margin - freed + needed]

    def settle(self, event: FundingEvent) -> None:
        size, _, _ = self.held.get(event.symbol, (F(0), F(1), F(0)))
        self.marks[event.symbol] = F(event.mark)
        paid = (1 if size > 0 else -1) * self.value(size, F(event.mark)) * F(event.rate)
        self.cash -= paid
        self.funding += paid
        self.kinds.append("funding")
        if self.is_cross:
            self.judge_all()

    def mark(self, event: MarkEvent) -> None:
        self.marks[event.symbol] = F(event.price)
        lost = self.judge_all() if self.is_cross else self.judge_one(event.symbol)
        if not lost:
            self.kinds.append("mark")

    def judge_one(self, symbol: str) -> bool:
        if symbol not in self.held:
            return False
        size, entry, margin = self.held[symbol]
        price = self.marks[symbol]
        if margin + self.gain(size, entry, price) > self.maintenance(self.value(size, price)):
            return False
        self.cash -= margin
        self.loss += margin
        del self.held[symbol]
        self.kinds.append("liquidation")
        return True

    def judge_all(self) -> bool:
        needed = sum((self.maintenance(self.value(row[0], self.marks[s])) for s, row in self.held.items()), F(0))
        if not self.held or self.cash + self.open_gain() > needed:
            return False
        fees = sum((self.value(row[0], self.marks[s]) for s, row in self.held.items()), F(0)) * self.rates["taker"]
        left = max(self.cash + self.open_gain() - fees, F(0))
        self.fees += fees
        self.loss += self.cash - fees - left
        self.cash = left
        self.kinds += ["liquidation"] * len(self.held)
        self.held.clear()
        return True
