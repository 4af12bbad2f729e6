"""Published figures, where they were read, and where ours are stored.

    agrees: low - tolerance <= published <= high + tolerance,   [low, high] the interval of ours

If our setting is not the published one, `differs` says how, and the two are not compared.
"""

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

VERDICTS = ("agrees", "disagrees", "settings differ")


@dataclass(frozen=True)
class Row:
    """One published figure, and the entry of a summary with which it is compared."""

    claim: str
    paper: str
    setting: str  # setting of the paper
    published: float
    source: str  # where the published figure was read
    experiment: str  # folder of the summary with our figure
    entry: str  # names in the summary, separated by slashes
    tolerance: float = 0.0  # largest distance of the published figure from our interval
    differs: str = ""  # how our setting differs, if it does

    def ours(self, summary: Mapping[str, Any]) -> tuple[float, float, float]:
        """Return our figure with the ends of its interval, which are equal if it has none."""
        entry: Any = reduce(operator.getitem, self.entry.split("/"), summary)
        value, low, high = map(float, entry if np.ndim(entry) else (entry, entry, entry))
        return value, low, high

    def verdict(self, low: float, high: float) -> str:
        """Return the verdict for an interval of our figure."""
        if self.differs:
            return "settings differ"
        is_near = low - self.tolerance <= self.published <= high + self.tolerance
        return "agrees" if is_near else "disagrees"


ABSTRACT = "abstract"
BOUNDARY = {
    "identity": (1.17, "no activation, few samples"),
    "relu": (1.20, "ReLU"),
    "one sample": (1.41, "tanh, one sample"),
    "batches": (1.55, "tanh, mini-batches"),
    "tanh": (1.66, "tanh"),
    "offset": (1.98, "tanh, one rate and an offset"),
}
EDGE = "edge_of_stability"

