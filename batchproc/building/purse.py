"""What a run costs and may cost: the price book and the budget, from the settings and what earlier runs spent."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Protocol
from urllib.parse import urlsplit

from msgspec import Struct, structs

from batchproc.core.budget import Budget, Terms
from batchproc.core.decisions import Halt
from batchproc.errors import UsageError
from batchproc.model import Job, RawLine
from batchproc.ports import Parser, Weigher
from batchproc.price import Price, dollars_in
from batchproc.prices.book import PriceBook, vendor_of
from batchproc.settings import RunSettings
from batchproc.snapshot import Status
from batchproc.store.totals import Totals


class Spending(Protocol):
    """A store, as far as it knows what was spent."""

    @property
    def totals(self) -> Totals:
        """Of every result that is there."""
        ...

    @property
    def unanswered(self) -> Collection[int]:
        """Jobs that were sent and have no result."""
        ...

    def lost(self, model: str, input_tokens: int, output_tokens: int) -> None:
        """An attempt brought no usage back."""
        ...


class Cost(Struct, frozen=True):
    """What answers cost, in pico-dollars; `lost`: what attempts without an answer cost at the most.

    `unpriced` are models whose price is not known: they are not in it. `priced`: some price is known.
    """

    answers: int = 0
    lost: int = 0
    unpriced: tuple[str, ...] = ()
    priced: bool = False


def book_for(prices: str | None, base_url: str) -> PriceBook:
    """The price book of a run. Raises UsageError where the list of `--prices` cannot be used."""
    own: dict[str, Price] = {}
    if prices is not None:
        from batchproc.prices.files import read_prices

        own = read_prices(prices)

    def more(model: str, vendor: str | None) -> Price | None:
        from batchproc.prices.installed import installed_price

        return installed_price(model, vendor)

    return PriceBook(own, vendor=vendor_of(urlsplit(base_url).hostname), more=more)


def cost_of(totals: Totals, book: PriceBook) -> Cost:
    """What the answers so far cost, over all runs of an output."""
    answers = lost = 0
    unpriced: list[str] = []
    priced = False
    for model, spent in totals.models.items():
        price = book.of(model)
        if price is None:
            if spent.input_tokens or spent.output_tokens:
                unpriced.append(model)
            continue
        priced = True
        answers += price.cost(spent.input_tokens, spent.output_tokens, spent.cached_tokens)
        lost += price.cost(spent.lost_input, spent.lost_output)
    return Cost(answers, lost, tuple(sorted(unpriced)), priced)


def by_model(totals: Totals, book: PriceBook) -> dict[str, float]:
    """What the answers of each model cost, in dollars; models whose price is not known are left out."""
    return {
        model: dollars_in(price.cost(spent.input_tokens, spent.output_tokens, spent.cached_tokens))
        for model, spent in totals.models.items()
        if (price := book.of(model)) is not None
    }


def with_cost(status: Status, totals: Totals, book: PriceBook) -> Status:
    """A status that says what its run has cost."""
    cost = cost_of(totals, book)
    return structs.replace(status, **in_dollars(cost))


def in_dollars(cost: Cost) -> dict[str, Any]:
    """A cost as summary and status say it."""
    if not cost.priced:
        return {"unpriced": cost.unpriced}
    return {
        "cost_usd": dollars_in(cost.answers),
        "cost_lost_usd": dollars_in(cost.lost) if cost.lost else None,
        "unpriced": cost.unpriced,
    }


class Purse:
    """Prices and budget of one run. Raises UsageError where the list of `--prices` cannot be used."""

    def __init__(self, settings: RunSettings) -> None:
        self.book = book_for(settings.prices, settings.base_url)
        self.terms = Terms(settings.max_cost, settings.max_total_tokens, settings.assume_max_output)
        self._totals = Totals()
        self._before: Totals | None = None  # what was spent besides

    def first_look(self, first: list[RawLine], parser: Parser, weigher: Weigher) -> None:
        """Raise UsageError if the budget cannot be kept for one of the first jobs: then nothing is written or sent."""
        budget = Budget(self.terms, self.book.of)
        for raw in first if self.terms else ():
            job = parser.parse(raw)
            if isinstance(job, Job):
                tokens, _, cap, n = weigher.weigh(job.path, job.model, job.body)
                worst = budget.worst(structs.replace(job, input_tokens=tokens, output_cap=cap, choices=n))
                if isinstance(worst, Halt):
                    raise UsageError(worst.message, worst.hint)

    def budget(self, store: Spending, *, before: Totals | None = None, killed: bool = False) -> Budget:
        """The budget of a run that begins where earlier ones on this output stopped: what they spent counts.

        `before` is what was spent besides what the store's totals say; `killed`: the last process did not end in order.
        """
        self._totals, self._before = store.totals, before
        if not self.terms:
            return Budget(self.terms, self.book.of)
        totals = self._all()
        cost = cost_of(totals, self.book)
        if cost.unpriced and self.terms.max_cost is not None:
            names = ", ".join(f"`{name}`" if name else "a model that is not noted" for name in cost.unpriced)
            raise UsageError(
                f"earlier runs have answers of {names}, whose price is not known, so `--max-cost` cannot be kept",
                "name a price list with `--prices FILE`, or leave `--max-cost` out",
            )
        spent = totals.models.values()
        tokens = sum(s.input_tokens + s.output_tokens + s.lost_input + s.lost_output for s in spent)
        return Budget(
            self.terms,
            self.book.of,
            store.lost,
            cost=cost.answers + cost.lost,
            tokens=tokens,
            in_flight=frozenset(store.unanswered) if killed else (),
        )

    def _all(self) -> Totals:
        if self._before is None:
            return self._totals
        both = self._before.copy()
        both.merge_spent(self._totals)
        return both

    def cost(self) -> Cost:
        """What the run has cost so far, earlier runs included."""
        return cost_of(self._all(), self.book)

    def cost_usd(self) -> float | None:
        """The same in dollars, for display; None where no price is known."""
        cost = self.cost()
        return dollars_in(cost.answers + cost.lost) if cost.priced else None
