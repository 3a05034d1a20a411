"""Networks: layers, losses, initializers and penalties, and networks of known designs.

All are compositions of primitives and NumPy functions; no derivative stands here.
"""

from chainrule.nn import initializers, losses, models
from chainrule.nn.activation import (
    ACTIVATIONS,
    ELU,
    GELU,
    Activation,
    Identity,
    LeakyReLU,
    LogSoftmax,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
    get_activation,
)
from chainrule.nn.attention import MultiHeadAttention
from chainrule.nn.convolution import Conv1D, Conv2D, Conv2DTranspose
from chainrule.nn.dense import Dense
from chainrule.nn.dropout import Dropout
from chainrule.nn.embedding import Embedding
from chainrule.nn.initializers import INITIALIZERS, get_initializer
from chainrule.nn.layer import Context, Layer
from chainrule.nn.losses import LOSSES, get_loss
from chainrule.nn.network import Network
from chainrule.nn.normalization import BatchNorm, GroupNorm, LayerNorm
from chainrule.nn.parameters import Parameters
from chainrule.nn.penalties import L1, L2
from chainrule.nn.pooling import AvgPool2D, GlobalAvgPool2D, MaxPool1D, MaxPool2D
from chainrule.nn.recurrent import GRU, LSTM, SimpleRNN
from chainrule.nn.rescale import Rescale
from chainrule.nn.reshape import Flatten, Reshape
from chainrule.nn.residual import Combine, Residual
from chainrule.nn.stack import Stack, forward_inner, init_inner, init_state_inner

__all__ = [
    "ACTIVATIONS",
    "ELU",
    "GELU",
    "GRU",
    "INITIALIZERS",
    "L1",
    "L2",
    "LOSSES",
    "LSTM",
    "Activation",
    "AvgPool2D",
    "BatchNorm",
    "Combine",
    "Context",
    "Conv1D",
    "Conv2D",
    "Conv2DTranspose",
    "Dense",
    "Dropout",
    "Embedding",
    "Flatten",
    "GlobalAvgPool2D",
    "GroupNorm",
    "Identity",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "LogSoftmax",
    "MaxPool1D",
    "MaxPool2D",
    "MultiHeadAttention",
    "Network",
    "Parameters",
    "ReLU",
    "Rescale",
    "Reshape",
    "Residual",
    "SiLU",
    "Sigmoid",
    "SimpleRNN",
    "Softmax",
    "Softplus",
    "Stack",
    "Tanh",
    "forward_inner",
    "get_activation",
    "get_initializer",
    "get_loss",
    "init_inner",
    "init_state_inner",
    "initializers",
    "losses",
    "models",
]
