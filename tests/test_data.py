"""Data sets: what they hold, where their files are found, and what is done before training."""

from __future__ import annotations

import gzip
import hashlib
import sys
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import chainrule.data as data
from chainrule.data import storage
from chainrule.data.ex4 import bicubic_weights

seeds = st.integers(0, 2**32 - 1)


def load_or_skip(name, **options):
    """The data set, or a skip that says which file is absent; never a download."""
    if name == "ex4":
        present = storage.find_local("ex4", "ex4data1.mat")
    else:
        present = storage.find_local(name, "train-images-idx3-ubyte.gz")
    if present is None:
        pytest.skip(f"the files of {name} are not in the folder CHAINRULE_DATA names")
    return data.load(name, **options)


# Made data sets


@given(n_samples=st.integers(2, 60), noise=st.floats(0, 1), seed=seeds)
@pytest.mark.parametrize("name", ["circles", "moons", "spirals"])
def test_made_sets_are_balanced_and_seeded(name, n_samples, noise, seed):
    one, same = (data.load(name, n_samples=n_samples, noise=noise, seed=seed) for _ in range(2))
    other = data.load(name, n_samples=n_samples, noise=noise, seed=seed + 1)
    assert one.x.shape == (n_samples, 2)
    assert one.y.shape == (n_samples,)
    counts = np.bincount(one.y, minlength=2)
    assert counts.max() - counts.min() <= 1
    assert np.array_equal(one.x, same.x)
    assert np.array_equal(one.y, same.y)
    assert not np.array_equal(one.x, other.x)


def test_circles_without_noise_have_their_radii():
    circles = data.load("circles", n_samples=50, noise=0.0, factor=0.3)
    radius = np.hypot(*circles.x.T)
    assert np.allclose(radius, np.where(circles.y == 0, 1.0, 0.3), rtol=1e-14)


def test_moons_without_noise_are_half_circles():
    moons = data.load("moons", n_samples=50, noise=0.0)
    upper, lower = moons.x[moons.y == 0], moons.x[moons.y == 1]
    assert np.allclose(np.hypot(*upper.T), 1)
    assert upper[:, 1].min() >= 0
    assert np.allclose(np.hypot(lower[:, 0] - 1, lower[:, 1] - 0.5), 1)
    assert lower[:, 1].max() <= 0.5


def test_spirals_without_noise_turn_with_their_radius():
    spirals = data.load("spirals", n_samples=90, noise=0.0, n_classes=3, turns=2.0)
    radius = np.hypot(*spirals.x.T)
    angle = np.arctan2(spirals.x[:, 1], spirals.x[:, 0]) / (2 * np.pi)
    turned = angle - 2.0 * radius - spirals.y / 3
    assert np.allclose(turned, np.rint(turned), atol=1e-12)
    assert radius.max() <= 1 + 1e-12
    assert spirals.class_names == ("0", "1", "2")


def test_noise_has_its_deviation():
    exact = data.load("xor", n_samples=4000)
    noisy = data.load("xor", n_samples=4000, noise=0.25)
    assert np.array_equal(exact.y, np.logical_xor(*exact.x.T))
    assert np.array_equal(noisy.y, exact.y)
    assert np.std(noisy.x - exact.x) == pytest.approx(0.25, rel=0.05)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("xor", {"n_samples": 3}, "n_samples=3: give a whole number of at least 4"),
        ("circles", {"factor": 1.0}, "factor=1.0"),
        ("moons", {"noise": -1.0}, "noise=-1.0"),
        ("moons", {"noise": np.nan}, "noise=nan"),
        ("xor", {"noise": np.inf}, "noise=inf"),
        ("spirals", {"n_classes": 1}, "n_classes=1"),
        ("spirals", {"n_classes": 2.5}, "n_classes=2.5"),
        ("spirals", {"turns": np.nan}, "turns=nan"),
        ("circles", {"n_samples": 10.5}, "n_samples=10.5: give a whole number of at least 2"),
    ],
)
def test_made_sets_refuse_nonsense(name, options, message):
    with pytest.raises(ValueError, match=message):
        data.load(name, **options)


