"""How much does a Sharpe ratio prove? Its probability, the record it needs, and what trying many variants costs it.

Every Sharpe ratio is per observation, not annualised, with standard deviation of ddof 1 and a risk-free rate of 0;
kurtosis is non-excess (normal: 3). Sources: Bailey, Lopez de Prado, "The Sharpe Ratio Efficient Frontier" (2012) and
"The Deflated Sharpe Ratio" (2014); Bailey et al., "Pseudo-Mathematics and Financial Charlatanism" (2014). What cannot
be computed raises ``NotComputable`` with the reason; there is no stand-in figure.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bybit.rules.errors import InvalidInput
from validation.errors import NotComputable

Floats = NDArray[np.float64]

VARIANCE_FORM: Final = (
    "variance of the Sharpe ratio at the observed value over n - 1 (Bailey and Lopez de Prado, 2012 and 2014); the "
    "form at the benchmark over n that one of the authors proposes since 2025 is not used"
)
"""For reports: the two forms differ, 0.913 against 0.987 on the example of the 2012 paper."""

_EULER_GAMMA: Final = 0.5772156649015329
_NORMAL: Final = NormalDist()


@dataclass(frozen=True, slots=True)
class SharpeMoments:
    """What the inference needs to know of one record of returns."""

    sharpe: float
    n_obs: int
    skew: float
    kurtosis: float

    @classmethod
    def of(cls, returns: Floats) -> "SharpeMoments":
        """Return the moments of per-period returns of shape (n_obs,); skew and kurtosis are the biased moments.

        Raises
        ------
        NotComputable
            With fewer than two returns, a return that is not finite, or no variance.
        """
        if len(returns) < 2:
            raise NotComputable(f"{len(returns)} returns have no deviation: two or more are needed")
        if not np.isfinite(returns).all():
            raise NotComputable("a return is not finite: what is missing is not zero")
        if returns.min() == returns.max():
            raise NotComputable(f"every return is {float(returns[0])!r}: a Sharpe ratio needs variance")
        mean = float(returns.mean())
        # Scaled first: the fourth power of a small return would vanish.
        scaled = (returns - mean) / (scale := float(np.abs(returns - mean).max()))
        second = float((scaled**2).mean())
        n = len(returns)
        deviation = scale * math.sqrt(second * n / (n - 1))
        return cls(mean / deviation, n, float((scaled**3).mean()) / second**1.5, float((scaled**4).mean()) / second**2)


def probabilistic_sharpe(
    sharpe: float, benchmark: float, n_obs: int, skew: float = 0.0, kurtosis: float = 3.0
) -> float:
    """Return the probability that the true Sharpe ratio exceeds ``benchmark``, in [0, 1].

    Raises
    ------
    NotComputable
        With fewer than two observations, or moments that no distribution has (the variance would not be positive).
    """
    if n_obs < 2:
        raise NotComputable(f"{n_obs} observations say nothing about a Sharpe ratio: two or more are needed")
    variance = _variance(sharpe, skew, kurtosis)
    return _cdf((sharpe - benchmark) * math.sqrt((n_obs - 1) / variance))


def min_track_record(
    sharpe: float, benchmark: float, skew: float = 0.0, kurtosis: float = 3.0, probability: float = 0.95
) -> float:
    """Return how many observations it takes until ``probabilistic_sharpe`` reaches ``probability``, not rounded.

    Raises
    ------
    NotComputable
        When ``sharpe`` does not exceed ``benchmark`` (no record is long enough), or as ``probabilistic_sharpe``.
    InvalidInput
        For a probability outside (0.5, 1): one half is reached by no record at all.
    """
    if not 0.5 < probability < 1.0:
        raise InvalidInput(f"probability is {probability!r}, expected more than 0.5 and less than 1")
    variance = _variance(sharpe, skew, kurtosis)
    if not sharpe > benchmark:
        raise NotComputable(f"a Sharpe ratio of {sharpe:g} does not exceed {benchmark:g}: no record is long enough")
    return 1.0 + variance * (_NORMAL.inv_cdf(probability) / (sharpe - benchmark)) ** 2


def expected_maximum(n_trials: int) -> float:
    """Return about how large the best of ``n_trials`` independent standard normal figures is, by luck alone.

    The paper's approximation: 8 % low at 2 trials, 2.3 % high at 10, 0.9 % high at 100. One trial has no choice: 0.
    """
    if n_trials < 1:
        raise InvalidInput(f"{n_trials} trials were counted, expected one or more: the one judged counts")
    if n_trials == 1:
        return 0.0
    # z(1 - p) is -z(p), and small p keep their digits.
    first, second = (-_NORMAL.inv_cdf(p) for p in (1.0 / n_trials, 1.0 / (n_trials * math.e)))
    return (1.0 - _EULER_GAMMA) * first + _EULER_GAMMA * second


def luck_benchmark(trial_variance: float, n_trials: int) -> float:
    """Return the Sharpe ratio that the best of ``n_trials`` without any skill is expected to show.

    ``trial_variance`` is the variance (ddof 1) of the trials' Sharpe ratios; see ``variance_of_trials``.
    """
    if not (trial_variance >= 0.0 and math.isfinite(trial_variance)):
        raise InvalidInput(f"the variance of the trials' Sharpe ratios is {trial_variance!r}, expected 0 or more")
    return math.sqrt(trial_variance) * expected_maximum(n_trials)


def variance_of_trials(sharpes: Floats) -> float:
    """Return the variance (ddof 1) of the Sharpe ratios of all trials; of a single trial 0, as nothing was selected.

    Raises
    ------
    NotComputable
        Without a trial, or when one of them has no figure: leaving it out would flatter the rest.
    """
    if len(sharpes) == 0 or not np.isfinite(sharpes).all():
        raise NotComputable(f"{int((~np.isfinite(sharpes)).sum())} of {len(sharpes)} trials have no Sharpe ratio")
    return float(sharpes.var(ddof=1)) if len(sharpes) > 1 else 0.0


def deflated_sharpe(
    sharpe: float, trial_variance: float, n_trials: int, n_obs: int, skew: float = 0.0, kurtosis: float = 3.0
) -> float:
    """Return the probability that the selected strategy is better than the luck of having tried ``n_trials``.

    Raises
    ------
    NotComputable, InvalidInput
        As ``probabilistic_sharpe`` and ``luck_benchmark``.
    """
    return probabilistic_sharpe(sharpe, luck_benchmark(trial_variance, n_trials), n_obs, skew, kurtosis)


def min_backtest_years(n_trials: int, annual_sharpe: float) -> float:
    """Return the years of record below which the best of ``n_trials`` is expected to show ``annual_sharpe`` by luck."""
    return (expected_maximum(n_trials) / _positive(annual_sharpe)) ** 2


def min_backtest_years_bound(n_trials: int, annual_sharpe: float) -> float:
    """Return the paper's simpler upper bound of ``min_backtest_years``, 2 ln(n_trials) / annual_sharpe^2."""
    if n_trials < 1:
        raise InvalidInput(f"{n_trials} trials were counted, expected one or more")
    return 2.0 * math.log(n_trials) / _positive(annual_sharpe) ** 2


def _positive(annual_sharpe: float) -> float:
    if not (annual_sharpe > 0.0 and math.isfinite(annual_sharpe)):
        raise InvalidInput(f"the Sharpe ratio aimed at is {annual_sharpe!r}, expected more than 0")
    return annual_sharpe


def _variance(sharpe: float, skew: float, kurtosis: float) -> float:
    """Return the variance of the estimate times the number of observations."""
    variance = 1.0 - skew * sharpe + (kurtosis - 1.0) / 4.0 * sharpe**2
    if not (math.isfinite(variance) and variance > 0.0):
        raise NotComputable(
            f"Sharpe ratio {sharpe:g}, skew {skew:g} and kurtosis {kurtosis:g} give the variance {variance:g}"
        )
    return variance


def _cdf(z: float) -> float:
    # erfc keeps the digits of small probabilities, which 1 + erf loses.
    return 0.5 * math.erfc(-z / math.sqrt(2.0))
