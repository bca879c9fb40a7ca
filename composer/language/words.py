"""The words of other libraries and their counterparts here: suggestions by meaning.

One table for each kind of word: an op, a field, a word that a field takes, a name in an
expression.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from composer.errors import did_you_mean, plain


@dataclass(frozen=True)
class Meaning:
    """The counterpart of an op of other libraries.

    `words` are its names there, separated by spaces; `line` is the node to write, and `more` is a
    remark after it. Without a line, no node is needed.
    """

    words: str
    line: str = ""
    more: str = ""


_MAPS_TOO = "on a volume [b, c, d, h, w] it is three-dimensional"
_NO_MOVE = "axes have names here, so nothing is moved, added or broadcast by hand: remove this node"

OPS: tuple[Meaning, ...] = (
    Meaning("softmax softmax2d", "{op: gate, fn: softmax, over: c}",
            "'over' is the axis along which it sums to one"),
    *(
        Meaning(words, f"{{op: gate, fn: {fn}}}", f"or 'act: {fn}' in the layer before it")
        for fn, words in {
            "relu": "relu", "relu6": "relu6", "gelu": "gelu geluact", "silu": "silu swish",
            "sigmoid": "sigmoid logistic", "hard_sigmoid": "hardsigmoid hsigmoid",
            "hard_swish": "hardswish hswish", "tanh": "tanh", "softplus": "softplus",
            "elu": "elu", "leaky_relu": "leakyrelu lrelu", "selu": "selu", "mish": "mish",
        }.items()
    ),
    *(
        Meaning(words, f"{{op: apply, fn: {fn}}}")
        for fn, words in {
            "sqrt": "sqrt", "rsqrt": "rsqrt", "exp": "exp", "log": "log", "abs": "abs absolute",
            "square": "square", "reciprocal": "reciprocal inverse", "sign": "sign",
            "sin": "sin sine", "cos": "cos cosine",
        }.items()
    ),
    Meaning("pow power", "{op: apply, fn: pow, exponent: 2}"),
    Meaning("clamp clip", "{op: apply, fn: clamp, low: 0, high: 1}"),
    Meaning("neg negative", "{op: scale, by: -1}"),
    Meaning("einsum matmul bmm mm dot tensordot baddbmm mv inner contract matrixproduct",
            "{op: product, of: [q, k], sum: d}",
            "axes of q and k are matched by name, and d is summed"),
    Meaning("fft fft2 fftn rfft2 rfftn fourier dft", "{op: rfft, over: [h, w], parts: z}",
            "the real and the imaginary part are along z"),
    Meaning("ifft ifft2 ifftn irfft2 irfftn", "{op: irfft, over: [h, w], parts: z, size: w}",
            "size is that of w before rfft"),
    Meaning("outer kron", "{op: mul, of: [q, k]}", "an axis that only one of them has is "
            "broadcast"),
    Meaning("multiply times hadamard prod", "{op: mul, of: [q, k]}",
            "axes are matched by name"),
    Meaning("plus addition residual shortcut skip skipconnection",
            "{op: add, of: [input, q]}"),
    Meaning("subtract minus", "{op: sub, of: [q, k]}"),
    Meaning("divide truediv", "{op: div, of: [q, k]}"),
    Meaning("permute transpose swapaxes moveaxis movedim contiguous squeeze unsqueeze expand "
            "expandas expanddims broadcast broadcastto tile newaxis t", "", _NO_MOVE),
    Meaning("identity noop nop detach", "", "the node above is read directly: remove this node"),
    Meaning("view reshape rearrange unflatten", "{op: split, axis: c, into: {head: 4, d: c / 4}}",
            "and back {op: merge, axes: [head, d], into: c}"),
    Meaning("flatten", "{op: merge, axes: [h, w], into: n}"),
    Meaning("interpolate upsample resample upsamplebilinear upsamplenearest downsample",
            "{op: resize, over: [h, w], like: input}",
            "'like' is the value whose sizes it takes; nearest-neighbour by default"),
    Meaning("dense fc fullyconnected proj projection", "{op: linear, over: c, out: c}",
            "it mixes one axis, and all others are unchanged"),
    Meaning("ffn feedforward bottleneck fcs", "{op: mlp, over: c, hidden: c // 16}"),
    Meaning("conv convolution convnd conv2dnormactivation convbnact", "{op: conv2d, kernel: 3}"),
    Meaning("conv3d", "{op: conv2d, kernel: 3}", _MAPS_TOO),
    Meaning("conv1x1 pointwise pointwiseconv pwconv", "{op: conv2d, kernel: 1}"),
    Meaning("conv3x3", "{op: conv2d, kernel: 3}"),
    Meaning("depthwise dwconv depthwiseconv depthwiseconv2d", "{op: conv2d, kernel: 3, groups: c}"),
    Meaning("avgpool avgpool1d avgpool2d avgpool3d averagepool averagepooling gap globalavgpool "
            "globalaveragepooling globalpool globalpooling mean average avg reducemean pooling",
            "{op: pool, over: [h, w]}", "that is the mean; windows have a 'kernel'"),
    Meaning("adaptiveavgpool adaptiveavgpool1d adaptiveavgpool2d adaptiveavgpool3d",
            "{op: pool, over: [h, w]}", "that is the global mean; 'to: 7' gives a 7 by 7 grid"),
    Meaning("adaptivemaxpool adaptivemaxpool1d adaptivemaxpool2d adaptivemaxpool3d",
            "{op: pool, over: [h, w], reduce: max}", "that is of all; 'to: 7' gives a 7 by 7 grid"),
    Meaning("maxpool maxpool1d maxpool2d maxpool3d gmp globalmaxpool max amax maximum reducemax",
            "{op: pool, over: [h, w], reduce: max}", "windows have a 'kernel'"),
    Meaning("sum reducesum", "{op: pool, over: [h, w], reduce: sum}"),
    Meaning("gem generalizedmean generalisedmean powermean lppool lppool2d",
            "{op: pool, over: [h, w], reduce: power, exponent: 3}"),
    *(
        Meaning(words, f"{{op: pool, over: [h, w], reduce: {fn}}}")
        for fn, words in {
            "std": "std stdev stddev stdpool", "var": "var variance", "median": "median",
            "length": "vectornorm lpnorm",
            "min": "min amin minimum minpool",
        }.items()
    ),
    Meaning("bn batchnorm batchnorm1d batchnorm2d batchnorm3d batchnormalization normalization",
            "{op: norm, over: c}"),
    Meaning("ln layernorm layernorm2d", "{op: norm, fn: layer, over: c}"),
    Meaning("gn groupnorm", "{op: norm, fn: group, over: [c, h, w], groups: 8}"),
    Meaning("instancenorm instancenorm2d", "{op: norm, fn: instance, over: [h, w]}"),
    Meaning("rmsnorm", "{op: norm, fn: rms, over: c}"),
    Meaning("normalize l2norm l2normalize", "{op: norm, fn: l2, over: c}"),
    Meaning("cat concatenate hstack vstack", "{op: concat, of: [q, k], axis: c}"),
    Meaning("tensorsplit splitwithsizes channelsplit", "{op: chunk, axis: c}",
            "give the node one name per part: 'q, k, v:'"),
    Meaning("narrow slice", "{op: crop, to: {c: c // 2}}",
            "that keeps the beginning; to split an axis, write 'q, k, v: {op: chunk, axis: c}'"),
    Meaning("unbind", "{op: unstack, axis: part}", "give the node one name per value: 'q, k, v:'"),
    Meaning("select indexselect gather getitem", "{op: pick, axis: part, index: 0}"),
    Meaning("mha multiheadattention selfattention scaleddotproductattention sdpa "
            "dotproductattention crossattention",
            "{op: attention, q: q, k: k, v: v, over: [h, w], along: d}",
            "if the keys have other axes, name them in 'keys'"),
    Meaning("relativebias relativepositionbias positionbias relposbias",
            "{op: attention, q: q, k: k, v: v, over: [h, w], along: d, keys: [y, x], bias: bias}",
            "the bias has axes of queries and keys, such as [head, h, w, y, x]"),
    Meaning("relpos relativeposition",
            "{op: attention, q: q, k: k, v: v, over: [h, w], along: d, position: relative}"),
    Meaning("param weight weights learnable learned", "{op: parameter, axes: {c: c}, init: 1}"),
    Meaning("layerscale", "{op: parameter, axes: {c: c}, init: 1e-5}",
            "apply it with a mul node"),
    Meaning("posembed positionalencoding positionembedding absposembed",
            "{op: parameter, axes: {c: c, h: h, w: w}, init: 0}", "apply it with an add node"),
    Meaning("sincos sinusoidal sincosposembed",
            "{op: constant, axes: {c: c, h: h}, value: sin(h / 100 ** (c / 64))}",
            "c and h are indices in 'value'; apply it with an add node"),
    Meaning("const buffer table ones zeros", "{op: constant, axes: {c: c}, value: 1}"),
    Meaning("arange linspace range", "{op: constant, axes: {h: h}, value: h}",
            "in 'value' the name of an axis is the index along it"),
    Meaning("eye onehot", "{op: constant, axes: {c: c, i: c}, value: c == i}",
            "in 'value' the name of an axis is the index along it"),
    Meaning("tril triu causalmask", "{op: constant, axes: {h: h, y: h}, value: y <= h}",
            "in 'value' the name of an axis is the index along it"),
    Meaning("unfold im2col windows patches neighbourhood neighborhood neighbors neighbours",
            "{op: unfold, over: [h, w], kernel: 3, into: [kh, kw]}"),
    Meaning("fold col2im", "{op: fold, axes: [kh, kw], over: [h, w], like: input}",
            "'axes' are the ones that an unfold made"),
    Meaning("windowpartition partition", "{op: split, axis: h, into: {i: h / 7, y: 7}}",
            "and w likewise; for overlapping windows, use unfold"),
    Meaning("shift cyclicshift", "{op: roll, over: [h, w], by: [3, 3]}"),
    Meaning("reverse fliplr flipud", "{op: flip, over: w}"),
    Meaning("zeropad zeropad1d zeropad2d constantpad2d",
            "{op: pad, to: {h: h + 1, w: w + 1}}", "zeros are added at the end"),
    Meaning("centercrop", "{op: crop, to: {h: h - 1, w: w - 1}}", "the end is cut off"),
    Meaning("drop alphadropout", "{op: dropout, p: 0.1}"),
    Meaning("dropout1d dropout2d channeldropout", "{op: dropout, p: 0.1, share: [h, w]}",
            "whole channels are dropped"),
    Meaning("droppath stochasticdepth", "{op: dropout, p: 0.1, share: [c, h, w]}",
            "whole samples are dropped"),
    Meaning("include import call module", "{op: use, spec: se}"),
    Meaning("loop for sequential stackof",
            "{op: repeat, times: 2, each: {op: linear, over: c}}", "one after another"),
    Meaning("parallel branches multibranch",
            "{op: branch, axis: k, times: 2, each: {op: linear, over: c}}", "side by side"),
    Meaning("multiplyby attend recalibrate weigh modulate",
            "{op: reweight, x: input, by: gate}"),
    Meaning("channelshuffle shuffle", "{op: split, axis: c, into: {g: 4, d: c / 4}}",
            "and back in the other order: {op: merge, axes: [d, g], into: c}"),
    Meaning("pixelshuffle depthtospace", "{op: split, axis: c, into: {c: c / 4, y: 2, x: 2}}",
            "then {op: merge, axes: [h, y], into: h}, and w with x likewise"),
    Meaning("pixelunshuffle spacetodepth", "{op: split, axis: h, into: {h: h / 2, y: 2}}",
            "w likewise, then {op: merge, axes: [c, y, x], into: c}"),
)  # fmt: skip

#: Fields by other libraries' words: the first listed one that the op has.
FIELDS: Mapping[str, str] = {
    "axis": "over along axis sum", "axes": "over axis", "dim": "over along axis sum",
    "dims": "over axes", "over": "along axis sum axes",
    "activation": "act fn", "actlayer": "act", "nonlinearity": "act fn", "actfn": "act",
    "function": "fn", "type": "fn reduce", "mode": "reduce fn", "reduction": "reduce hidden",
    "kernelsize": "kernel", "ksize": "kernel", "size": "kernel", "window": "kernel",
    "outchannels": "out", "outfeatures": "out", "outdim": "out", "dimout": "out",
    "channelsout": "out", "outplanes": "out",
    "from": "x of", "src": "x of", "inputs": "of x", "values": "of", "value": "x", "args": "of",
    "input": "x of", "in": "x of", "a": "x", "tensors": "of",
    "weights": "by", "attn": "by", "attention": "by", "gate": "by", "with": "by",
    "normlayer": "norm", "bn": "norm", "batchnorm": "norm", "norms": "norm",
    "usebias": "bias", "biased": "bias",
    "n": "times", "num": "times", "repeats": "times", "count": "times", "depth": "times",
    "hiddenfeatures": "hidden", "hiddendim": "hidden", "hiddenchannels": "hidden",
    "mid": "hidden", "rdchannels": "hidden",
    "pad": "padding to", "padding": "to", "pads": "padding to", "strides": "stride",
    "rate": "dilation p", "outputsize": "to", "shift": "by", "shifts": "by",
    "droprate": "p", "dropprob": "p", "prob": "p", "probability": "p", "power": "exponent",
    "negativeslope": "slope", "min": "low", "max": "high", "attnmask": "mask",
    "attentionmask": "mask", "attnbias": "bias", "positionbias": "bias", "weightinit": "init",
    "initializer": "init", "numgroups": "groups", "elementwiseaffine": "affine",
    "normalizedshape": "over", "splitsizes": "sizes",
    "group": "groups", "epsilon": "eps", "query": "q", "key": "k", "scope": "over",
    "initial": "init", "initvalue": "init", "shape": "axes", "sizes": "into axes",
    "layers": "nodes", "graph": "nodes", "steps": "nodes", "arguments": "params",
    "parameters": "params", "hyperparameters": "params", "options": "params",
    "paper": "source", "reference": "source", "description": "title", "base": "extends",
    "inherits": "extends", "place": "at", "where": "at", "placement": "insert", "returns": "output",
    "return": "output", "replaces": "stands_for", "doc": "help",
}  # fmt: skip

#: Fields that are never needed here, or not by one op, with the reason.
NEEDLESS: Mapping[str, str] = {
    **dict.fromkeys(
        ("split sizes", "split parts", "split chunks", "split times", "split sections"),
        "to split an axis into several nodes, write 'q, k: {op: chunk, axis: c}'",
    ),
    **dict.fromkeys(
        ("chunk chunks", "chunk parts", "chunk times", "chunk sections", "chunk into"),
        "give the node one name per part: 'q, k, v: {op: chunk, axis: c}'",
    ),
    "keepdim": "axes are matched by name, so no axis of size 1 is kept: remove it",
    "keepdims": "axes are matched by name, so no axis of size 1 is kept: remove it",
    "inplace": "Composer decides what may overwrite its input: remove it",
    "dtype": "the module has the dtype it is built with: remove it",
    "device": "the module is on the device it is built on: remove it",
    "inchannels": "the number of input channels follows from the node it reads: remove it",
    "infeatures": "the number of input features follows from the node it reads: remove it",
}

#: Words that a field takes, by other libraries' words.
VALUES: Mapping[str, str] = {
    "swish": "silu", "hswish": "hard_swish", "hsigmoid": "hard_sigmoid", "logistic": "sigmoid",
    "lrelu": "leaky_relu", "geluact": "gelu",
    "avg": "mean", "average": "mean", "amax": "max", "maximum": "max", "amin": "min",
    "total": "sum", "stdev": "std", "variance": "var", "gem": "power", "power": "pow",
    "clip": "clamp", "absolute": "abs", "inverse": "reciprocal", "l2norm": "l2",
    "bn": "batch", "batchnorm": "batch", "batchnorm2d": "batch", "ln": "layer log",
    "layernorm": "layer", "gn": "group", "groupnorm": "group", "instancenorm": "instance",
    "rmsnorm": "rms", "identity": "none", "no": "none", "off": "none", "null": "none",
    "rel": "relative", "relativebias": "relative",
}  # fmt: skip

#: Names in an expression or of a value, by other libraries' words.
NAMES: Mapping[str, str] = {
    "channels": "c", "inchannels": "c", "cin": "c", "dim": "c", "inplanes": "c", "planes": "c",
    "infeatures": "c", "width": "w", "height": "h", "tokens": "n", "x": "input",
    "outchannels": "out", "outplanes": "out", "kernelsize": "kernel", "features": "c",
}  # fmt: skip

#: Functions in an expression, by Python's words.
FUNCTIONS: Mapping[str, str] = {
    "int": "write // for a whole quotient, or floor(…)", "pow": "write a ** b",
    "clamp": "write min(max(x, low), high)", "clip": "write min(max(x, low), high)",
    "trunc": "write floor(…)", "cdiv": "write ceil(a / b)", "ceildiv": "write ceil(a / b)",
    "sum": "write a + b", "prod": "write a * b", "log10": "write log(x) / log(10)",
    "make_divisible": "write max(8, (x + 4) // 8 * 8)",
}  # fmt: skip


def meaning(word: str) -> Meaning | None:
    """Return the counterpart of another library's op, such as ``nn.Conv3d``; None if unknown."""
    wanted = plain(word.rpartition(".")[2])
    return next((row for row in OPS if wanted in map(plain, row.words.split())), None)