# scikit-learn's


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "digits"])
def test_sklearn_sets_are_theirs(name):
    datasets = pytest.importorskip("sklearn.datasets")
    ours, theirs = data.load(name), getattr(datasets, f"load_{name}")()
    scale = 16 if name == "digits" else 1
    assert np.array_equal(ours.x * scale, theirs.data)
    assert np.array_equal(ours.y, theirs.target)
    assert ours.kind == "classification"
    assert ours.class_names == tuple(map(str, theirs.target_names))
    assert len(ours.feature_names) == ours.x.shape[1]


def test_diabetes_is_in_its_own_units():
    datasets = pytest.importorskip("sklearn.datasets")
    diabetes, theirs = data.load("diabetes"), datasets.load_diabetes(scaled=False)
    assert diabetes.kind == "regression"
    assert diabetes.class_names == ()
    assert np.array_equal(diabetes.x, theirs.data)
    assert np.array_equal(diabetes.y, theirs.target)
    assert diabetes.x[:, diabetes.feature_names.index("age")].min() > 18


def test_digits_are_images():
    pytest.importorskip("sklearn.datasets")
    digits = data.load("digits")
    assert digits.images().shape == (1797, 8, 8)
    assert (digits.x.min(), digits.x.max()) == (0.0, 1.0)
    assert digits.feature_names[10] == "pixel_1_2"
    assert np.array_equal(digits.images()[:, 1, 2], digits.x[:, 10])


def test_absent_sklearn_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r'pip install "chainrule\[data\]"'):
        data.load("iris")


# load


def test_unknown_names_get_the_nearest():
    with pytest.raises(ValueError, match="no data set 'mnits'.* 'mnist'.*fashion_mnist, ex4"):
        data.load("mnits")
    with pytest.raises(TypeError, match="no option 'nois'.* 'noise'"):
        data.load("moons", nois=1)
    with pytest.raises(TypeError, match="the data set iris has no option 'noise'; it has none"):
        data.load("iris", noise=1)


def test_a_set_of_measurements_has_no_images():
    with pytest.raises(ValueError, match="moons holds no images"):
        data.load("moons").images()


# IDX files

IDX_TYPES = {
    "uint8": 0x08,
    "int8": 0x09,
    "int16": 0x0B,
    "int32": 0x0C,
    "float32": 0x0D,
    "float64": 0x0E,
}


def idx_bytes(array):
    header = bytes([0, 0, IDX_TYPES[array.dtype.name], array.ndim])
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return header + sizes + array.astype(array.dtype.newbyteorder(">")).tobytes()


@given(
    array=st.sampled_from(sorted(IDX_TYPES)).flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0))
    ),
    compressed=st.booleans(),
)
def test_idx_files_are_read_as_written(tmp_path_factory, array, compressed):
    path = tmp_path_factory.mktemp("idx") / ("a.gz" if compressed else "a")
    path.write_bytes(gzip.compress(idx_bytes(array), mtime=0) if compressed else idx_bytes(array))
    read = data.read_idx(path)
    assert read.dtype == array.dtype
    assert read.dtype.isnative
    assert np.array_equal(read, array, equal_nan=array.dtype.kind == "f")


