"""Sums over each cluster of bins, for some neurons: scores, and information. A cluster may lie anywhere in the data."""

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from popglm._design.arrays import round_up_length, to_device, zero_pad
from popglm._design.blocks import ArraySource, SumSource
from popglm._design.design import DesignRows
from popglm._design.sizes import SIZES
from popglm._design.total import total
from popglm._sums.losses import linear_predictor, loss_and_slope, select_neurons
from popglm.inference._fit_on_data import FitData
from popglm.parallel._share import refuse_own_rows


class ClusteredRows(DesignRows):
    """Rows of features with the number of their cluster, from 1, as an additional last feature."""

    def __init__(self, rows: DesignRows, labels: Int[np.ndarray, " time"]):
        self.length, self.streamed, self.center = rows.length, rows.streamed, rows.center
        self.scatter, self._rows = rows.scatter, rows  # type: ignore[method-assign]
        self.labels = np.asarray(rows.scatter(labels[:, None]), jnp.result_type(float))

    def rows_at(self, start, size):
        """The features of some rows, and their clusters."""
        source, counted = self._rows.rows_at(start, size)
        labels = zero_pad(self.labels[start : start + size], size)
        return SumSource((source, ArraySource(to_device(labels)))), counted

    def max_label_span(self) -> int:
        """Largest number of consecutive labels, from the least to the largest, that the rows of one block have."""
        labels = zero_pad(self.labels[:, 0], -(-self.length // SIZES.block_rows) * SIZES.block_rows)
        labels = labels.reshape(-1, SIZES.block_rows)
        return int(max((labels.max(1) - np.where(labels > 0, labels, np.inf).min(1)).max(), 0)) + 1


class ClusterSums:
    """Sums over clusters of bins; rows have the numbers of their clusters, from 1, in `labels`."""

    def __init__(self, data: FitData, labels: Int[np.ndarray, " time"]):
        refuse_own_rows("the covariance by clusters")
        rows = ClusteredRows(data.rows, labels)
        self.design = data.make_design(rows)
        n_clusters, span = round_up_length(int(rows.labels.max())), round_up_length(rows.max_label_span())
        self.sizes = n_clusters, min(span, n_clusters)

    def scores(
        self, model, neurons, coef, intercept, mean
    ) -> tuple[Float[np.ndarray, "clusters neurons parameters"], Float[np.ndarray, "clusters neurons"]]:
        """Scores of some neurons in features centred at their `mean`, summed over each cluster, and its valid rows."""
        scores, rows = total(cluster_scores(*self.sizes), self.design, model, neurons, coef, intercept)
        return scores - scores[:, :, -1:] * np.pad(mean.astype(float), ((0, 0), (0, 1))), rows

    def information(
        self, model, neurons, coef, intercept, mean
    ) -> Float[np.ndarray, "clusters neurons parameters parameters"]:
        """Fisher information of each cluster about the parameters of some neurons, in features centred at their `mean`."""
        return total(cluster_information(*self.sizes), self.design, model, neurons, coef, intercept, mean)


@lru_cache
def cluster_scores(n_clusters, max_span):
    """Function for `total` over `ClusteredRows`: scores of some neurons summed over each cluster, and its valid rows."""

    def sums(block, model, neurons, coef, intercept):
        block, inside, place = _split_labels(block, n_clusters, max_span)
        block, model = block.select_neurons(neurons), select_neurons(model, neurons)
        X, y, weight = block.X, block.y.T, jnp.broadcast_to(block.weight.T, block.y.T.shape)
        _, score = loss_and_slope(model, linear_predictor(block, coef, intercept), y)
        score = jnp.where(weight > 0, weight * score, 0)
        scores = (inside[:, None, :] * score[None]).reshape(-1, len(X)) @ _with_ones(X)
        rows = inside @ (weight > 0).astype(X.dtype).T
        return place(scores.reshape(max_span, len(neurons), -1)), place(rows)

    return sums


@lru_cache
def cluster_information(n_clusters, max_span):
    """Function for `total` over `ClusteredRows`: Fisher information of some neurons, summed over each cluster."""

    def sums(block, model, neurons, coef, intercept, mean):
        block, inside, place = _split_labels(block, n_clusters, max_span)
        block, model = block.select_neurons(neurons), select_neurons(model, neurons)
        weight = block.weight.T
        information = weight * model.information(linear_predictor(block, coef, intercept))
        information = jnp.where(weight > 0, information, 0)

        def products(neuron):
            mean, information = neuron
            centred = _with_ones(block.X - mean[None])
            return jax.lax.map(lambda rows: ((rows * information)[:, None] * centred).T @ centred, inside)

        return place(jax.lax.map(products, (mean, information)).swapaxes(0, 1))

    return sums


def _split_labels(block, n_clusters, max_span):
    """Block without the labels, which of its rows are in each of `max_span` clusters, and how these enter all clusters."""
    X, label = block.X[:, :-1], block.X[:, -1]
    first = jnp.min(jnp.where(label > 0, label, jnp.inf))
    first = jnp.where(jnp.isfinite(first), first, 1).astype(int)
    inside = (label.astype(int) - first)[None, :] == jnp.arange(max_span)[:, None]
    place = lambda a: jax.lax.dynamic_update_slice_in_dim(
        jnp.zeros((n_clusters + max_span, *a.shape[1:]), a.dtype), a, first - 1, 0
    )
    return block._replace(X=X), (inside & (label > 0)[None, :]).astype(X.dtype), place


def _with_ones(X):
    return jnp.concatenate([X, jnp.ones_like(X[:, :1])], 1)
