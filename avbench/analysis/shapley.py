"""Shapley values: what each player adds to a game's value, on average over orders of joining.

Source: L. S. Shapley, A Value for n-Person Games (1953). Here the players are the modalities of
a model and the value of a set is its score with all other modalities zeroed.
"""

from collections.abc import Hashable, Mapping
from itertools import combinations
from math import factorial
from typing import TypeVar

P = TypeVar("P", bound=Hashable)


def shapley(value: Mapping[frozenset[P], float]) -> dict[P, float]:
    """The Shapley value of each player, exactly.

    ::

        φ_i = Σ_{S ∌ i} |S|! (n − |S| − 1)! / n! · (v(S ∪ {i}) − v(S))

    They add up to v(all) − v(∅).

    Args:
        value: v, of every subset of the players.

    Raises:
        KeyError: a subset is missing.
    """
    everyone = max(value, key=len)
    n = len(everyone)
    return {
        player: sum(
            factorial(size)
            * factorial(n - size - 1)
            / factorial(n)
            * (value[frozenset(others) | {player}] - value[frozenset(others)])
            for size in range(n)
            for others in combinations(everyone - {player}, size)
        )
        for player in everyone
    }