SMALL = idx_bytes(np.arange(12, dtype=np.uint8).reshape(3, 4))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("short", SMALL[:-1], r"damaged: an IDX file of shape \(3, 4\), uint8, has 24 bytes"),
        ("long", SMALL + b"\0", "this one 25"),
        ("header", SMALL[:7], "no IDX file"),
        ("empty", b"", "no IDX file: it begins with nothing"),
        ("page", b"<html>", "no IDX file: it begins with 3c 68 74 6d"),
        ("type", b"\0\0\x07\x01" + SMALL[4:], "no IDX file"),
        ("two bytes", b"\0\0", "no IDX file: it begins with 00 00"),
        ("three bytes", b"\0\0\x08", "no IDX file: it begins with 00 00 08"),
        ("magic", b"\1\0" + SMALL[2:], "no IDX file: it begins with 01 00 08 02"),
        ("sizes", b"\0\0\x08\x03" + b"\xff" * 12, "no IDX file"),
        ("product", b"\0\0\x08\x04" + b"\0\1\0\0" * 4, "no IDX file"),
        ("nothing of much", b"\0\0\x08\x03\0\0\0\0" + b"\xff" * 8, "no IDX file"),
        ("axes", b"\0\0\x08\xff" + b"\0\0\0\1" * 255 + b"\1", "no IDX file"),
        ("lying", b"\0\0\x08\x02" + b"\0\x10\0\0" * 2, r"damaged: .*has 1099511627788 bytes"),
        ("lying.gz", gzip.compress(b"\0\0\x08\x02" + b"\0\x10\0\0" * 2, mtime=0), "damaged: "),
        ("two.gz", gzip.compress(SMALL, mtime=0) + gzip.compress(b"more", mtime=0), "this one 25"),
        ("nothing.gz", b"", "no IDX file: it begins with nothing"),
        ("short.gz", gzip.compress(SMALL, mtime=0)[:-9], "damaged"),
        ("page.gz", b"<html>", "damaged"),
        ("flipped.gz", gzip.compress(SMALL, mtime=0)[:10] + b"\xff" * 30, r"damaged \(Error -3"),
    ],
)
def test_damaged_idx_files_are_refused(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(data.DamagedFileError, match=message):
        data.read_idx(path)


# Finding and downloading: a published set of a few images in place of MNIST's


@pytest.fixture
def published(monkeypatch, tmp_path):
    """The content of a small set's four .gz by name, with `storage` knowing their hashes."""
    rng = np.random.default_rng(0)
    contents, files = {}, []
    for part, n_images in (("train", 5), ("t10k", 3)):
        for kind, shape in (("images-idx3", (n_images, 28, 28)), ("labels-idx1", (n_images,))):
            content = idx_bytes(rng.integers(0, 10, shape, np.uint8))
            name = f"{part}-{kind}-ubyte"
            contents[f"{name}.gz"] = gzip.compress(content, mtime=0)
            md5 = hashlib.md5(contents[f"{name}.gz"]).hexdigest()
            sha256 = hashlib.sha256(content).hexdigest()
            files.append(storage._File(name, md5, sha256, len(content)))
    monkeypatch.setitem(storage._FILES, "mnist", tuple(files))
    monkeypatch.setenv("CHAINRULE_DATA", str(tmp_path / "data"))
    return contents


def put(folder: Path, contents):
    folder.mkdir(parents=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)


@pytest.mark.parametrize("place", ["data", "data/mnist"])
@pytest.mark.parametrize("compressed", [True, False])
def test_files_are_found_in_the_users_folder(published, tmp_path, place, compressed):
    plain = {name.removesuffix(".gz"): gzip.decompress(c) for name, c in published.items()}
    put(tmp_path / place, published if compressed else plain)
    images, labels, test_images, test_labels = data.read_images("mnist")
    assert images.shape == (5, 28, 28)
    assert test_labels.shape == (3,)
    assert idx_bytes(images) == plain["train-images-idx3-ubyte"]
    assert idx_bytes(labels) == plain["train-labels-idx1-ubyte"]
    assert idx_bytes(test_images) == plain["t10k-images-idx3-ubyte"]
    mnist = data.load("mnist")
    assert mnist.x.dtype == np.float32
    assert np.array_equal(mnist.x, images.reshape(5, 784) / np.float32(255))
    assert np.array_equal(mnist.y_test, test_labels)
    assert data.load("mnist", shrink=True).images().shape == (5, 14, 14)


def test_the_sets_own_folder_comes_first(published, tmp_path):
    put(tmp_path / "data" / "mnist", published)
    (tmp_path / "data" / "train-images-idx3-ubyte").write_bytes(b"another set's")
    assert len(data.read_images("mnist")[0]) == 5


def test_another_content_is_refused(published, tmp_path):
    other = gzip.compress(idx_bytes(np.zeros((5, 28, 28), np.uint8)))
    put(tmp_path / "data", published | {"train-images-idx3-ubyte.gz": other})
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte\.gz is not the mnist file"):
        data.read_images("mnist")


@pytest.fixture
def bomb():
    """A .gz of 128 MB of zeros that says it holds one label."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    parts = [packer.compress(idx_bytes(np.zeros(1, np.uint8)))]
    parts += [packer.compress(bytes(2**24)) for _ in range(8)]
    return b"".join([*parts, packer.flush()])


@pytest.mark.parametrize("read", [data.read_idx, lambda path: data.read_images("mnist")])
def test_a_gzip_bomb_is_not_unpacked(published, bomb, tmp_path, read):
    name = "train-images-idx3-ubyte.gz"
    put(tmp_path / "data", published | {name: bomb})
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"train-images-idx3-ubyte\.gz is damaged: .* \(1,\)"):
            read(tmp_path / "data" / name)
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()


def test_a_header_that_promises_more_than_the_published_file_is_refused_at_once(
    published, tmp_path, monkeypatch
):
    large = gzip.compress(idx_bytes(np.zeros((6, 28, 28), np.uint8)))
    put(tmp_path / "data", published | {"train-images-idx3-ubyte.gz": large})
    with pytest.raises(ValueError, match="promises 4720 bytes, and that has 3936"):
        data.read_images("mnist")


def test_files_of_two_publications_are_refused(published, tmp_path, monkeypatch):
    files = tuple(
        storage._File(file.name, file.md5, None, file.size) for file in storage._FILES["mnist"]
    )
    monkeypatch.setitem(storage._FILES, "mnist", files)
    other = gzip.compress(idx_bytes(np.zeros((4, 28, 28), np.uint8)))
    put(tmp_path / "data", published | {"train-images-idx3-ubyte.gz": other})
    with pytest.raises(ValueError, match=r"\(4, 28, 28\) do not belong to 5 labels"):
        data.read_images("mnist")


@pytest.fixture
def mirrors(published, tmp_path, monkeypatch):
    """Three mirrors: one refuses, one has another content, `answering` has the files or not."""
    pooch = pytest.importorskip("pooch")
    asked: list[str] = []
    answering = {"last": True}

    class Downloader:
        def __init__(self, timeout):
            assert timeout <= 30

        def __call__(self, url, output_file, pooch_object):
            asked.append(url)
            if "first" in url or ("last" in url and not answering["last"]):
                raise ConnectionError("403")
            content = published[url.rsplit("/", 1)[1]] if "last" in url else b"<html>"
            Path(output_file).write_bytes(content)

    monkeypatch.setattr(pooch, "HTTPDownloader", Downloader)
    monkeypatch.setenv("CHAINRULE_CACHE", str(tmp_path / "cache"))
    hosts = tuple(f"https://{host}.example/" for host in ("first", "second", "last"))
    monkeypatch.setitem(storage._MIRRORS, "mnist", hosts)
    return asked, answering


def test_download_tries_the_mirrors_in_turn_and_keeps_the_files(mirrors, tmp_path):
    asked, _ = mirrors
    assert len(data.read_images("mnist")[0]) == 5
    assert [url.split(".")[0] for url in asked] == [
        "https://first",
        "https://second",
        "https://last",
    ] * 4
    del asked[:]
    assert len(data.read_images("mnist")[0]) == 5
    assert asked == []
    assert len(list((tmp_path / "cache" / "mnist").iterdir())) == 4


def test_without_an_answer_the_message_says_what_to_do(mirrors, tmp_path):
    _, answering = mirrors
    answering["last"] = False
    with pytest.raises(data.DataNotFoundError) as raised:
        data.load("mnist")
    message = str(raised.value)
    for part in ("first.example", "ConnectionError", "t10k-labels-idx1-ubyte.gz", "CHAINRULE_DATA"):
        assert part in message
    assert str(tmp_path / "data" / "mnist") in message
    assert isinstance(raised.value, FileNotFoundError)


def test_without_pooch_the_message_names_the_extra(published, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError, match=r'pip install "chainrule\[data\]"'):
        data.load("mnist")


def test_read_images_knows_two_names():
    with pytest.raises(
        ValueError, match="no publication of images 'iris'.* names are mnist, fashion_mnist"
    ):
        data.read_images("iris")


# Exercise 4's files, damaged

MAT_ARRAYS = {
    "X": np.random.default_rng(0).random((5000, 400)).round(1),
    "y": np.repeat([10, *range(1, 10)], 500)[:, None],
}


@pytest.fixture
def ex4_file(tmp_path, monkeypatch):
    """Write a .mat in the place of ex4data1.mat, or of another."""
    io = pytest.importorskip("scipy.io")
    monkeypatch.setenv("CHAINRULE_DATA", str(tmp_path))

    def write(name="ex4data1.mat", **arrays):
        io.savemat(tmp_path / name, arrays, do_compression=True)
        return tmp_path / name

    return write


def test_a_whole_file_of_exercise_4_is_read(ex4_file):
    ex4_file(**MAT_ARRAYS)
    assert np.array_equal(data.load("ex4").x, MAT_ARRAYS["X"])


@pytest.mark.parametrize("n_bytes", [0, 1, 100, 130, 1000, -1])
def test_a_cut_file_of_exercise_4_is_refused(ex4_file, n_bytes):
    path = ex4_file(**MAT_ARRAYS)
    path.write_bytes(path.read_bytes()[:n_bytes])
    with pytest.raises(
        data.DamagedFileError, match=r"ex4data1\.mat is (damaged|not exercise 4's file)"
    ):
        data.load("ex4")


@pytest.mark.parametrize("content", [b"<html>" * 100, b"\0" * 200, bytes(range(256)) * 4])
def test_another_file_in_the_place_of_exercise_4_is_refused(ex4_file, content):
    ex4_file(**MAT_ARRAYS).write_bytes(content)
    with pytest.raises(data.DamagedFileError, match=r"ex4data1\.mat is damaged, or no \.mat file"):
        data.load("ex4")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"X": np.zeros((10, 400))}, r"X should have shape \(5000, 400\), but is \(10, 400\)"),
        ({"X": "abc"}, "X should have shape"),
        ({"y": np.ones((5000, 2))}, r"y should have shape \(5000, 1\), but is \(5000, 2\)"),
        ({"y": np.full((5000, 1), 11)}, "y holds other labels than 1 to 10"),
        ({"y": np.full((5000, 1), 1.5)}, "y holds other labels than 1 to 10"),
        ({"X": np.full((5000, 400), np.nan)}, "it does not hold finite real numbers"),
        ({"X": np.full((5000, 400), 1j)}, "it does not hold finite real numbers"),
    ],
)
def test_other_arrays_in_the_file_of_exercise_4_are_refused(ex4_file, changes, message):
    ex4_file(**MAT_ARRAYS | changes)
    with pytest.raises(ValueError, match=message):
        data.load("ex4")


def test_other_weights_of_exercise_4_are_refused(ex4_file):
    ex4_file("ex4weights.mat", Theta1=np.zeros((25, 401)))
    with pytest.raises(ValueError, match="Theta2 should have shape .10, 26., but is absent"):
        data.ex4_weights()


# MNIST and exercise 4, where they are


def test_mnist_is_the_published_one():
    mnist = load_or_skip("mnist")
    assert mnist.x.shape == (60000, 784)
    assert mnist.x_test.shape == (10000, 784)
    assert mnist.x.dtype == np.float32
    assert (mnist.x.min(), mnist.x.max()) == (0.0, 1.0)
    assert mnist.y_test[:3].tolist() == [7, 2, 1]
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(mnist.y).tolist() == counts


def test_ex4_rebuilt_from_mnist_is_the_courses_file():
    ex4 = load_or_skip("ex4")
    load_or_skip("mnist")
    x, course_labels = data.rebuild_ex4_from_mnist()
    assert np.abs(x - ex4.x).max() < 1e-14
    assert np.array_equal(course_labels, np.repeat([10, *range(1, 10)], 500))
    assert ex4.class_names[ex4.y[0]] == "0"
    assert np.array_equal((ex4.y + 1) % 10, np.arange(5000) // 500)


def test_ex4_falls_back_on_mnist(tmp_path, monkeypatch):
    load_or_skip("mnist")
    source = storage.find_local("mnist", "train-images-idx3-ubyte.gz").parent
    (tmp_path / "mnist").symlink_to(source.resolve())
    monkeypatch.setenv("CHAINRULE_DATA", str(tmp_path))
    ex4 = data.load("ex4")
    assert "rebuilt" in ex4.description
    assert ex4.x.shape == (5000, 400)
    with pytest.raises(data.DataNotFoundError, match=r"ex4weights\.mat.*CHAINRULE_DATA"):
        data.ex4_weights()


def test_ex4_images_stand_upright():
    ex4 = load_or_skip("ex4")
    load_or_skip("mnist")
    images, labels, _, _ = data.read_images("mnist")
    zero = images[labels == 0][0] / 255
    weights = bicubic_weights(28, 20)
    assert np.allclose(ex4.images()[0], weights @ zero @ weights.T, atol=1e-12)
    assert ex4.feature_names[1] == "pixel_1_0"
    with pytest.raises(ValueError, match=r"\(25, 401\) are no images of ex4: give \(n, 400\)"):
        ex4.images(np.zeros((25, 401)))


def test_given_weights_classify_what_was_published():
    ex4 = load_or_skip("ex4")
    theta1, theta2 = data.ex4_weights()
    hidden = 1 / (1 + np.exp(-(theta1[:, 0] + ex4.x @ theta1[:, 1:].T)))
    outputs = theta2[:, 0] + hidden @ theta2[:, 1:].T
    assert np.mean(outputs.argmax(axis=1) == ex4.y) == pytest.approx(0.9752, abs=1e-12)


def test_bicubic_weights_are_those_of_pillow():
    image_module = pytest.importorskip("PIL.Image")
    signal = np.random.default_rng(0).standard_normal((1, 28)).astype(np.float32)
    image = image_module.fromarray(signal)
    resized = np.asarray(image.resize((20, 1), image_module.Resampling.BICUBIC))
    weights = bicubic_weights(28, 20)
    # Pillow cuts the kernel off at the border, where ours repeats the border's value.
    assert np.allclose((weights @ signal[0])[3:-3], resized[0, 3:-3], atol=1e-6)
    assert np.allclose(weights.sum(axis=1), 1)
    # The first output lies at 0.2: within reach of its kernel are inputs -2 to 3, of which two
    # lie before the border and weigh on input 0.
    t = np.abs((np.arange(-2, 4) - 0.2) / 1.4)
    kernel = np.where(t <= 1, 1.5 * t**3 - 2.5 * t**2 + 1, -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2)
    kernel *= t < 2
    expected = np.append(kernel[:3].sum(), kernel[3:]) / kernel.sum()
    assert np.allclose(weights[0, :4], expected)
    assert np.allclose(weights[0, 4:], 0)


# Preparation


@given(
    images=hnp.arrays(
        np.uint8, st.tuples(st.integers(0, 3), st.sampled_from([2, 4]), st.sampled_from([2, 6]))
    )
)
def test_shrink_by_two_is_the_rounded_mean(images):
    n, height, width = images.shape
    means = images.reshape(n, height // 2, 2, width // 2, 2).mean(axis=(2, 4))
    assert np.array_equal(data.shrink_by_two(images), np.floor(means + 0.5))
    assert data.shrink_by_two(images).dtype == np.uint8


def test_shrink_by_two_refuses_what_it_cannot_halve():
    with pytest.raises(ValueError, match=r"\(1, 3, 4\).*even"):
        data.shrink_by_two(np.zeros((1, 3, 4), np.uint8))
    with pytest.raises(TypeError, match="float64"):
        data.shrink_by_two(np.zeros((1, 2, 2)))


@given(
    labels=hnp.arrays(np.int64, st.integers(2, 60), elements=st.integers(0, 3)),
    share=st.floats(0.05, 0.95),
    seed=seeds,
    stratify=st.booleans(),
)
def test_split_parts_the_samples(labels, share, seed, stratify):
    n_samples = len(labels)
    n_test = min(max(1, round(n_samples * share)), n_samples - 1)
    x = np.stack([np.arange(n_samples), labels], axis=1)
    parts = data.split(x, labels, n_test, seed=seed, stratify=stratify)
    x_train, x_test, y_train, y_test = parts
    assert len(x_test) == n_test
    assert np.array_equal(np.sort(np.concatenate([x_train, x_test])[:, 0]), x[:, 0])
    assert np.array_equal(x_train[:, 1], y_train)
    assert np.array_equal(x_test[:, 1], y_test)
    for part, again in zip(parts, data.split(x, labels, n_test, seed=seed, stratify=stratify)):
        assert np.array_equal(part, again)
    if stratify:
        shares = np.bincount(labels, minlength=4) * n_test / n_samples
        assert np.abs(np.bincount(y_test, minlength=4) - shares).max() < 1


def test_split_shuffles_and_rounds_up():
    x_train, x_test, _, _ = data.split(np.arange(1797), np.arange(1797), 0.25)
    assert (len(x_train), len(x_test)) == (1347, 450)
    assert not np.array_equal(x_test, np.sort(x_test))
    assert not np.array_equal(x_test, data.split(np.arange(1797), np.arange(1797), seed=1)[1])
    assert len(data.split(np.arange(100), np.arange(100), 0.07)[1]) == 7  # 0.07 * 100 > 7


def test_what_rounding_leaves_over_goes_to_the_classes_that_lost_most():
    labels = np.repeat([0, 1, 2], [7, 3, 90])  # shares of 10: 0.7, 0.3 and 9
    _, x_test, _, _ = data.split(labels, labels, 10, stratify=True)
    assert np.bincount(x_test, minlength=3).tolist() == [1, 0, 9]


def test_split_takes_numpys_whole_numbers():
    assert len(data.split(np.arange(8), np.arange(8), np.int64(3))[1]) == 3


@pytest.mark.parametrize("test_size", [0, 1.0, 8, -1, 0.0, float("nan"), np.int64(8), np.inf])
def test_split_refuses_empty_parts(test_size):
    with pytest.raises(ValueError, match="test_size="):
        data.split(np.arange(8), np.arange(8), test_size)


def test_split_refuses_lengths_and_labels():
    with pytest.raises(ValueError, match=r"\(8,\), y \(7,\)"):
        data.split(np.arange(8), np.arange(7))
    with pytest.raises(ValueError, match="stratify needs one class label a sample"):
        data.split(np.arange(8), np.arange(8.0), stratify=True)


@given(
    x=hnp.arrays(
        np.float64,
        st.tuples(st.integers(1, 20), st.integers(1, 4)),
        elements=st.floats(-1e3, 1e3).map(lambda value: round(value, 3)),
    )
)
def test_standardizer(x):
    standardizer = data.Standardizer.fit(x)
    scaled = standardizer.transform(x)
    varies = x.min(axis=0) < x.max(axis=0)
    assert np.allclose(scaled.mean(axis=0), 0, atol=1e-6)
    assert np.allclose(scaled.std(axis=0), varies, atol=1e-6)
    assert np.allclose(standardizer.inverse(scaled), x, atol=1e-9)


def test_standardizer_keeps_float32_and_takes_integers():
    standardizer = data.Standardizer.fit(np.array([[1, 0.1], [3, 0.1], [8, 0.1]]))
    assert standardizer.scale[1] == 1.0
    assert standardizer.transform(np.ones((1, 2), np.float32)).dtype == np.float32
    assert standardizer.transform(np.ones((1, 2), np.int64)).dtype == np.float64


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((0, 2)), r"shape \(0, 2\)"),
        (np.zeros(3), r"shape \(3,\)"),
        (np.array([[1.0, 2.0], [1.0, np.nan]]), "1 of 2 features, the first is number 1"),
        (np.array([[np.inf, 2.0]]), "the first is number 0"),
    ],
)
def test_standardizer_refuses_what_has_no_mean(x, message):
    with pytest.raises(ValueError, match=message):
        data.Standardizer.fit(x)


@given(labels=hnp.arrays(np.int64, st.integers(0, 20), elements=st.integers(0, 5)))
def test_one_hot_is_rows_of_the_identity(labels):
    assert np.array_equal(data.one_hot(labels, 6), np.eye(6)[labels])
    assert data.one_hot(labels).shape == (len(labels), labels.max(initial=-1) + 1)
    assert data.one_hot(labels, 6).dtype == np.float32


@pytest.mark.parametrize("x", [[["a"]], [[1j]], [[None]]])
def test_standardizer_refuses_what_is_no_real_number(x):
    with pytest.raises(TypeError, match="x holds .*: give real numbers"):
        data.Standardizer.fit(x)


def test_one_hot_refuses_what_is_no_label():
    with pytest.raises(ValueError, match="1 of 2 labels lie outside 0 to 9, the first is 10"):
        data.one_hot([1, 10], 10)
    with pytest.raises(ValueError, match="the first is -1"):
        data.one_hot([-1], 10)
    with pytest.raises(TypeError, match="float64"):
        data.one_hot([1.0], 10)
    with pytest.raises(TypeError, match=r"\(1, 2\)"):
        data.one_hot([[0, 1]], 10)
    for n_classes in (-1, 2.5):
        with pytest.raises(ValueError, match=f"n_classes={n_classes}: give a whole number"):
            data.one_hot([0], n_classes)


@given(n_samples=st.integers(0, 20), batch_size=st.integers(1, 8), shuffled=st.booleans())
def test_batches_cover_the_data_once(n_samples, batch_size, shuffled):
    x = np.arange(n_samples)
    rng = np.random.default_rng(0) if shuffled else None
    parts = list(data.batches(x, -x, batch_size, rng))
    assert all(len(part) == batch_size for part, _ in parts[:-1])
    assert all(np.array_equal(part_x, -part_y) for part_x, part_y in parts)
    seen = np.concatenate([part for part, _ in parts]) if parts else x
    assert np.array_equal(np.sort(seen) if shuffled else seen, x)


def test_batches_are_shuffled_and_checked_at_once():
    x = np.arange(100)
    [(shuffled, _)] = data.batches(x, x, 100, np.random.default_rng(0))
    assert not np.array_equal(shuffled, x)
    for batch_size in (0, -3, 2.5, np.nan, "8"):
        with pytest.raises(ValueError, match=f"batch_size={batch_size}: give a whole number"):
            data.batches(x, x, batch_size)
    with pytest.raises(ValueError, match=r"\(100,\), y \(\)"):
        data.batches(x, 1, 10)
