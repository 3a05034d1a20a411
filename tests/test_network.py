"""Network and Parameters: building, naming, outputs, the flat buffer, and what is refused."""

from __future__ import annotations

import copy
import inspect
import pickle
import pydoc
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chainrule as cr
import chainrule.training.fit as training_fit
from chainrule import nn


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def mlp(*, dtype=np.float32, seed=0, **options):
    layers = [nn.Dense(5), nn.Sigmoid(), nn.Dense(3)]
    return nn.Network(layers, input_shape=4, dtype=dtype, seed=seed, **options)


def inputs(n_samples=6, dtype=np.float32):
    return np.random.default_rng(7).normal(size=(n_samples, 4)).astype(dtype)


class Counter(nn.Layer):
    """A layer with state: it counts the samples it was trained on, and adds random noise."""

    def init_state(self, input_shape):
        return {"count": np.zeros(())}

    def forward(self, x, parameters, context):
        if context.training:
            context.updates["count"] = context.state["count"] + x.shape[0]
            x = x + context.rng.normal(size=x.shape)
        return x


# Outputs


def test_outputs_are_those_of_numpy():
    net = mlp(dtype=np.float64)
    x = inputs(dtype=np.float64)
    w1, b1, w2, b2 = net.parameters.values()
    b1[:], b2[:] = 0.3, -0.2
    expected = sigmoid(x @ w1 + b1) @ w2 + b2
    for out in (net(x), net.predict(x), net.forward(net.parameters, x)):
        np.testing.assert_allclose(out, expected, rtol=1e-13)


def test_a_worked_example():
    # Published: hidden values 0.899, 0.593, 0.378 and the output 0.506.
    columns = [[0.351, 1.076, 1.116], [-0.097, -0.165, 0.542], [0.457, -0.165, -0.331]]
    net = nn.Network(
        [
            nn.Dense(3, use_bias=False, weight=np.transpose(columns)),
            nn.Sigmoid(),
            nn.Dense(1, use_bias=False, weight=[[0.383], [-0.327], [-0.329]]),
            nn.Sigmoid(),
        ]
    )
    out = net.layer_outputs(np.array([[0, 1, 1]]))
    assert list(out) == ["dense_1", "sigmoid_1", "dense_2", "sigmoid_2"]
    np.testing.assert_allclose(out["sigmoid_1"], [[0.899, 0.593, 0.378]], atol=6e-4)
    np.testing.assert_allclose(out["sigmoid_2"], [[0.506]], atol=6e-4)


@pytest.mark.parametrize("batch_size", [None, 1, 4, 5, 6, 100])
def test_predict_in_batches_is_predict_at_once(batch_size):
    net = mlp()
    x = inputs()
    out = net.predict(x, batch_size=batch_size)
    assert out.shape == (6, 3)
    np.testing.assert_allclose(out, net(x), rtol=1e-6)


def test_predict_takes_more_rows_than_one_batch():
    x = inputs(1300)
    np.testing.assert_allclose(mlp().predict(x), mlp()(x), rtol=1e-5)


def test_one_row():
    assert mlp().predict(inputs(1)).shape == (1, 3)


def test_a_tensor_gives_a_tensor_with_the_gradient_by_the_input():
    net = mlp(dtype=np.float64)
    x = inputs(2, np.float64)
    out = net(cr.parameter(x))
    np.testing.assert_array_equal(out.value, net(x))
    gradient = cr.grad(lambda x: (net(x) ** 2).sum())(x)
    w1, b1, w2, b2 = net.parameters.values()
    a = sigmoid(x @ w1 + b1)
    expected = ((2 * (a @ w2 + b2)) @ w2.T * a * (1 - a)) @ w1.T
    np.testing.assert_allclose(gradient, expected, rtol=1e-12)


def test_the_gradient_by_the_parameters_has_their_names():
    net = mlp(dtype=np.float64)
    x = inputs(dtype=np.float64)
    grads = cr.grad(lambda p: net.forward(p, x).sum())(dict(net.parameters))
    assert list(grads) == list(net.parameters)
    w1, b1, w2, _ = net.parameters.values()
    a = sigmoid(x @ w1 + b1)
    np.testing.assert_allclose(grads["dense_2.bias"], [6, 6, 6])
    np.testing.assert_allclose(grads["dense_2.weight"], np.tile(a.sum(axis=0)[:, None], (1, 3)))
    d_z1 = w2.sum(axis=1) * a * (1 - a)
    np.testing.assert_allclose(grads["dense_1.weight"], x.T @ d_z1)
    np.testing.assert_allclose(grads["dense_1.bias"], d_z1.sum(axis=0))


