"""Which sample comes when: every epoch its own order, hard samples more often. Reproducible from a seed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
MEMORY = 0.5  # weight of the latest loss in a sample's running difficulty
MAX_EMPTY_PER_MARKED = 0.5  # planes without any mark per marked plane in one epoch


class HardCaseSampler:
    """Draws the order of an epoch; a share of it by how badly the network does on each sample.

    A sample that was never seen counts as hard as the hardest seen, so that all are seen soon.

    Source: after Schaul et al. 2016 (prioritised replay), with systematic resampling for low variance.
    """

    def __init__(self, marked: npt.NDArray[np.bool_], hard_share: float, seed: int) -> None:
        """Make a sampler.

        Args:
            marked: for each sample, whether anything is marked in it; few empty ones are drawn.
            hard_share: share of the draws that follows difficulty, 0 to 1.
            seed: of all orders.
        """
        if marked.size == 0:
            raise ValueError("a sampler needs at least one sample.")
        self.marked = marked
        self.hard_share = hard_share
        self.seed = seed
        self.difficulty = np.full(marked.size, np.nan)

    def order(self, epoch: int, at_least: int = 1) -> IntArray:
        """Return the sample numbers of an epoch, at least so many (samples then come again)."""
        random = np.random.default_rng((self.seed, epoch))
        pool = self._pool(random)
        shares = np.full(pool.size, 1 / pool.size)
        known = self.difficulty[pool]
        if self.hard_share > 0 and np.nanmax(np.nan_to_num(known), initial=0) > 0:
            hardness = np.where(np.isnan(known), np.nanmax(known), known)
            shares = (1 - self.hard_share) * shares + self.hard_share * hardness / hardness.sum()
        drawn = pool[_resample(shares, max(pool.size, at_least), random)]
        return random.permutation(drawn).astype(np.int64)

    def learn(self, samples: IntArray, losses: npt.NDArray[np.float64]) -> None:
        """Note how the network did on samples just seen; losses are at least 0."""
        for sample, loss in zip(samples, losses, strict=True):
            known = self.difficulty[sample]
            self.difficulty[sample] = loss if np.isnan(known) else known + MEMORY * (loss - known)

    def _pool(self, random: np.random.Generator) -> IntArray:
        """Return all marked samples and a random few of the empty ones."""
        marked, empty = np.flatnonzero(self.marked), np.flatnonzero(~self.marked)
        if marked.size == 0 or empty.size == 0:
            return np.arange(self.marked.size)
        most = max(1, int(np.ceil(marked.size * MAX_EMPTY_PER_MARKED)))
        few = random.choice(empty, size=min(most, empty.size), replace=False)
        return np.sort(np.concatenate([marked, few]))


def _resample(shares: npt.NDArray[np.float64], count: int, random: np.random.Generator) -> IntArray:
    """Draw ``count`` places so that each comes share x count times, rounded up or down by chance."""
    positions = (np.arange(count) + random.random()) / count
    return np.minimum(np.searchsorted(np.cumsum(shares), positions), shares.size - 1)


def sample_seed(seed: int, epoch: int, position: int) -> int:
    """Return the seed of one sample: by training seed, epoch and place in it, so never by worker or timing."""
    return int(np.random.SeedSequence((seed, epoch, position)).generate_state(1, np.uint32)[0])
