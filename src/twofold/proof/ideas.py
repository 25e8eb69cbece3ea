"""The one table of ideas: each named once, with its two forms, formula, source and proof.

`twofold ideas`, `twofold show`, `twofold verify` and `twofold cost`, the parity tests and the index in the docs are all
read from here. A new idea is one entry, and the functions that it names. The table holds names only and imports
nothing heavy, so that it can be listed at once; `resolve` imports what a name stands for.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from twofold.errors import TwofoldError, near_names

if TYPE_CHECKING:
    from twofold.proof.parity import Parity

CHAPTERS = ("Regression and the training loop", "Convolution", "Networks", "Optimisation", "Vision")


@dataclass(frozen=True, kw_only=True)
class Idea:
    """One idea in two forms.

    Attributes:
        name: what it is called on the command line: its key in the table.
        title: what it is, in a few words.
        chapter: one of `CHAPTERS`, from where the entry stands in the table.
        also: what else it is called, here or in other tools.
        formula: the heart of it, in plain text.
        where: what each sign of the formula stands for: "x: weights; v, s: averages".
        source: who, and when.
        read: the readable form: "module:function" in `twofold`, in reading order, forward before backward.
        parts: further functions that the readable form is built from.
        run: the fast form: "module:name" of what to call, first the one to use.
        lab: the lab of `twofold lab` where it is seen at work; "" for none.
        proof: "module:name" of its `Parity` in `twofold.proof.cases`; left out, it follows from `read` and the name.
    """

    name: str = ""
    title: str
    chapter: str = ""
    also: tuple[str, ...] = ()
    formula: str
    where: str
    source: str
    read: tuple[str, ...]
    parts: tuple[str, ...] = ()
    run: tuple[str, ...]
    lab: str = ""
    proof: str = ""

    @property
    def file(self) -> str:
        """The file of the readable form, e.g. scratch/conv.py."""
        return self.read[0].partition(":")[0].replace(".", "/") + ".py"

    def parity(self) -> Parity:
        """Return how the idea is proved."""
        found: Parity = resolve(f"twofold.proof.cases.{self.proof}")
        return found


def plain(name: str) -> str:
    """Return a name without what spellings differ in: case, and all but letters and digits.

    >>> plain("Batch-Norm"), plain("batch_norm")
    ('batchnorm', 'batchnorm')
    """
    return "".join(filter(str.isalnum, name.lower()))


def resolve(name: str) -> Any:
    """Return what "module:attribute.attribute" stands for."""
    module, _, path = name.partition(":")
    found = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    return found


def find(names: Iterable[str]) -> list[Idea]:
    """Return the ideas called `names`, or all of them if there are none.

    Raises:
        TwofoldError: an unknown name; the message has what it is called here, or the nearest names.
    """
    wanted = list(names)
    for name in wanted:
        if name not in IDEAS:
            raise unknown(name)
    return [IDEAS[name] for name in wanted] if wanted else list(IDEAS.values())


def search(word: str) -> list[Idea]:
    """Return the ideas that a word is found in: in a name, the title, the chapter, the source or the file."""

    def found_in(idea: Idea) -> bool:
        texts = (idea.name, *idea.also, idea.title, idea.chapter, idea.source, idea.file, *idea.read, *idea.run)
        return any(plain(word) in plain(text) for text in texts)

    return [idea for idea in IDEAS.values() if found_in(idea)] if plain(word) else []


def unknown(name: str) -> TwofoldError:
    """Return the error about an idea that does not exist: what it is called here, else the nearest names."""
    levels: list[list[str]] = [[], [], [], []]  # the idea's own name, another name, a function of it, a part
    singular = {plain(name), plain(name).removesuffix("s"), plain(name).removesuffix("es")}
    for idea in IDEAS.values():
        for level, names in zip(levels, ((idea.name,), idea.also, (*idea.read, *idea.run), idea.parts), strict=True):
            if not singular.isdisjoint(plain(known.rpartition(":")[2]) for known in names):
                level.append(idea.name)
    close = near_names(name, IDEAS)
    if meant := next(filter(None, levels), None):
        hint = f"did you mean {' or '.join(meant)}?"
    elif close:
        hint = f"did you mean {' or '.join(close)}?"
    else:
        hint = "twofold ideas lists them, twofold ideas WORD searches"
    return TwofoldError(f"unknown idea {name!r}: {hint}")


def _scratch(module: str, *functions: str) -> tuple[str, ...]:
    return tuple(f"scratch.{module}:{function}" for function in functions)


_REGRESSION = {
    "synthetic-data": Idea(
        title="synthetic points whose answer is known",
        also=("toy data", "made-up data"),
        formula="y = X w + b + ε,  ε ~ N(0, σ²)",
        where=(
            "X: examples, a row each; w, b: true weights and bias; ε: noise; y: labels; N(0, σ²): normal, of "
            "standard deviation σ"
        ),
        source="Gauss, 1809",
        read=_scratch("data", "synthetic_regression"),
        parts=_scratch("data", "normal"),
        run=("torch:normal", "torch.nn.functional:linear"),
    ),
    "minibatches": Idea(
        title="a few random examples at a time, with and without replacement",
        also=("minibatch", "mini-batch", "batches", "data loader", "shuffle", "sampling"),
        formula="g = 1/|B| Σ_{i in B} ∇f_i(x),  E[g] = ∇f(x)",
        where=(
            "B: the examples drawn; f_i: loss of example i, f of all on average; x: weights; g: gradient that "
            "the update sees; E: average over draws"
        ),
        source="Robbins and Monro, 1951; Bottou, Curtis and Nocedal, 2018",
        read=_scratch("data", "batches", "data_iter"),
        run=("torch.utils.data:DataLoader", "torch.utils.data:RandomSampler"),
    ),
    "initialisation": Idea(
        title="weights of the right size to start from",
        also=("init", "initialization", "xavier", "glorot", "kaiming", "he"),
        formula="Xavier: Var(W) = 2/(fan_in + fan_out);  Kaiming: Var(W) = 2/fan",
        where="W: weights; Var: variance; fan_in, fan_out: inputs and outputs of a unit; fan: one of both",
        source="Glorot and Bengio, 2010; He et al., 2015",
        read=_scratch("init", "xavier_uniform", "xavier_normal", "kaiming_uniform", "kaiming_normal", "fans"),
        parts=_scratch("init", "constant", "normal", "uniform"),
        run=("torch.nn.init:xavier_uniform_", "torch.nn.init:kaiming_normal_"),
    ),
    "linear": Idea(
        title="the dense layer: linear and softmax regression, and half of every perceptron",
        also=("dense layer", "fully connected", "fc", "affine", "linear regression"),
        formula="y = x Wᵀ + b;  ∂L/∂x = g W,  ∂L/∂W = gᵀ x,  ∂L/∂b = Σ g",
        where=(
            "x: inputs, a row an example; W: weights, a row an output; b: bias; y: outputs; L: loss; g: ∂L/∂y; "
            "ᵀ: rows and columns exchanged"
        ),
        source="Legendre, 1805; Rosenblatt, 1958",
        read=_scratch("linear", "linear", "linear_backward"),
        run=("torch.nn.functional:linear", "torch.nn:Linear"),
        proof="basics:dense",
    ),
    "sigmoid": Idea(
        title="the S-shaped activation, to 0..1",
        also=("logistic", "activation"),
        formula="σ(x) = 1/(1 + e⁻ˣ);  σ' = σ(1 − σ)",
        where="x: a number; e: 2.718…; σ: the sigmoid; σ': its slope",
        source="Verhulst, 1838; Rumelhart, Hinton and Williams, 1986",
        read=_scratch("activation", "sigmoid", "sigmoid_backward"),
        run=("torch:sigmoid", "torch.nn:Sigmoid"),
    ),
    "tanh": Idea(
        title="the S-shaped activation, to −1..1",
        also=("hyperbolic tangent", "activation"),
        formula="tanh x = 2σ(2x) − 1;  tanh' = 1 − tanh²",
        where="x: a number; σ: the sigmoid; tanh': the slope",
        source="LeCun et al., Efficient backprop, 1998",
        read=_scratch("activation", "tanh", "tanh_backward"),
        run=("torch:tanh", "torch.nn:Tanh"),
    ),
    "relu": Idea(
        title="the activation that is on or off",
        also=("rectifier", "rectified linear unit", "activation"),
        formula="max(x, 0);  slope 1 where x > 0, else 0",
        where="x: a number",
        source="Nair and Hinton, 2010",
        read=_scratch("activation", "relu", "relu_backward"),
        run=("torch:relu", "torch.nn:ReLU"),
    ),
    "squared-loss": Idea(
        title="how far off a predicted value is",
        also=("mse", "l2 loss", "mean squared error", "loss"),
        formula="D2L: ½(ŷ − y)² each;  torch: mean of (ŷ − y)²",
        where="y: what is true; ŷ: what is predicted",
        source="Legendre, 1805",
        read=_scratch("loss", "squared_loss", "squared_loss_backward", "mse_loss", "mse_loss_backward"),
        run=("torch.nn.functional:mse_loss", "torch.nn:MSELoss"),
    ),
    "softmax": Idea(
        title="logits into probabilities",
        also=("log softmax", "probabilities", "activation"),
        formula="p_k = exp(z_k) / Σ_j exp(z_j);  ∂L/∂z = p (g − Σ g p)",
        where="z: logits; p_k: probability of class k; L: loss; g: ∂L/∂p",
        source="Bridle, 1990",
        read=_scratch("loss", "softmax", "softmax_backward", "log_softmax", "log_softmax_backward"),
        run=("torch.nn.functional:softmax", "torch.nn.functional:log_softmax"),
        lab="network",
    ),
    "cross-entropy": Idea(
        title="minus the logarithm of the true class's probability, with label smoothing and class weights",
        also=("log loss", "nll", "negative log likelihood", "label smoothing", "class weights", "imbalance", "loss"),
        formula="L = −Σ_k w_k q_k log p_k,  q = (1 − ε) onehot + ε/K;  ∂L/∂z_j = p_j Σ_k w_k q_k − w_j q_j",
        where=(
            "p: predicted probabilities, the softmax of the logits; z: logits; q: wanted ones; k, j: classes; K: "
            "their number; w: weight of a class; ε: label smoothing; onehot: 1 for the true class, else 0; L: "
            "loss"
        ),
        source="Shannon, 1948; King and Zeng, 2001 (weights); Szegedy et al., 2016 (smoothing)",
        read=_scratch("loss", "cross_entropy", "cross_entropy_backward", "smooth_targets"),
        run=("torch.nn.functional:cross_entropy", "torch.nn:CrossEntropyLoss"),
        lab="training",
    ),
    "binary-cross-entropy": Idea(
        title="the loss of labels that do not exclude one another: a yes or no for each, with a weight of the yes",
        also=("bce", "multi-label", "multilabel", "sigmoid loss", "positive weight", "label smoothing", "loss"),
        formula="L = −[w t log σ(z) + (1 − t) log σ(−z)];  ∂L/∂z = (1 − t) σ(z) − w t σ(−z)",
        where=("z: logit of a label; t: 1 if the image has it, else 0; w: weight of the yes; σ: the sigmoid; L: loss"),
        source="Cox, 1958; Szegedy et al., 2016 (smoothing)",
        read=_scratch("loss", "binary_cross_entropy", "binary_cross_entropy_backward", "smooth_binary_targets"),
        parts=_scratch("loss", "log_sigmoid"),
        run=("torch.nn.functional:binary_cross_entropy_with_logits", "torch.nn:BCEWithLogitsLoss"),
    ),
    "dropout": Idea(
        title="set a random part to zero, so that no value is relied upon",
        also=("regularisation",),
        formula="y = m x,  m = 0 with probability p, else 1/(1 − p)",
        where="x: values; m: mask, drawn for each; p: probability to be dropped; y: result",
        source="Hinton et al., 2012; Srivastava et al., 2014",
        read=_scratch("dropout", "dropout", "dropout_mask", "dropout_backward"),
        run=("torch.nn.functional:dropout", "torch.nn:Dropout"),
        proof="basics:dropout_parity",
    ),
    "mlp": Idea(
        title="the multilayer perceptron, and back-propagation through a list of layers",
        also=("perceptron", "multilayer perceptron", "backprop", "backpropagation", "back-propagation"),
        formula="y = f_n(… f_1(x));  the gradient goes back through f_n, …, f_1 in turn",
        where="x: input; f_1, …, f_n: layers; y: output",
        source="Rumelhart, Hinton and Williams, 1986",
        read=_scratch("network", "mlp", "Sequential", "Layer"),
        parts=_scratch("network", "Linear", "ReLU", "BatchNorm", "Dropout"),
        run=("torch.nn:Sequential",),
        lab="training",
    ),
    "five-steps": Idea(
        title="data, model, loss, optimiser, training: linear regression by hand",
        also=("training loop", "train", "linear regression"),
        formula="for each batch: ŷ = f(x), L(ŷ, y), g = ∂L/∂w, w ← w − ηg",
        where=(
            "f: model; x, y: a batch and its labels; ŷ: predictions; L: loss; w: weights; g: gradient; η: learning rate"
        ),
        source="Robbins and Monro, 1951",
        read=_scratch("train", "linear_regression"),
        run=("twofold.engine.loop:fit", "torch.nn:Linear"),
        lab="training",
    ),
    "parameter-groups": Idea(
        title="weights with their own learning rates, changed by hand while training",
        also=("param groups", "optimizer", "optimiser", "weight decay"),
        formula="for each group: x ← x − η_group g",
        where="x: weights of a group; g: their gradient; η_group: the group's learning rate",
        source="torch.optim",
        read=_scratch("optim", "Optimizer", "decayed"),
        run=("torch.optim:Optimizer", "twofold.optim.groups:parameter_groups"),
    ),
}
_CONVOLUTION = {
    "cross-correlation": Idea(
        title="one kernel slid over one image; a kernel learned from data",
        also=("correlation", "kernel", "filter", "edge detection"),
        formula="y[r, c] = Σ_i Σ_j x[r + i, c + j] w[i, j]",
        where="x: image; w: kernel; y: output; r, c: row and column of an output; i, j: of a weight",
        source="Fukushima, 1980; LeCun et al., 1998",
        read=_scratch("conv", "cross_correlation"),
        run=("torch.nn.functional:conv2d",),
        lab="convolution",
    ),
    "conv2d": Idea(
        title="convolution: channels, stride, padding on each side, dilation, groups",
        also=("convolution", "conv", "im2col", "unfold", "stride", "padding", "dilation", "groups", "depthwise"),
        formula="y = W X, X the windows as columns;  ∂L/∂W = G Xᵀ, ∂L/∂X = Wᵀ G;  side ⌊(n − d(k − 1) − 1 + p)/s⌋ + 1",
        where=(
            "W: kernels, a row each; X: windows, a column each; y: outputs; L: loss; G: ∂L/∂y; n: side of the "
            "image; k: of the kernel; p: padding on both sides together; s: stride; d: dilation; ⌊ ⌋: rounded "
            "down"
        ),
        source="LeCun et al., 1998; Chellapilla, Puri and Simard, 2006 (columns); Yu and Koltun, 2016 (dilation)",
        read=_scratch("conv", "conv2d", "conv2d_backward", "columns", "sum_columns"),
        parts=_scratch("conv", "check", "padding_sides", "pad", "unpad", "output_size", "windows", "by_group", "met")
        + _scratch("conv", "pair"),
        run=("torch.nn.functional:conv2d", "torch.nn:Conv2d"),
        lab="convolution",
    ),
    "conv2d-pieces": Idea(
        title="the same convolution, in pieces that fit the cache",
        also=("blocking", "tiling", "cache"),
        formula="∂L/∂W = Σ over strips of G Xᵀ, X the columns of a few rows of the output",
        where="W: kernels; X: windows as columns; L: loss; G: gradient of the output's rows in the strip",
        source="Lam, Rothberg and Wolf, The cache performance and optimizations of blocked algorithms, 1991",
        read=_scratch("conv_pieces", "conv2d", "conv2d_backward"),
        parts=_scratch("conv_pieces", "strips", "images_last"),
        run=("torch.nn.functional:conv2d", "torch.nn:Conv2d"),
        lab="convolution",
    ),
    "conv1x1": Idea(
        title="the 1x1 convolution is a dense layer over channels",
        also=("pointwise", "1x1", "network in network"),
        formula="y[:, r, c] = W x[:, r, c] + b",
        where=(
            "x: image, a column of channels at each pixel; W: weights, a row an output channel; b: bias; y: "
            "output; r, c: row and column"
        ),
        source="Lin, Chen and Yan, Network in network, 2014",
        read=_scratch("conv", "conv1x1"),
        run=("torch.nn.functional:linear", "torch.nn.functional:conv2d"),
        lab="convolution",
    ),
    "receptive-field": Idea(
        title="how much of the image one output sees",
        also=("field of view",),
        formula="field ← field + d(k − 1) jump;  jump ← jump s",
        where=(
            "field: pixels that an output sees in a row; jump: pixels from one output to the next; k: kernel's "
            "side; d: dilation; s: stride"
        ),
        source="Luo et al., 2016",
        read=_scratch("conv", "receptive_field"),
        run=("torch.autograd:grad",),
        lab="receptive-field",
    ),
    "max-pool2d": Idea(
        title="the largest value of each window",
        also=("max pooling", "pooling", "pool"),
        formula="y[r, c] = max_{i, j} x[s r + i, s c + j];  the gradient goes to the first largest",
        where="x: image; y: output; s: stride; r, c: row and column of an output; i, j: of a place in its window",
        source="Riesenhuber and Poggio, 1999",
        read=_scratch("pool", "max_pool2d", "max_pool2d_backward"),
        run=("torch.nn.functional:max_pool2d", "torch.nn:MaxPool2d"),
        lab="pooling",
    ),
    "avg-pool2d": Idea(
        title="the mean of each window",
        also=("average pooling", "mean pooling", "pooling", "pool"),
        formula="y[r, c] = 1/k² Σ_{i, j} x[s r + i, s c + j]",
        where=(
            "x: image; y: output; k: window's side; s: stride; r, c: row and column of an output; i, j: of a "
            "place in its window"
        ),
        source="LeCun et al., 1998",
        read=_scratch("pool", "avg_pool2d", "avg_pool2d_backward"),
        run=("torch.nn.functional:avg_pool2d", "torch.nn:AvgPool2d"),
        lab="pooling",
    ),
    "adaptive-avg-pool2d": Idea(
        title="the means of so many parts of the image; global average pooling",
        also=("adaptive", "adaptive pooling", "global average pooling", "gap", "pooling", "pool"),
        formula="y = A_h x A_wᵀ, each row of A the mean of one part;  ∂L/∂x = A_hᵀ g A_w",
        where=(
            "x: image; y: output; A_h, A_w: matrices that average rows and columns; L: loss; g: ∂L/∂y; ᵀ: rows "
            "and columns exchanged"
        ),
        source="Lin, Chen and Yan, 2014; He et al., 2014",
        read=_scratch("pool", "adaptive_avg_pool2d", "adaptive_avg_pool2d_backward", "averaging_matrix"),
        run=("torch.nn.functional:adaptive_avg_pool2d", "torch.nn:AdaptiveAvgPool2d"),
        lab="pooling",
    ),
}
_NETWORKS = {
    "lenet": Idea(
        title="the first convolution network, and training it by hand",
        also=("lenet-5", "cnn"),
        formula="conv 5×5 → σ → pool, twice; dense 120 → 84 → classes",
        where=(
            "conv 5×5: convolution, kernels of 5×5; σ: sigmoid; pool: largest of each 2×2; dense: layer of so "
            "many units"
        ),
        source="LeCun, Bottou, Bengio and Haffner, 1998",
        read=_scratch("network", "lenet") + _scratch("train", "lenet_on_images", "train_steps"),
        parts=_scratch("network", "Conv2d", "MaxPool2d", "Sigmoid", "Flatten") + _scratch("train", "accuracy"),
        run=("twofold.models.lenet:LeNet", "twofold.engine.loop:fit"),
        lab="training",
    ),
    "batch-norm": Idea(
        title="batch normalisation, dense and convolutional",
        also=("batch normalisation", "batch normalization", "bn", "normalisation"),
        formula="y = γ (x − μ)/√(σ² + ε) + β;  ∂L/∂x = γ/σ (g − mean(g) − x̂ mean(g x̂))",
        where=(
            "x: values of a channel; μ, σ²: their mean and variance over the batch; x̂: (x − μ)/√(σ² + ε); γ, β: "
            "learned scale and shift; ε: keeps from dividing by 0; y: result; L: loss; g: ∂L/∂y"
        ),
        source="Ioffe and Szegedy, 2015",
        read=_scratch("norm", "batch_norm", "batch_norm_backward"),
        run=("torch.nn.functional:batch_norm", "torch.nn:BatchNorm2d"),
        lab="batch-norm",
    ),
    "local-response-norm": Idea(
        title="divide by the size of the neighbouring channels",
        also=("local response normalisation", "lrn", "alexnet", "normalisation"),
        formula="y = x / (k + α mean(x²))^β over the neighbouring channels",
        where="x: value; y: result; k, α, β: constants",
        source="Krizhevsky, Sutskever and Hinton, 2012",
        read=_scratch("norm", "local_response_norm", "local_response_norm_backward"),
        run=("torch.nn.functional:local_response_norm", "torch.nn:LocalResponseNorm"),
    ),
    "resnet": Idea(
        title="residual blocks: ResNet-18 on from-scratch operations",
        also=("residual", "residual block", "skip connection", "shortcut"),
        formula="y = relu(x + F(x))",
        where="x: what comes in; F: two or three convolutions with batch normalisation; y: what goes on",
        source="He, Zhang, Ren and Sun, 2016",
        read=("models.resnet:BasicBlock",),
        parts=("models.scratch_form:to_scratch",),
        run=("twofold.models.resnet:ResNet",),
        proof="networks:residual",
        lab="network",
    ),
}
_OPTIMISATION = {
    "sgd": Idea(
        title="gradient descent, stochastic and in minibatches",
        also=("gradient descent", "stochastic gradient descent", "optimizer"),
        formula="x ← x − ηg",
        where="x: weights; g: their gradient; η: learning rate",
        source="Cauchy, 1847; Robbins and Monro, 1951",
        read=_scratch("optim", "sgd"),
        run=("twofold.optim.rules:SGD", "torch.optim:SGD"),
        lab="descent",
    ),
    "momentum": Idea(
        title="a ball that keeps part of its speed",
        also=("heavy ball", "velocity", "optimizer"),
        formula="D2L: v ← γv + ηg, x ← x − v;  torch: v ← γv + g, x ← x − ηv",
        where="x: weights; g: their gradient; v: velocity; γ: share of it that is kept; η: learning rate",
        source="Polyak, 1964",
        read=_scratch("optim", "momentum"),
        run=("twofold.optim.rules:Momentum", "torch.optim:SGD"),
        lab="descent",
    ),
    "nesterov": Idea(
        title="momentum that looks ahead",
        also=("nag", "accelerated gradient", "optimizer"),
        formula="v ← γv + g;  x ← x − η(g + γv)",
        where="x: weights; g: their gradient; v: velocity; γ: share of it that is kept; η: learning rate",
        source="Nesterov, 1983; Sutskever et al., 2013",
        read=_scratch("optim", "nesterov"),
        run=("twofold.optim.rules:Nesterov", "torch.optim:SGD"),
        lab="descent",
    ),
    "adagrad": Idea(
        title="smaller steps where gradients have been large",
        also=("optimizer",),
        formula="s ← s + g²;  D2L: x ← x − ηg/√(s + ε);  torch: x ← x − ηg/(√s + ε)",
        where=(
            "x: weights; g: their gradient; s: sum of squared gradients; η: learning rate; ε: keeps from dividing by 0"
        ),
        source="Duchi, Hazan and Singer, 2011",
        read=_scratch("optim", "adagrad"),
        run=("twofold.optim.rules:AdaGrad", "torch.optim:Adagrad"),
        lab="descent",
    ),
    "rmsprop": Idea(
        title="smaller steps where gradients have been large lately",
        also=("optimizer",),
        formula="s ← γs + (1 − γ)g²;  D2L: x ← x − ηg/√(s + ε);  torch: x ← x − ηg/(√s + ε)",
        where=(
            "x: weights; g: their gradient; s: average of squared gradients; γ: share of it that is kept; η: "
            "learning rate; ε: keeps from dividing by 0"
        ),
        source="Tieleman and Hinton, 2012",
        read=_scratch("optim", "rmsprop"),
        run=("twofold.optim.rules:RMSProp", "torch.optim:RMSprop"),
        lab="descent",
    ),
    "adadelta": Idea(
        title="past steps stand in for the learning rate",
        also=("optimizer",),
        formula="s ← ρs + (1 − ρ)g²;  g′ = √((Δ + ε)/(s + ε)) g;  x ← x − g′;  Δ ← ρΔ + (1 − ρ)g′²",
        where=(
            "x: weights; g: their gradient; g′: step; s, Δ: averages of squared gradients and of squared steps; "
            "ρ: share of them that is kept; ε: lets the first step begin"
        ),
        source="Zeiler, 2012",
        read=_scratch("optim", "adadelta"),
        run=("twofold.optim.rules:AdaDelta", "torch.optim:Adadelta"),
        lab="descent",
    ),
    "adam": Idea(
        title="momentum over RMSProp, both corrected for their start at zero",
        also=("optimizer",),
        formula="v ← β₁v + (1 − β₁)g;  s ← β₂s + (1 − β₂)g²;  x ← x − η v̂/(√ŝ + ε),  v̂ = v/(1 − β₁ᵗ), ŝ = s/(1 − β₂ᵗ)",
        where=(
            "x: weights; g: their gradient; v, s: averages of g and of g²; β₁, β₂: shares of them that are kept; "
            "v̂, ŝ: corrected for their start at 0; t: number of the step, from 1; η: learning rate; ε: keeps "
            "from dividing by 0"
        ),
        source="Kingma and Ba, 2015",
        read=_scratch("optim", "adam"),
        run=("twofold.optim.rules:Adam", "torch.optim:Adam"),
        lab="descent",
    ),
    "adamw": Idea(
        title="Adam with weight decay beside it",
        also=("weight decay", "decoupled weight decay", "optimizer"),
        formula="x ← (1 − ηλ)x, then Adam",
        where="x: weights; η: learning rate; λ: weight decay",
        source="Loshchilov and Hutter, 2019",
        read=_scratch("optim", "adamw"),
        run=("twofold.optim.rules:AdamW", "torch.optim:AdamW"),
        lab="descent",
    ),
    "schedules": Idea(
        title="how the learning rate moves",
        also=("schedule", "scheduler", "learning rate", "warmup", "cosine", "one-cycle"),
        formula="ηt^α;  ηα^t;  ηf^⌊t/T⌋;  up and down in a line;  up, then half a cosine",
        where=(
            "η: learning rate at the start; t: epoch or step; α, f: constants; T: epochs between two falls; ⌊ ⌋: "
            "rounded down"
        ),
        source="Robbins and Monro, 1951; Smith and Topin, 2018; Loshchilov and Hutter, 2017",
        read=_scratch("schedule", "power", "exponential", "step", "one_cycle", "warmup_cosine"),
        run=("twofold.optim.schedule:Schedule", "twofold.optim.scheduler:ScheduleLR"),
        lab="training",
    ),
}
_VISION = {
    "flip": Idea(
        title="mirror an image",
        also=("mirror", "augmentation"),
        formula="y[r, c] = x[r, W − 1 − c]",
        where="x, y: image before and after; r, c: row and column; W: width",
        source="Krizhevsky, Sutskever and Hinton, 2012",
        read=_scratch("augment", "horizontal_flip", "vertical_flip", "draw_flip"),
        run=("torchvision.transforms.v2.functional:horizontal_flip", "torchvision.transforms.v2:RandomHorizontalFlip"),
        lab="augmentation",
    ),
    "resized-crop": Idea(
        title="a random part of an image, brought to size",
        also=("crop", "resize", "resizing", "bilinear", "antialias", "augmentation"),
        formula="y = A_h x A_wᵀ,  A[r, j] ∝ max(0, 1 − |(j + ½) − (r + ½)s| / max(1, s))",
        where=(
            "x: the part cut out; y: result; A_h, A_w: matrices that weigh its rows and columns; r, j: row of "
            "the result, of the part; s: rows of the part for one of the result; ∝: up to a factor, so that each "
            "row of A adds up to 1"
        ),
        source="Szegedy et al., Going deeper with convolutions, 2015; Turkowski, 1990",
        read=_scratch("augment", "resized_crop", "crop", "resize", "resize_matrix", "draw_resized_crop"),
        run=("torchvision.transforms.v2.functional:resized_crop", "torchvision.transforms.v2:RandomResizedCrop"),
        lab="augmentation",
    ),
    "brightness": Idea(
        title="lighter or darker",
        also=("colour", "augmentation"),
        formula="y = f x",
        where="x, y: image before and after; f: factor, drawn around 1",
        source="Haeberli and Voorhies, 1994; Howard, 2013",
        read=_scratch("augment", "adjust_brightness"),
        run=("torchvision.transforms.v2.functional:adjust_brightness",),
        lab="augmentation",
    ),
    "contrast": Idea(
        title="nearer to the mean grey, or further from it",
        also=("colour", "augmentation"),
        formula="y = f x + (1 − f) μ_grey",
        where="x, y: image before and after; f: factor, drawn around 1; μ_grey: mean of the grey image",
        source="Haeberli and Voorhies, 1994; Howard, 2013",
        read=_scratch("augment", "adjust_contrast"),
        run=("torchvision.transforms.v2.functional:adjust_contrast",),
        lab="augmentation",
    ),
    "saturation": Idea(
        title="nearer to grey, or further from it",
        also=("colour", "grayscale", "augmentation"),
        formula="y = f x + (1 − f)(0.2989 R + 0.587 G + 0.114 B)",
        where="x, y: image before and after; f: factor, drawn around 1; R, G, B: red, green and blue of the pixel",
        source="Haeberli and Voorhies, 1994; ITU-R BT.601, 1982",
        read=_scratch("augment", "adjust_saturation", "rgb_to_grayscale"),
        run=("torchvision.transforms.v2.functional:adjust_saturation",),
        lab="augmentation",
    ),
    "hue": Idea(
        title="rotate the colour wheel; all four colour changes in random order",
        also=("colour", "hsv", "colour jitter", "augmentation"),
        formula="H ← (H + f) mod 1;  channel = V − V S max(0, min(k, 4 − k, 1))",
        where=(
            "H, S, V: hue, saturation and value of a pixel, in 0..1; f: turn of the wheel, drawn around 0; k: (6 "
            "H − n) mod 6, with n = 1, 3, 5 for red, green, blue"
        ),
        source="Smith, 1978; Howard, 2013",
        read=_scratch("augment", "adjust_hue", "rgb_to_hsv", "hsv_to_rgb", "draw_jitter", "Jitter", "color_jitter"),
        run=("torchvision.transforms.v2.functional:adjust_hue", "torchvision.transforms.v2:ColorJitter"),
        lab="augmentation",
    ),
    "normalize": Idea(
        title="pixels to mean 0 and standard deviation 1",
        also=("normalise", "standardise", "mean and std", "transforms"),
        formula="y = (x/255 − μ) / σ",
        where=(
            "x: pixels, 0..255; μ, σ: mean and standard deviation of the channel, of the training images; y: result"
        ),
        source="LeCun et al., Efficient backprop, 1998",
        read=_scratch("augment", "to_float", "normalize", "compose"),
        run=("torchvision.transforms.v2.functional:normalize", "twofold.data.normalising:normalise"),
    ),
    "box-forms": Idea(
        title="bounding boxes by their corners, or by centre and size",
        also=("bounding box", "bbox", "boxes", "xyxy", "cxcywh", "box convert"),
        formula="c = (x₁ + x₂)/2,  w = x₂ − x₁",
        where="x₁, x₂: left and right; c: centre; w: width; so too from top to bottom",
        source="Girshick et al., 2014",
        read=_scratch("boxes", "corner_to_center", "center_to_corner", "area"),
        run=("torchvision.ops:box_convert", "torchvision.ops:box_area"),
        lab="boxes",
    ),
    "anchors": Idea(
        title="boxes of several sizes and shapes at every position",
        also=("anchor", "prior boxes", "default boxes", "ssd"),
        formula="w = s√r, h = s/√r;  (sᵢ, r₁) and (s₁, rⱼ): n + m − 1 a pixel",
        where=(
            "s: size, as a share of the image's side; r: ratio of width to height; w, h: width and height; n, m: "
            "numbers of sizes and ratios"
        ),
        source="Ren et al., Faster R-CNN, 2015; Liu et al., SSD, 2016",
        read=_scratch("boxes", "anchors", "multiscale_anchors"),
        run=("torchvision.models.detection.anchor_utils:DefaultBoxGenerator",),
        lab="boxes",
    ),
    "iou": Idea(
        title="how much two boxes overlap",
        also=("intersection over union", "jaccard", "overlap", "box iou"),
        formula="|A ∩ B| / (|A| + |B| − |A ∩ B|)",
        where="A, B: boxes; | |: area; ∩: what both cover; the result is 0 (apart) to 1 (the same)",
        source="Jaccard, 1901; Everingham et al., 2010",
        read=_scratch("boxes", "iou"),
        parts=_scratch("boxes", "intersection"),
        run=("torchvision.ops:box_iou",),
        lab="boxes",
    ),
    "match-anchors": Idea(
        title="which anchor answers for which object",
        also=("match", "matching", "assignment", "ssd"),
        formula="D2L: repeat (a, t) ← argmax IoU over the free pairs;  torchvision: each t takes argmax_a IoU;  "
        "then argmax_t IoU ≥ τ, else −1",
        where=(
            "a: anchor; t: true box; IoU: how much two overlap; argmax: the one with the largest; τ: least "
            "overlap to count; −1: background"
        ),
        source="Erhan et al., MultiBox, 2014; Liu et al., SSD, 2016",
        read=_scratch("boxes", "match"),
        run=("torchvision.models.detection._utils:SSDMatcher", "twofold.detect.matching:match"),
        lab="boxes",
    ),
    "iou-crop": Idea(
        title="a random part of an image that overlaps some box enough; the boxes move along",
        also=("random iou crop", "ssd crop", "crop", "boxes", "augmentation", "ssd"),
        formula="the first of 50 parts with max IoU(part, box) ≥ τ over boxes with their middle in it,  "
        "τ in {0, 0.1, 0.3, 0.5, 0.7, 0.9}, or the whole;  x' = (x − s) W/w",
        where=(
            "IoU: how much two boxes overlap; τ: least overlap, drawn; x, x': place before and after; s, w: the "
            "part's left side and width; W: the image's width; so too from top to bottom"
        ),
        source="Liu et al., SSD, 2016",
        read=_scratch("box_augment", "iou_crop", "choose_part", "largest_overlap", "has_middle")
        + _scratch("box_augment", "has_allowed_shape", "draw_parts", "draw_constraints"),
        run=("twofold.augment.iou_crop:IouCrop", "torchvision.transforms.v2:RandomIoUCrop"),
        lab="augmentation",
    ),
    "zoom-out": Idea(
        title="an image shrunk onto a canvas of its mean colour, for small objects; the boxes move along",
        also=("random zoom out", "expand", "boxes", "augmentation", "ssd"),
        formula="x' = s + x w/W,  w = W/f,  f uniform in 1..4,  s uniform in 0..W − w",
        where=(
            "x, x': place before and after; s, w: the shrunk image's left side and width; W: the canvas' width; "
            "f: factor; so too from top to bottom"
        ),
        source="Liu et al., SSD, 2016",
        read=_scratch("box_augment", "zoom_out", "draw_zoom_out"),
        run=("twofold.augment.zoom_out:ZoomOut", "torchvision.transforms.v2:RandomZoomOut"),
        lab="augmentation",
    ),
    "box-offsets": Idea(
        title="how an anchor must move and grow to become the object's box, and back",
        also=("offsets", "box regression", "encode", "decode", "ssd"),
        formula="t = ((c − a)/a_w)/0.1,  log(w/a_w)/0.2",
        where=(
            "t: offset; a, a_w: the anchor's centre and width; c, w: the box's centre and width; 0.1, 0.2: "
            "constants; so too from top to bottom"
        ),
        source="Girshick et al., 2014; Liu et al., SSD, 2016",
        read=_scratch("boxes", "offsets", "apply_offsets"),
        run=("torchvision.models.detection._utils:BoxCoder",),
        lab="boxes",
    ),
    "average-precision": Idea(
        title="are the images that have a label at the top of the list? precision over recall, and mAP",
        also=("map", "mean average precision", "precision", "recall", "precision-recall curve", "ranking"),
        formula="AP = Σ_k (R_k − R_{k−1}) P_k over the different scores, descending;  mAP = mean over labels",
        where=(
            "k: number of a score, the highest first; P_k, R_k: precision and recall of the images with at least "
            "that score; mAP: mean average precision"
        ),
        source="Salton and McGill, 1983; Everingham et al., 2010",
        read=_scratch("ranking", "average_precision", "precision_recall", "mean_average_precision"),
        run=(
            "torchmetrics.functional.classification:binary_average_precision",
            "torchmetrics.functional.classification:multilabel_average_precision",
        ),
    ),
    "nms": Idea(
        title="one box an object: non-maximum suppression",
        also=("non-maximum suppression", "non maximum suppression", "suppression"),
        formula="keep argmax score, drop IoU > τ with it, repeat",
        where=(
            "argmax score: the box with the highest score; IoU: how much two boxes overlap; τ: largest overlap "
            "that is allowed"
        ),
        source="Felzenszwalb et al., 2010",
        read=_scratch("boxes", "nms"),
        run=("torchvision.ops:nms",),
        lab="boxes",
    ),
    "nms-by-class": Idea(
        title="one box an object of each class: suppression class by class",
        also=("batched nms", "class-aware nms", "non-maximum suppression", "suppression"),
        formula="for each class k: nms of the boxes with label k;  all that are kept, by falling score",
        where="k: a class; nms: non-maximum suppression",
        source="Felzenszwalb et al., 2010; Girshick et al., 2014",
        read=_scratch("boxes", "nms_by_class"),
        run=("torchvision.ops:batched_nms",),
        lab="boxes",
    ),
    "generalised-iou": Idea(
        title="how far apart two boxes are, also where they do not meet; and the loss from it",
        also=("giou", "generalized iou", "generalized box iou", "giou loss", "box loss", "loss"),
        formula="GIoU = |A ∩ B|/|A ∪ B| − (|C| − |A ∪ B|)/|C|,  C the smallest box around both;  L = 1 − GIoU",
        where="A, B: boxes; | |: area; ∩: what both cover; ∪: what either covers; C: a third box; L: loss",
        source="Rezatofighi et al., Generalized intersection over union, 2019",
        read=_scratch("generalised_iou", "giou", "giou_loss", "giou_loss_backward"),
        run=("torchvision.ops:generalized_box_iou_loss", "torchvision.ops:generalized_box_iou"),
        proof="detector:generalised_iou_parity",
        lab="boxes",
    ),
    "smooth-l1": Idea(
        title="the loss of a place: a parabola near 0, a straight line further out",
        also=("smooth l1 loss", "huber loss", "box loss", "loss"),
        formula="L = d²/(2β) where |d| < β, else |d| − β/2;  ∂L/∂d = d/β, within −1..1",
        where="d: predicted minus true; β: where the parabola ends; L: loss",
        source="Huber, 1964; Girshick, Fast R-CNN, 2015",
        read=_scratch("loss", "smooth_l1_loss", "smooth_l1_loss_backward"),
        run=("torch.nn.functional:smooth_l1_loss", "torch.nn:SmoothL1Loss"),
        proof="detector:smooth_l1",
    ),
    "focal-loss": Idea(
        title="cross-entropy that turns down what is answered well already",
        also=("retinanet", "sigmoid focal loss", "class imbalance", "loss"),
        formula="L = −α_t (1 − p_t)^γ log p_t;  ∂L/∂z = ± α_t (1 − p_t)^γ (γ p_t log p_t − (1 − p_t))",
        where=(
            "p_t: probability of the right answer; z: logit; α_t: weight of that answer; γ: how much what is "
            "answered well counts less; ±: + where the right answer is yes; L: loss"
        ),
        source="Lin, Goyal, Girshick, He and Dollár, Focal loss for dense object detection, 2017",
        read=_scratch("loss", "focal_loss", "focal_loss_backward"),
        run=("torchvision.ops:sigmoid_focal_loss",),
        proof="detector:focal_loss",
    ),
    "hard-negatives": Idea(
        title="of thousands of anchors without an object, the few that the network gets most wrong",
        also=("hard negative mining", "hard negative sampling", "class imbalance", "ssd"),
        formula="in each image the 3 P anchors of background with the largest loss, P the number of positives",
        where="P: number of anchors in the image with an object",
        source="Sung and Poggio, 1998; Liu et al., SSD, 2016",
        read=_scratch("multibox", "hard_negatives"),
        run=("torch:topk",),
        proof="detector:hard_negatives",
    ),
    "multibox-loss": Idea(
        title="what a single-shot detector minimises: classes of anchors and places of objects",
        also=("ssd", "ssd loss", "detection loss", "loss"),
        formula="L = 1/P [Σ_{positive, hard} −log p_label + Σ_positive Σ_4 smooth_L1(t − t*)]",
        where=(
            "P: number of positive anchors, those with an object; hard: hard negatives; p_label: probability of "
            "the true class; t, t*: offsets, predicted and true, 4 an anchor; L: loss"
        ),
        source="Erhan et al., MultiBox, 2014; Liu et al., SSD, 2016",
        read=_scratch("multibox", "multibox_loss", "multibox_loss_backward"),
        run=("torchvision.models.detection.ssd:SSD.compute_loss", "twofold.detect.loss:MultiboxLoss"),
        proof="detector:multibox_loss",
    ),
    "detection-average-precision": Idea(
        title="how good is a detector? precision, recall and average precision, as COCO counts them",
        also=("map", "mean average precision", "coco", "coco map", "ap50", "precision", "recall", "detection metrics"),
        formula="AP = mean over thresholds 0.5..0.95 and recalls 0, 0.01..1 of max_{R_k ≥ r} P_k",
        where=(
            "threshold: IoU that counts as found; r: recall; P_k, R_k: precision and recall of the k detections "
            "with the highest scores"
        ),
        source="Everingham et al., 2010; Lin et al., Microsoft COCO, 2014",
        read=_scratch(
            "detection",
            *("overlaps", "match_detections", "judge", "curve", "read_curve", "evaluate"),
            *("average_precision", "average_recall"),
        ),
        parts=_scratch("detection", "Truth", "Detected", "Evaluated", "outside"),
        run=("twofold.detect.average_precision:evaluate_detections", "torchmetrics.detection:MeanAveragePrecision"),
    ),
    "detection-errors": Idea(
        title="what is wrong with what a detector gets wrong: six kinds of error, and what fixing each would give",
        also=("tide", "error analysis", "kinds of error", "false positives", "missed"),
        formula="place: 0.1 ≤ IoU_own < 0.5;  class: IoU_other ≥ 0.5;  double: IoU_own ≥ 0.5;  both: IoU_other ≥ 0.1;  "
        "else background;  gain = AP50 with one kind fixed − AP50",
        where=(
            "IoU_own, IoU_other: largest overlap with an object of its class, of another class; double: that "
            "object is taken by a better detection; AP50: average precision at IoU 0.5"
        ),
        source="Bolya, Foley, Hays and Hoffman, TIDE, 2020",
        read=_scratch("detection_errors", "error_kind", "judge_image", "fixed", "error_kinds"),
        parts=_scratch("detection_errors", "average_precision_at_half", "Answer", "ErrorKinds"),
        run=("twofold.detect.error_kinds:find_error_kinds",),
        proof="detection:detection_errors_parity",
    ),
}

# The file of `cases` for each module of scratch, where it has another name.
_CASES = {
    **dict.fromkeys(("data", "init", "linear", "activation", "loss", "dropout"), "basics"),
    **dict.fromkeys(("pool", "norm"), "layers"),
    **dict.fromkeys(("network", "train"), "networks"),
    "conv_pieces": "conv",
    "schedule": "optim",
}


def _filled(name: str, idea: Idea, chapter: str) -> Idea:
    module = idea.read[0].partition(":")[0].rpartition(".")[2]
    proof = idea.proof or f"{_CASES.get(module, module)}:{name.replace('-', '_')}"
    return replace(idea, name=name, chapter=chapter, proof=proof)


_TABLES = (_REGRESSION, _CONVOLUTION, _NETWORKS, _OPTIMISATION, _VISION)
IDEAS: dict[str, Idea] = {
    name: _filled(name, idea, chapter)
    for chapter, table in zip(CHAPTERS, _TABLES, strict=True)
    for name, idea in table.items()
}