def test_the_gradient_by_the_flat_vector_is_the_gradients_end_to_end():
    net = mlp(dtype=np.float64)
    x = inputs(dtype=np.float64)
    layout = net.parameters
    by_vector = cr.grad(lambda flat: net.forward(layout.unflatten(flat), x).sum())(layout.flat)
    by_name = cr.grad(lambda p: net.forward(p, x).sum())(dict(layout))
    np.testing.assert_array_equal(by_vector, layout.flatten(by_name))


def test_forward_attributes_what_it_records_to_the_layers():
    net = mlp()
    out = net(cr.parameter(inputs()))
    assert out.node.layer == "dense_2"


def test_a_nonfinite_value_is_located_in_prediction():
    net = mlp()
    net.parameters["dense_2.weight"][0, 0] = np.nan
    with cr.detect_nonfinite(), pytest.raises(FloatingPointError, match=r"layer dense_2 made NaN"):
        net.predict(inputs())
    net.parameters["dense_2.weight"][0, 0] = 0
    with cr.detect_nonfinite():
        out = net.predict(inputs())
    np.testing.assert_array_equal(out, net.predict(inputs()))
    out[0] = 1  # a plain array of the caller's own


# dtypes


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("given", [np.float16, np.float32, np.float64, np.int64, np.uint8, bool])
def test_inputs_are_cast_to_the_dtype_of_the_network(dtype, given):
    net = mlp(dtype=dtype)
    x = np.array([[0, 1, 1, 0], [1, 0, 0, 1]], given)
    out = net.predict(x)
    assert out.dtype == net.parameters.flat.dtype == dtype
    np.testing.assert_array_equal(out, net.predict(x.astype(float)))
    assert net(x.tolist()).dtype == dtype


def test_a_network_computes_with_floats():
    with pytest.raises(TypeError, match="floating-point numbers, not int32"):
        nn.Network(dtype=np.int32)


# Building


def test_the_first_call_builds():
    for call in (nn.Network.__call__, nn.Network.predict, nn.Network.layer_outputs):
        net = nn.Network([nn.Dense(3)])
        assert not net.is_built
        call(net, inputs())
        assert net.is_built
        assert net.input_shape == (4,)
        assert net.output_shape == (3,)
    net = nn.Network([nn.Dense(3)])
    net(cr.parameter(inputs()))
    assert net.input_shape == (4,)


@pytest.mark.parametrize("shape", [4, (4,), [4], np.int64(4)])
def test_an_input_shape_is_a_number_or_a_sequence(shape):
    net = nn.Network([nn.Dense(3)], input_shape=shape)
    assert net.input_shape == (4,)


def test_shapes_flow_from_layer_to_layer():
    net = nn.Network([nn.Flatten(), nn.Dense(6), nn.Reshape((2, 3)), nn.Dense(4)])
    net.build((2, 2))
    assert net.parameters.shapes == {
        "dense_1.weight": (4, 6),
        "dense_1.bias": (6,),
        "dense_2.weight": (3, 4),
        "dense_2.bias": (4,),
    }
    assert net.output_shape == (2, 4)
    assert net(np.ones((7, 2, 2))).shape == (7, 2, 4)


def test_the_seed_fixes_the_parameters():
    flats = [mlp(seed=3).parameters.flat, mlp(seed=3).parameters.flat]
    np.testing.assert_array_equal(*flats)
    assert (mlp(seed=4).parameters.flat != flats[0]).any()
    assert (mlp(seed=None).parameters.flat != mlp(seed=None).parameters.flat).any()
    net = nn.Network([nn.Dense(5), nn.Sigmoid(), nn.Dense(3)], seed=4)
    net.build(4, seed=3)
    np.testing.assert_array_equal(net.parameters.flat, flats[0])


def test_building_again_starts_afresh():
    net = mlp(seed=3)
    start = net.parameters.flat.copy()
    net.parameters.flat[:] = 0
    net.build(4)
    np.testing.assert_array_equal(net.parameters.flat, start)
    net.build(2)
    assert net.input_shape == (2,)