def advice(word: str, node: str) -> str | None:
    """Return the node to write for another library's op, or why none is needed.

    Args:
        word: the op as written.
        node: the name of the node.
    """
    if (row := meaning(word)) is None:
        return None
    said = f"write {node}: {row.line}" if row.line else ""
    return "; ".join(part for part in (said, row.more) if part)


def needless(op: str | None, field: str) -> str | None:
    """Return why another library's field is not needed, in this op or in any; else None."""
    return NEEDLESS.get(f"{op} {plain(field)}") or NEEDLESS.get(plain(field))


def meant(word: str, known: Collection[str], table: Mapping[str, str]) -> str | None:
    """Return ``did you mean 'x'?`` from a table of meanings, else by spelling; None for neither."""
    wanted = plain(word.rpartition(".")[2])
    if found := next((w for w in table.get(wanted, "").split() if w in known), None):
        return f"did you mean {found!r}?"
    return did_you_mean(word, known)


def suggested(word: str, known: Collection[str], label: str, table: Mapping[str, str]) -> str:
    """Return the way out for an unknown word: what was meant, then all known words."""
    all_of_them = f"{label}: {', '.join(known) or 'none'}"
    near = meant(word, known, table)
    return f"{near} {all_of_them}" if near else all_of_them


def instead_of(function: str, known: Collection[str]) -> str:
    """Return the way out for a function that an expression may not call: for ``math.sqrt``, sqrt.

    If a known function is called by a method or attribute, only the known ones are listed.
    """
    library, _, own = function.rpartition(".")
    own = own if library in ("", "math", "np", "numpy", "torch") else ""
    if own in known:
        said = f"write {own}(…)" if library else None
    else:
        said = FUNCTIONS.get(own) or did_you_mean(own, known)
    listed = f"it can call {', '.join(known)}"
    if not said:
        return listed
    return f"{said} {listed}" if said[-1] == "?" else f"{said}; {listed}"
