"""Network: a stack of layers, with the arrays that are trained."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from typing import Any, final

import numpy as np
import numpy.typing as npt

from chainrule import diagnosis
from chainrule.engines.choice import Engine, check_engine
from chainrule.nn.alone import connect, own_copy
from chainrule.nn.built import BuiltLayer, build_layers
from chainrule.nn.inference import Inference
from chainrule.nn.inputs import call_inputs, wrong_shape
from chainrule.nn.layer import Context, Layer, Shape
from chainrule.nn.losses import check_output_layer
from chainrule.nn.parameters import Parameters
from chainrule.nn.probabilities import predict_proba
from chainrule.nn.stack import LayerLike, as_layer, name_layer
from chainrule.nn.summary import SummaryRow, built_rows, summary_text, unbuilt_rows
from chainrule.nn.textbook import textbook_names
from chainrule.primitives.dispatch import AbstractArray, Array
from chainrule.scope import current_scope, layer_scope
from chainrule.see.backprop import backprop
from chainrule.see.draw.networks import draw_network
from chainrule.see.explain.explain import explain_network
from chainrule.tensor import Tensor
from chainrule.training import fit as training
from chainrule.training.compiled_step import CompiledStep
from chainrule.training.frozen import hidden_draws, refuse_draws
from chainrule.training.inputs import as_features, check_count
from chainrule.training.losses import Loss
from chainrule.training.measured import Measured
from chainrule.training.on_batch import BatchTraining, train_on_batch
from chainrule.training.trainable import TextbookNames
from chainrule.warn import warn_user

__all__ = ["Network"]

# Rows predicted at once: enough to fill the matrix products, few enough that what a layer gives
# is still in the cache when the next one reads it.
_PREDICT_ROWS = 512


@final
class Network:
    """Layers one after the other. Called with arrays it gives outputs; `fit` trains it.

    `layers` are `Layer` objects; an activation's name, or a function of one array, stands for an
    activation layer. Layers without a name get one from kind and number: dense_1, sigmoid_1,
    dense_2. The network is built, that is its parameters are made, once it knows the shape of a
    sample: from `input_shape`, from `build`, or from the first inputs. `dtype` is that of the
    parameters, and inputs are cast to it. `seed` fixes the initial parameters.
    Raises TypeError for what is no layer, ValueError for unknown activations and unusable names.

    >>> from chainrule import nn
    >>> net = nn.Network([nn.Dense(3), nn.Tanh(), nn.Dense(1)], input_shape=2, seed=0)
    >>> net
    Network(2-3-1, tanh)
    >>> net.predict(np.zeros((4, 2))).shape
    (4, 1)
    """

    def __init__(
        self,
        layers: Iterable[LayerLike] = (),
        *,
        input_shape: int | Iterable[int] | None = None,
        dtype: npt.DTypeLike = np.float32,
        seed: int | None = None,
    ) -> None:
        self.dtype = np.dtype(dtype)
        if self.dtype.kind != "f":
            raise TypeError(
                f"a network computes with floating-point numbers, not {self.dtype}: "
                "use float32 or float64"
            )
        self.seed = seed
        self._rng = np.random.default_rng(seed)
        self._layers: list[Layer] = []
        self._step: CompiledStep | None = None
        self._inferences: dict[Engine, Inference] = {}  # made at the first prediction on each
        self._built: list[BuiltLayer] = []
        self._input_shape: Shape = ()
        self._parameters: Parameters | None = None
        self._state: dict[str, np.ndarray] = {}
        self.measured = Measured()  # by the last fit
        self.batch_training: BatchTraining | None = None
        for layer in layers:
            self.add(layer)
        if input_shape is not None:
            self.build(input_shape)

    # Layers and their arrays

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers in order, each with its name."""
        return tuple(self._layers)

    def add(self, layer: LayerLike) -> None:
        """Put a layer, or the activation of a name or function, at the end.

        A network that is built keeps its parameters and gets the new layer's: the same as building
        all at once gives. They move to a new buffer, so take `net.parameters` anew.
        """
        layer = as_layer(layer)
        name_layer(layer, self._layers)
        vars(self).update(_made_anew())  # these are of the network as it was
        if self._parameters is not None:
            built, arrays, state = build_layers([layer], self.output_shape, self._rng, self.dtype)
            self._parameters = Parameters({**self._parameters, **arrays}, self.dtype)
            self._state.update(state)
            self._built += built
            connect(self._built, self._parameters, self._state, self._input_shape)
        self._layers.append(layer)

    def build(self, input_shape: int | Iterable[int], seed: int | None = None) -> None:
        """Make the parameters for samples of this shape: (n_features,), or n_features alone.

        `seed`, or else the network's own, fixes the initial values. Called again, it starts afresh.
        Raises ValueError where a layer cannot take what the one before it gives.
        """
        shape = tuple(input_shape) if isinstance(input_shape, Iterable) else (int(input_shape),)
        if not shape or any(size < 1 for size in shape):
            raise ValueError(f"input_shape is {shape}, but a sample has axes of size 1 or more")
        if not self._layers:
            raise ValueError("the network has no layers: add some first, as in net.add(Dense(10))")
        rng = np.random.default_rng(self.seed if seed is None else seed)
        self._built, arrays, self._state = build_layers(self._layers, shape, rng, self.dtype)
        self._parameters = Parameters(arrays, self.dtype)
        self._inferences, self.batch_training = {}, None
        self._input_shape = shape
        self._rng = rng
        connect(self._built, self._parameters, self._state, shape)

    @property
    def input_dtype(self) -> np.dtype[Any]:
        """What inputs are cast to: `dtype`, or integers where the first layer takes those."""
        integers = bool(self._layers) and self._layers[0].takes_integers
        return np.dtype(np.intp) if integers else self.dtype

    @property
    def is_built(self) -> bool:
        """Whether the parameters exist."""
        return self._parameters is not None

    @property
    def input_shape(self) -> Shape:
        """The shape of one input sample; raises ValueError before the network is built."""
        self._require_built()
        return self._input_shape

    @property
    def output_shape(self) -> Shape:
        """The shape of one output sample; raises ValueError before the network is built."""
        self._require_built()
        return self._built[-1].output_shape

    @property
    def parameters(self) -> Parameters:
        """The trained arrays by name; raises ValueError before the network is built."""
        return self._require_built()

    @property
    def state(self) -> dict[str, np.ndarray]:
        """The arrays that are kept but not trained, by name."""
        self._require_built()
        return self._state

    def _require_built(self) -> Parameters:
        if self._parameters is None:
            raise ValueError(
                "the network is not built, since it does not know the shape of a sample: call "
                "net.build(n_features), pass input_shape= to Network, or call fit first"
            )
        return self._parameters

    # Outputs

    def forward(
        self, parameters: Mapping[str, Array], x: Array, context: Context | None = None
    ) -> Array:
        """The outputs (N, *output_shape) for inputs x (N, *input_shape), as a pure function.

        `parameters` maps the names of `net.parameters` to arrays, tensors or traced variables.
        Nothing is cast and nothing kept; layers leave their new state in `context.updates`.
        Raises ValueError where shapes do not fit, naming the layer.

        >>> import chainrule as cr
        >>> from chainrule import nn
        >>> net = nn.Network([nn.Dense(1, use_bias=False)], input_shape=2)
        >>> x = np.array([[1.0, 2.0]])
        >>> cr.grad(lambda parameters: net.forward(parameters, x).sum())(dict(net.parameters))
        {'dense_1.weight': array([[1.],
               [2.]], dtype=float32)}
        """
        self._require_built()
        if x.shape[1:] != self._input_shape:
            raise ValueError(wrong_shape(self, x.shape))
        context = context or Context(state=self._state)
        traced = current_scope().tracing
        for built in self._built:
            name = built.layer.name
            hidden = refuse_draws(name, {name: built.layer}) if traced else nullcontext()
            with layer_scope(name), hidden:
                x = built.forward(parameters, x, context)
        return x

    def apply(
        self,
        parameters: Mapping[str, Array],
        state: Mapping[str, Array],
        x: Array,
        training: bool = False,
        rng: np.random.Generator | None = None,
    ) -> tuple[Array, dict[str, Array]]:
        """The outputs for inputs x (N, *input_shape), and the state afterwards, as a pure function.

        `forward` with everything it depends on as an argument; what is trained is this function.

        >>> from chainrule import nn
        >>> net = nn.Network([nn.Dense(1, weight=[[2.0]])], input_shape=1)
        >>> net.apply(net.parameters, net.state, np.array([[3.0]]))
        (array([[6.]]), {})
        """
        context = Context(training=training, rng=rng, state=state)
        outputs = self.forward(parameters, x, context)
        return outputs, {**state, **context.updates}

    def __call__(self, x: Any) -> Array:
        """The outputs for inputs x (N, *input_shape): an array for arrays, a tensor for a tensor.

        Runs as in prediction, not as in training, and builds the network if it is not built.
        Within a function that is differentiated or compiled, its parameters are constants: one of
        the parameters calls `forward`.
        """
        if not isinstance(x, AbstractArray):
            return self.infer(call_inputs(self, x))
        if not self.is_built:
            self.build(x.shape[1:])
        return self.forward(self.parameters, x)

    def predict(
        self, x: Any, batch_size: int | None = None, *, engine: Engine | None = None
    ) -> np.ndarray:
        """The outputs (N, *output_shape) for inputs x (N, *input_shape), `batch_size` rows a time.

        Nothing is recorded, and the array is the caller's own. `engine` is "numpy" or "c", by
        default that of the last fit. Raises ValueError for an empty x,
        for one sample without a batch axis, and for samples of another shape than the network was
        built for, naming the layer.
        """
        if batch_size is not None:
            check_count("batch_size", batch_size)
        if engine is not None and engine != "c":
            engine = "c" if check_engine(engine) == "c" else "numpy"
        x = self._inputs(x)
        rows = _PREDICT_ROWS if batch_size is None else batch_size
        if len(x) <= rows:
            return self.infer(x, engine)
        return np.concatenate([self.infer(x[i : i + rows], engine) for i in range(0, len(x), rows)])

    predict_proba = predict_proba

    def layer_outputs(self, x: Any) -> dict[str, np.ndarray]:
        """What each layer gives for inputs x (N, *input_shape), by the layers' names.

        >>> from chainrule import nn
        >>> net = nn.Network([nn.Dense(1, weight=[[2.0]]), nn.ReLU()])
        >>> net.layer_outputs(np.array([[-3.0]]))
        {'dense_1': array([[-6.]], dtype=float32), 'relu_1': array([[0.]], dtype=float32)}
        """
        x = call_inputs(self, x)
        context = Context(state=self._state)
        given, outputs = x, {}
        for built in self._built:
            x = built.forward(self.parameters, x, context)
            outputs[built.layer.name] = own_copy(x, self._memory(given))
        return outputs

    def infer(self, x: np.ndarray, engine: Engine | None = None) -> np.ndarray:
        """The outputs for inputs that `as_inputs` has made, without noting which layer runs."""
        if current_scope().detect_nonfinite:  # tensors look at each value they compute
            return np.array(self.forward(self.parameters, Tensor(x)).detach())
        if engine is None:  # that of the last fit
            engine = "c" if self._step is not None and self._step.engine == "c" else "numpy"
        inference = self._inferences.get(engine)
        if inference is None:
            inference = self._inferences[engine] = Inference(self, engine)
            if inference.remark:
                warn_user(f"predict runs on the engine 'numpy', not 'c': {inference.remark}")
        if inference.is_compiled:
            return inference.outputs(x)
        parameters, context = self._require_built(), Context(state=self._state)
        given = x
        for built in self._built:
            x = built.forward(parameters, x, context)
        return own_copy(x, self._memory(given))

    def _memory(self, x: np.ndarray) -> Iterable[np.ndarray]:
        """What outputs must not share: these inputs, and the network's arrays."""
        return (x, self.parameters.flat, *self._state.values())

    def _inputs(self, x: Any) -> np.ndarray:
        """The inputs as an array of the network's dtype and input shape; builds the network."""
        if type(x) is np.ndarray and x.dtype == self.dtype and self._parameters is not None:
            is_as_wanted = x.shape[1:] == self._input_shape and len(x)
            if is_as_wanted and not self._layers[0].takes_integers:
                return x  # before all questions: a single row takes microseconds
        return call_inputs(self, x)

    # Training. The functions are methods as they stand: their options are written once.

    fit = training.fit
    evaluate = training.evaluate
    backprop = backprop
    train_on_batch = train_on_batch
    explain = explain_network
    draw = draw_network
    diagnose = diagnosis.diagnose

    def as_inputs(self, x: Any, name: str = "x", seed: Any = None) -> np.ndarray:
        """The inputs as `apply` takes them, all of them finite, or an error that calls them `name`.

        Builds the network for them if it is not built, by an int `seed` where it has none of its
        own.
        """
        input_shape = self._input_shape if self.is_built else None
        array = as_features(x, self.input_dtype, name, input_shape)
        if self._layers:
            self._layers[0].check_inputs(array)
        if not self.is_built:
            given = isinstance(seed, int | np.integer) and self.seed is None
            self.build(array.shape[1:], int(seed) if given else None)
        return array

    def is_one_sample(self, x: Any) -> bool:
        """Whether x is one sample, without the axis of samples; before `build`, one of features."""
        return np.shape(x) == self._input_shape if self.is_built else np.ndim(x) == 1

    def check_loss(self, loss: Loss) -> None:
        """Raise ValueError for a loss that repeats what the last layer does."""
        check_output_layer(loss, *self._layers)

    def check_batch_size(self, batch_size: int) -> None:
        """Raise ValueError for batches of one sample where a layer learns from several only.

        Batch normalisation does, whose variance of one value would be none.
        """
        if batch_size > 1 or not self._state:
            return

        def followed_by(n_samples: int) -> set[str]:
            x = np.zeros((n_samples, *self._input_shape), self.input_dtype)
            context = Context(training=True, rng=np.random.default_rng(0), state=self._state)
            self.forward(self.parameters, x, context)
            return set(context.updates)

        with hidden_draws(self.parts):
            idle = sorted(followed_by(2) - followed_by(1))
        if idle:
            raise ValueError(
                f"{idle[0].rpartition('.')[0]} learns its statistics from several samples, and "
                "nothing from batches of one sample: give batch_size= at least 2, or another layer"
            )

    def restarted(self, seed: int) -> Network:
        """A copy with parameters and state as they are before any training.

        They are drawn by the network's own seed, by this one where it has none. Raises ValueError
        where the network is not built.
        """
        self._require_built()
        other = copy.deepcopy(self)
        other.build(self._input_shape, seed if self.seed is None else None)
        return other

    @property
    def parts(self) -> Mapping[str, Layer]:
        """The layers by name: `apply` reads their options beside its arguments."""
        return {layer.name: layer for layer in self._layers}

    def textbook_names(self) -> TextbookNames:
        """What a textbook calls the layers' results and the parameters: z1, a1, W1, b1."""
        return textbook_names(self._layers, self.input_shape, self.parameters)

    @property
    def has_step(self) -> bool:
        """Whether there is a compiled step, that of the last `fit`."""
        return self._step is not None

    @property
    def step(self) -> CompiledStep:
        """The training step of the last `fit`, written out: `step.source`, `step.graph`.

        Raises ValueError where there is none: before a fit, or where `fit` could not compile it.
        """
        if self._step is None:
            raise ValueError("there is no compiled step yet: call fit, which writes one out")
        return self._step

    def keep_step(self, step: CompiledStep | None) -> None:
        """Let `step` be this one, or none."""
        self._step = step

    # Copies

    def __getstate__(self) -> dict[str, Any]:
        # A program is made anew where it is needed; functions of the user's own stay with the user.
        return {**self.__dict__, **_made_anew(), "measured": self.measured.saved()}

    def __copy__(self) -> Network:
        return copy.deepcopy(self)  # two networks of the same arrays would train each other

    def __deepcopy__(self, memo: dict[int, Any]) -> Network:
        other = object.__new__(Network)
        memo[id(self)] = other
        shared = {**_made_anew(), "measured": self.measured}
        own = {name: part for name, part in vars(self).items() if name not in shared}
        vars(other).update({**copy.deepcopy(own, memo), **shared})
        return other

    # Description

    def summary(self) -> str:
        """A table of the layers: name, output shape (N stands for the batch), parameters.

        >>> from chainrule import nn
        >>> print(nn.Network([nn.Dense(3), nn.Tanh(), nn.Dense(1)], input_shape=2).summary())
        layer    output shape  parameters
        ---------------------------------
        input    (N, 2)
        dense_1  (N, 3)                 9
        tanh_1   (N, 3)                 0
        dense_2  (N, 1)                 4
        ---------------------------------
        total                          13  float32, 52 bytes
        """
        return summary_text(self._summary())

    def _repr_html_(self) -> str:
        from chainrule import html  # for notebooks alone

        header, *rows, total = self._summary()
        table = html.table(header, rows, left=2, footer=total, more="layers")
        return html.block(html.paragraph(repr(self), strong=True), table)

    def _summary(self) -> list[SummaryRow]:
        if self._parameters is None:
            return unbuilt_rows(self._layers)
        return built_rows(self._input_shape, self._built, self._parameters)

    def __repr__(self) -> str:
        if not self.is_built:
            return f"Network([{', '.join(map(repr, self._layers))}])"
        sizes = [self._input_shape, *(b.output_shape for b in self._built if b.parameters)]
        kinds = dict.fromkeys(b.layer.kind for b in self._built if not b.parameters)
        return f"Network({', '.join(['-'.join(map(_joined, sizes)), *kinds])})"


def _made_anew() -> dict[str, Any]:
    """What a copy of a network makes for itself, by attribute."""
    return {"_step": None, "_inferences": {}, "batch_training": None}


def _joined(shape: Shape) -> str:
    return "x".join(map(str, shape))