def test_a_network_grows_layer_by_layer():
    net = nn.Network(seed=3)
    net.add(nn.Dense(5))
    net.build(4)
    weight = net.parameters["dense_1.weight"].copy()
    net.add("sigmoid")
    net.add(nn.Dense(3))
    np.testing.assert_array_equal(net.parameters["dense_1.weight"], weight)
    np.testing.assert_array_equal(net.parameters.flat, mlp(seed=3).parameters.flat)
    assert net.output_shape == (3,)
    assert net(inputs()).shape == (6, 3)


def test_growing_keeps_what_was_learned():
    net = nn.Network([nn.Dense(5)], input_shape=4)
    net.parameters.flat[:] = 0.125
    net.add(nn.Dense(1))
    assert (net.parameters.flat[:25] == 0.125).all()


def test_a_failed_build_leaves_the_network_as_it_was():
    net = nn.Network([nn.Dense(5)], input_shape=4)
    before = net.parameters
    with pytest.raises(ValueError, match="reshape_1"):
        net.add(nn.Reshape((2, 2)))
    assert net.parameters is before
    assert len(net.layers) == 1
    unbuilt = nn.Network([nn.Dense(5), nn.Reshape((2, 2))])
    with pytest.raises(ValueError, match="reshape_1"):
        unbuilt.build(4)
    assert not unbuilt.is_built


def test_before_it_is_built_a_network_has_no_arrays():
    net = nn.Network([nn.Dense(3)])
    for name in ("parameters", "state", "input_shape", "output_shape"):
        with pytest.raises(ValueError, match=r"not built.*net\.build\(n_features\)"):
            getattr(net, name)
    with pytest.raises(ValueError, match="not built"):
        net.forward({}, inputs())


def test_a_network_needs_layers():
    with pytest.raises(ValueError, match="no layers"):
        nn.Network().predict(inputs())


@pytest.mark.parametrize("shape", [(), (0,), (3, -1)])
def test_impossible_input_shapes(shape):
    with pytest.raises(ValueError, match="input_shape"):
        nn.Network([nn.Dense(1)], input_shape=shape)


# Names


def test_layers_are_named_by_kind_and_number():
    net = nn.Network([nn.Dense(4), "relu", nn.Dense(3, name="out"), np.tanh, nn.Dense(2), "relu"])
    names = [layer.name for layer in net.layers]
    assert names == ["dense_1", "relu_1", "out", "activation_1", "dense_3", "relu_2"]


def test_names_must_differ():
    with pytest.raises(ValueError, match="two layers are named 'a'"):
        nn.Network([nn.Dense(4, name="a"), nn.Dense(4, name="a")])
    with pytest.raises(ValueError, match="two layers are named 'dense_2'"):
        nn.Network([nn.Dense(4, name="dense_2"), nn.Dense(4)])


@pytest.mark.parametrize("name", ["my layer", "a.b", "1st", "class"])
def test_names_must_do_for_variables(name):
    with pytest.raises(ValueError, match=f"'{name}' cannot name a layer"):
        nn.Network([nn.Dense(4, name=name)])


def test_what_is_no_layer_is_refused():
    with pytest.raises(TypeError, match=r"Sigmoid is a class: call it .*Sigmoid\(\)"):
        nn.Network([nn.Sigmoid])
    with pytest.raises(TypeError, match="takes layers, not int 5"):
        nn.Network([5])
    with pytest.raises(ValueError, match=r"no activation 'rellu': did you mean 'relu'"):
        nn.Network(["rellu"])


def test_a_layer_stands_in_a_network_once():
    layer = nn.Dense(3)
    with pytest.raises(ValueError, match="dense_1 is in this network already"):
        nn.Network([layer, layer])


# State


def test_state_is_read_and_updated_through_the_context():
    net = nn.Network([nn.Dense(4), Counter(), Counter(name="last")], input_shape=4)
    assert list(net.state) == ["counter_1.count", "last.count"]
    assert net.state["last.count"].dtype == np.float32
    context = nn.Context(training=True, rng=np.random.default_rng(0), state=net.state)
    first = net.forward(net.parameters, inputs(6), context)
    assert context.updates == {"counter_1.count": 6, "last.count": 6}
    assert net.state == {"counter_1.count": 0, "last.count": 0}
    context = nn.Context(training=True, rng=np.random.default_rng(0), state=context.updates)
    again = net.forward(net.parameters, inputs(6), context)
    assert context.updates == {"counter_1.count": 12, "last.count": 12}
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(net(inputs()), net.predict(inputs()))