# The key of a row is its label in figures.
ROWS: dict[str, Row] = {
    f"dimension, {label}": Row(
        claim=f"dimension of the boundary of trainable rates, {label}",
        paper="arXiv 2402.06184",
        setting="networks with 16 inputs and 16 hidden neurons",
        published=dimension,
        source="figure in the paper's repository",
        experiment="trainability_boundary",
        entry=f"condition/{name}/published_estimator",
        differs="8 neurons and fewer steps; zooms are chosen by a rule, in the paper by hand",
    )
    for name, (dimension, label) in BOUNDARY.items()
} | {
    "edge, plain descent": Row(
        claim="final sharpness in units of 2/η, plain descent",
        paper="arXiv 2103.00065",
        setting="1-100-1 tanh network, points of a Chebyshev polynomial",
        published=1.0,
        source=ABSTRACT,
        experiment=EDGE,
        entry="case/plain/rate/0.06/late_over_threshold",
        tolerance=0.02,
    ),
    "edge, heavy ball": Row(
        claim="final sharpness in units of (2 + 2β)/η, heavy ball",
        paper="arXiv 2103.00065",
        setting="full-batch descent with momentum",
        published=1.0,
        source="limit in the paper, quoted on our page",
        experiment=EDGE,
        entry="case/heavy/rate/0.06/late_over_threshold",
        tolerance=0.02,
    ),
    "edge, Nesterov": Row(
        claim="final sharpness in units of (2 + 2β)/((1 + 2β)η), Nesterov's momentum",
        paper="arXiv 2103.00065",
        setting="full-batch descent with momentum",
        published=1.0,
        source="limit in the paper, quoted on our page",
        experiment=EDGE,
        entry="case/nesterov/rate/0.03/late_over_threshold",
        tolerance=0.02,
    ),
    "edge, digits": Row(
        claim="final sharpness in units of 2/η, network on images",
        paper="arXiv 2103.00065",
        setting="networks without an activation of the outputs, CIFAR-10",
        published=1.0,
        source=ABSTRACT,
        experiment=EDGE,
        entry="case/digits/rate/3.5/late_over_threshold",
        differs="sigmoid outputs, which bound the cost; digits",
    ),
    "edge, Adam": Row(
        claim="preconditioned sharpness times η, Adam",
        paper="arXiv 2207.14484",
        setting="full-batch Adam with β₁ = 0.9",
        published=38.0,
        source=ABSTRACT,
        experiment=EDGE,
        entry="preconditioned/case/chebyshev_adam/all_late",
        tolerance=1.9,
    ),
    "edge, RMSProp": Row(
        claim="preconditioned sharpness times η, RMSProp",
        paper="arXiv 2207.14484",
        setting="full-batch RMSProp",
        published=2.0,
        source="limit in the paper, quoted on our page",
        experiment=EDGE,
        entry="preconditioned/case/chebyshev_rmsprop/all_late",
        tolerance=0.1,
    ),
    "edge, Adam, digits": Row(
        claim="preconditioned sharpness times η, Adam, network on images",
        paper="arXiv 2207.14484",
        setting="full-batch Adam, convolutional and residual networks",
        published=38.0,
        source=ABSTRACT,
        experiment=EDGE,
        entry="preconditioned/case/digits_adam/all_late",
        differs="sigmoid outputs, and few steps",
    ),
    "edge, sign descent": Row(
        claim="generalized sharpness in units of 2/η, sign descent",
        paper="arXiv 2603.05002",
        setting="descent in the maximum norm",
        published=1.0,
        source=ABSTRACT,
        experiment=EDGE,
        entry="generalized/case/sign_scaled/rate/0.001/sharpness",
        tolerance=0.15,
    ),
    "edge, Muon": Row(
        claim="generalized sharpness in units of 2/η, Muon without momentum",
        paper="arXiv 2603.05002",
        setting="descent in the spectral norm of each matrix",
        published=1.0,
        source=ABSTRACT,
        experiment=EDGE,
        entry="generalized/case/muon_scaled/rate/0.03/sharpness",
        tolerance=0.15,
    ),
    "batch sharpness, replacement": Row(
        claim="batch sharpness in units of 2/η, samples drawn with replacement",
        paper="arXiv 2412.20553",
        setting="stochastic descent with a constant rate",
        published=1.0,
        source=ABSTRACT,
        experiment="stochastic_edge",
        entry="case/net/batch_size/16/sampling/replacement/learning_rate/0.2/batch",
        tolerance=0.1,
    ),
    "batch sharpness, shuffled": Row(
        claim="batch sharpness in units of 2/η, shuffled passes",
        paper="arXiv 2412.20553",
        setting="stochastic descent with a constant rate",
        published=1.0,
        source=ABSTRACT,
        experiment="stochastic_edge",
        entry="case/net/batch_size/16/sampling/shuffled/learning_rate/0.2/batch",
        tolerance=0.1,
    ),
    "catapult, linear": Row(
        claim="largest rate in units of 1/λ, linear network",
        paper="arXiv 2003.02218",
        setting="two layers, one example, wide",
        published=4.0,
        source="theory of the paper, quoted on our page",
        experiment="catapult",
        entry="examples/1/activation/linear/width/512/edge",
    ),
    "catapult, ReLU": Row(
        claim="largest rate in units of 1/λ, ReLU network",
        paper="arXiv 2003.02218",
        setting="deeper networks on images",
        published=12.0,
        source="figures of the paper, quoted on our page",
        experiment="catapult",
        entry="examples/1/activation/ReLU/width/512/edge",
        differs="two layers and one example",
    ),
    "first period doubling": Row(
        claim="rate at which descent on (1 - xy)²/2 from x = y oscillates with period 2",
        paper="cubic map x ← r x - x³ with r = 1 + η",
        setting="r = 2",
        published=1.0,
        source="logperiod.appspot.com/cubic",
        experiment="catapult",
        entry="first_doubling",
        tolerance=0.01,
    ),
    "second period doubling": Row(
        claim="rate at which the period of this descent doubles again",
        paper="cubic map x ← r x - x³ with r = 1 + η",
        setting="r = √5",
        published=float(np.sqrt(5) - 1),
        source="logperiod.appspot.com/cubic",
        experiment="catapult",
        entry="second_doubling",
        tolerance=0.001,
    ),
    "grokking": Row(
        claim="exponent of the delay of generalization against weight decay",
        paper="arXiv 2603.13331",
        setting="modular arithmetic, AdamW",
        published=-1.0,
        source=ABSTRACT,
        experiment="grokking",
        entry="exponent",
        differs="a network of two layers on addition modulo 13",
    ),
    "outlying eigenvalues": Row(
        claim="number of outlying eigenvalues of the Hessian after training on 10 classes",
        paper="arXiv 1812.04754",
        setting="large networks, cross entropy",
        published=10.0,
        source=ABSTRACT,
        experiment="hessian_spectrum",
        entry="cost/cross_entropy/epoch/30/matrix/hessian/above_gap_median",
        differs="16 neurons in each hidden layer, sigmoids",
    ),
    "barrier, straight line": Row(
        claim="barrier of the training cost on the straight line, MNIST",
        paper="arXiv 2209.04836",
        setting="networks 784-512-512-512-10, descent at 0.1",
        published=0.742,
        source="table of the paper, quoted in our experiment",
        experiment="mode_connectivity",
        entry="width/256/kind/straight/barrier",
        differs="784-256-256-10, Adam, 4,000 images",
    ),
    "barrier, matched": Row(
        claim="barrier of the training cost after matching by weights, MNIST",
        paper="arXiv 2209.04836",
        setting="networks 784-512-512-512-10, descent at 0.1",
        published=0.088,
        source="table of the paper, quoted in our experiment",
        experiment="mode_connectivity",
        entry="width/256/kind/matched by weights/barrier",
        differs="784-256-256-10, Adam, 4,000 images",
    ),
    "sharpness and accuracy": Row(
        claim="rank correlation of the sharpness with the test accuracy",
        paper="arXiv 2605.05209",
        setting="100 networks",
        published=-0.226,
        source="the paper, quoted in our experiment",
        experiment="flatness",
        entry="recipe/ReLU, 20 epochs/measure/eigenvalue/outcome/accuracy/all",
        differs="networks 100-16-16-10 on 2,000 digits",
    ),
    "guessing": Row(
        claim="error of descents divided by that of guessed networks, 16 images",
        paper="Chiang and others, ICLR 2023",
        setting="small networks and few images",
        published=1.0,
        source="the paper, quoted in our experiment",
        experiment="guessing",
        entry="k/16/ratio/matched",
        differs="networks 25-8-1 without biases, digits 3 and 5",
    ),
    "transfer of the rate": Row(
        claim="best rate of Adam at the largest width divided by that at the smallest, mup",
        paper="arXiv 2203.03466",
        setting="wide transformers and residual networks",
        published=1.0,
        source=ABSTRACT,
        experiment="transfer",
        entry="optimizer/adam/parametrization/mup/shift",
        differs="widths from 16 to 256, to which the theory of large widths need not apply",
    ),
}