# Shapes that do not fit


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((6, 5), r"dense_1 was built for 4 features but got x of shape \(6, 5\): give an array"),
        ((4,), r"got x of shape \(4,\): that is one sample.*x\[None\]"),
        ((4, 6), r"got x of shape \(4, 6\): samples are rows: use x\.T"),
        ((6, 2, 2), r"got x of shape \(6, 2, 2\): use x\.reshape\(-1, 4\)"),
        ((), r"got x of shape \(\)"),
        ((0, 4), r"x is empty, shape \(0, 4\)"),
    ],
)
def test_inputs_of_another_shape_name_the_layer_and_the_fix(shape, message):
    net = mlp()
    for call in (net, net.predict, net.layer_outputs):
        with pytest.raises(ValueError, match=message):
            call(np.ones(shape))


def test_tensors_of_another_shape_name_the_layer():
    with pytest.raises(ValueError, match=r"dense_1 was built for 4 features but got x of shape"):
        mlp()(cr.parameter(np.ones((6, 5))))


def test_inputs_of_images():
    net = nn.Network([nn.Flatten(), nn.Dense(2)], input_shape=(2, 3))
    with pytest.raises(
        ValueError, match=r"flatten_1 was built for samples of shape \(2, 3\).*resh"
    ):
        net(np.ones((5, 6)))
    with pytest.raises(ValueError, match=r"array of shape \(n_samples, 2, 3\)"):
        net(np.ones((5, 7)))


@pytest.mark.parametrize("shape", [(), (4,)])
def test_an_unbuilt_network_wants_rows(shape):
    net = nn.Network([nn.Dense(3)])
    with pytest.raises(ValueError, match=r"samples are rows.*x\[None\]"):
        net(np.ones(shape))
    assert not net.is_built


def test_an_empty_array_does_not_build():
    net = nn.Network([nn.Dense(3)])
    with pytest.raises(ValueError, match=r"x is empty, shape \(0, 4\)"):
        net(np.ones((0, 4)))
    assert not net.is_built


@pytest.mark.parametrize("x", [np.array([["a"] * 4]), np.ones((2, 4), complex), np.array([[None]])])
def test_inputs_are_numbers(x):
    with pytest.raises(TypeError, match=f"x has dtype {x.dtype}.*numbers"):
        mlp()(x)


def test_batches_have_rows():
    with pytest.raises(ValueError, match="batch_size is 0"):
        mlp().predict(inputs(), batch_size=0)


# Description


def test_summary():
    net = nn.Network(
        [nn.Flatten(), nn.Dense(100, name="hidden"), nn.LeakyReLU(), nn.Dense(10, use_bias=False)],
        input_shape=(28, 28),
    )
    assert net.summary() == (
        "layer         output shape  parameters\n"
        "--------------------------------------\n"
        "input         (N, 28, 28)\n"
        "flatten_1     (N, 784)               0\n"
        "hidden        (N, 100)          78,500\n"
        "leaky_relu_1  (N, 100)               0\n"
        "dense_2       (N, 10)            1,000\n"
        "--------------------------------------\n"
        "total                           79,500  float32, 318,000 bytes"
    )


def test_summary_before_building():
    assert nn.Network([nn.Dense(3), "tanh"]).summary() == (
        "layer    output shape  parameters\n"
        "---------------------------------\n"
        "dense_1  ?                      ?\n"
        "tanh_1   ?                      ?\n"
        "---------------------------------\n"
        "total                           ?  not built: build or the first call finds the shapes"
    )


def test_representations():
    sizes = [100, 50, 10]
    layers = [layer for size in sizes for layer in (nn.Dense(size), nn.Sigmoid())]
    assert repr(nn.Network(layers, input_shape=196)) == "Network(196-100-50-10, sigmoid)"
    images = nn.Network([nn.Flatten(), nn.Dense(10), "relu"], input_shape=(28, 28))
    assert repr(images) == "Network(28x28-10, flatten, relu)"
    assert repr(nn.Network([nn.Dense(3), "tanh"])) == "Network([Dense(3), Tanh()])"


# Copies


@pytest.mark.parametrize("make", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_a_copy_stands_on_its_own(make):
    net = mlp()
    twin = make(net)
    np.testing.assert_array_equal(twin(inputs()), net(inputs()))
    twin.parameters.flat[:] = 0  # the views of the copy lie on the buffer of the copy
    assert (twin(inputs()) == 0).all()
    assert (net(inputs()) != 0).any()


# Training is handed on


@pytest.mark.parametrize("name", ["fit", "evaluate"])
def test_training_is_offered_with_the_options_of_training(name):
    own = inspect.signature(getattr(nn.Network, name)).parameters
    handed_to = inspect.signature(getattr(training_fit, name)).parameters
    assert list(own)[1:] == list(handed_to)[1:]
    for option in handed_to.values():
        if option.name not in ("network", "loss"):
            assert own[option.name].default == option.default


@pytest.mark.parametrize("name", ["fit", "evaluate"])
def test_the_methods_are_the_functions_and_show_their_options(name):
    function = getattr(training_fit, name)
    assert getattr(nn.Network, name) is function
    _, *options = inspect.signature(function).parameters
    assert list(inspect.signature(getattr(mlp(), name)).parameters) == options
    text = pydoc.render_doc(getattr(nn.Network, name), renderer=pydoc.plaintext)
    for option in options:
        assert re.search(rf"\b{option}\b", text.split("->")[0]), option
    assert "loss" in options[2:]


def fit_line(net, **options):
    x = np.linspace(-1, 1, 20)[:, None]
    history = net.fit(x, 3 * x, seed=0, verbose=0, **options)
    return x, 3 * x, history


def test_fit_trains_and_evaluate_measures_the_same():
    net = nn.Network([nn.Dense(1)])
    x, y, history = fit_line(
        net, loss="squared_error", epochs=20, metrics=["r2"], penalty=nn.L2(0.1), batch_size=5
    )
    assert history["loss"][-1] < history["loss"][0]
    evaluated = net.evaluate(x, y)
    assert list(evaluated) == ["loss", "r2"]
    plain = net.evaluate(x, y, penalty=())["loss"]
    assert plain == pytest.approx(0.5 * np.mean((net.predict(x) - y) ** 2), rel=1e-5)
    assert evaluated["loss"] == pytest.approx(plain + nn.L2(0.1)(net.parameters), rel=1e-5)
    mean_squared = net.evaluate(x, y, loss="mean_squared_error", metrics=(), penalty=())
    assert mean_squared == {"loss": pytest.approx(2 * plain, rel=1e-5)}


def test_evaluate_needs_a_loss():
    with pytest.raises(ValueError, match="give loss="):
        mlp().evaluate(inputs(), np.zeros((6, 3)))


# Parameters


def make_parameters(dtype=np.float32):
    arrays = {"dense_1.weight": np.arange(6.0).reshape(2, 3), "dense_1.bias": [7.0, 8.0, 9.0]}
    return nn.Parameters(arrays, dtype)


def test_parameters_lie_one_after_the_other():
    p = make_parameters()
    np.testing.assert_array_equal(p.flat, [0, 1, 2, 3, 4, 5, 7, 8, 9])
    assert list(p) == ["dense_1.weight", "dense_1.bias"]
    assert len(p) == 2
    assert p.shapes == {"dense_1.weight": (2, 3), "dense_1.bias": (3,)}
    assert p.dtype == np.float32
    assert all(np.shares_memory(array, p.flat) for array in p.values())
    expected = "Parameters(dense_1.weight (2, 3), dense_1.bias (3,); 9 values, float32)"
    assert repr(p) == expected


def test_a_network_keeps_the_order_of_its_layers():
    net = mlp()
    w1, b1, w2, b2 = (array.ravel() for array in net.parameters.values())
    assert [array.size for array in (w1, b1, w2, b2)] == [20, 5, 15, 3]
    np.testing.assert_array_equal(net.parameters.flat, np.concatenate([w1, b1, w2, b2]))


def test_writing_to_the_buffer_is_writing_to_the_arrays_and_back():
    p = make_parameters()
    p.flat[:] = np.arange(9)
    np.testing.assert_array_equal(p["dense_1.bias"], [6, 7, 8])
    p["dense_1.bias"][:] = -1
    np.testing.assert_array_equal(p.flat, [0, 1, 2, 3, 4, 5, -1, -1, -1])


def test_assigning_copies_into_the_buffer():
    p = make_parameters()
    buffer, array = p.flat, np.ones((2, 3))
    p["dense_1.weight"] = array
    p["dense_1.bias"] = [1, 2, 3]
    array[:] = 5
    assert p.flat is buffer
    np.testing.assert_array_equal(buffer, [1, 1, 1, 1, 1, 1, 1, 2, 3])
    p.update({"dense_1.bias": np.zeros(3)})
    np.testing.assert_array_equal(buffer[-3:], 0)


def test_assigning_changes_the_outputs():
    net = mlp()
    net.parameters["dense_2.weight"] = np.zeros((5, 3))
    net.parameters["dense_2.bias"] = [1, 2, 3]
    np.testing.assert_array_equal(net(inputs(1)), [[1, 2, 3]])


def test_wrong_assignments_are_refused():
    p = make_parameters()
    before = p.flat.copy()
    with pytest.raises(ValueError, match=r"dense_1\.weight has shape \(2, 3\).*shape \(3, 2\)"):
        p["dense_1.weight"] = np.ones((3, 2))
    with pytest.raises(ValueError, match=r"dense_1\.bias has shape \(3,\).*shape \(\)"):
        p["dense_1.bias"] = 0.0
    with pytest.raises(TypeError, match=r"dense_1\.bias holds real numbers.*complex128"):
        p["dense_1.bias"] = np.ones(3, complex)
    with pytest.raises(TypeError, match=r"dense_1\.bias holds an ndarray.*\.value"):
        p["dense_1.bias"] = cr.parameter(np.ones(3))
    with pytest.raises(TypeError, match=r"dense_1\.bias cannot be removed"):
        del p["dense_1.bias"]
    with pytest.raises(KeyError, match=r"'dense_1\.weights': did you mean 'dense_1\.weight'"):
        p["dense_1.weights"] = np.ones((2, 3))
    with pytest.raises(AttributeError):
        p.flat = np.zeros(9)
    np.testing.assert_array_equal(p.flat, before)


def test_an_unknown_name_gets_the_nearest():
    p = make_parameters()
    with pytest.raises(KeyError, match=r"'dense_1\.wieght': did you mean 'dense_1\.weight'"):
        p["dense_1.wieght"]
    with pytest.raises(KeyError, match=r"the names are dense_1\.weight, dense_1\.bias"):
        p["q"]
    assert "q" not in p
    assert p.get("q") is None


@given(
    shapes=st.lists(st.lists(st.integers(0, 3), max_size=3).map(tuple), max_size=4),
    seed=st.integers(0, 99),
)
def test_flatten_and_unflatten_are_inverse(shapes, seed):
    rng = np.random.default_rng(seed)
    p = nn.Parameters({f"p{i}": rng.normal(size=shape) for i, shape in enumerate(shapes)}, float)
    np.testing.assert_array_equal(p.flatten(p), p.flat)
    vector = rng.normal(size=p.flat.shape)
    arrays = p.unflatten(vector)
    assert list(arrays) == list(p)
    assert {name: array.shape for name, array in arrays.items()} == p.shapes
    np.testing.assert_array_equal(p.flatten(arrays), vector)


def test_unflatten_gives_views_and_flatten_a_copy():
    p = make_parameters()
    vector = np.zeros(9, np.float32)
    p.unflatten(vector)["dense_1.bias"][:] = 1
    np.testing.assert_array_equal(vector[-3:], 1)
    assert not np.shares_memory(p.flatten(p), p.flat)


def test_unflatten_and_flatten_pass_gradients():
    p = make_parameters(float)
    factors = np.arange(9.0)

    def through(vector):
        return (p.flatten(p.unflatten(vector)) * factors).sum()

    np.testing.assert_array_equal(cr.grad(through)(p.flat), factors)


def test_flatten_and_unflatten_want_every_value():
    p = make_parameters()
    with pytest.raises(ValueError, match=r"shape \(8,\) but there are 9 parameters"):
        p.unflatten(np.zeros(8))
    with pytest.raises(KeyError, match=r"dense_1\.bias' is missing"):
        p.flatten({"dense_1.weight": np.zeros((2, 3))})
    with pytest.raises(KeyError, match="no parameter 'more'"):
        p.flatten({**p, "more": np.zeros(2)})
    with pytest.raises(ValueError, match=r"dense_1\.bias has shape \(3,\).*\(2,\)"):
        p.flatten({**p, "dense_1.bias": np.zeros(2)})
