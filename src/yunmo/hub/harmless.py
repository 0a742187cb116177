"""The names that a pickle may import and do no harm: what `torch.load(weights_only=True)` accepts, and what numpy's arrays need."""


def is_harmless(module: str, attribute: str) -> bool:
    """Whether this very name is on the list; nothing is inferred from a part of it."""
    return attribute in _HARMLESS.get(module, ())


_BUILTINS = frozenset({"set", "frozenset", "bytes", "bytearray", "complex", "slice"})
_RECONSTRUCT = frozenset({"_reconstruct", "scalar"})
_KINDS = ("Float", "Double", "Half", "BFloat16", "Byte", "Char", "Short", "Int", "Long", "Bool", "ComplexFloat", "ComplexDouble")
_STORAGES = frozenset(f"{kind}Storage" for kind in (*_KINDS, "QInt8", "QUInt8", "QInt32", "QUInt4x2", "QUInt2x4"))
_TENSORS = frozenset(f"{kind}Tensor" for kind in _KINDS)
_DTYPES = frozenset({
    "bfloat16", "bool", "complex128", "complex32", "complex64", "double", "float", "float16", "float32", "float64", "float8_e4m3fn",
    "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu", "half", "int", "int16", "int32", "int64", "int8", "long",
    "qint32", "qint8", "quint2x4", "quint4x2", "quint8", "short", "uint16", "uint32", "uint64", "uint8", "per_tensor_affine",
    "per_tensor_symmetric", "per_channel_affine", "per_channel_symmetric", "per_channel_affine_float_qparams",
})  # fmt: skip
_HARMLESS: dict[str, frozenset[str]] = {
    "collections": frozenset({"OrderedDict", "Counter", "defaultdict"}),
    "_codecs": frozenset({"encode"}),
    "builtins": _BUILTINS,
    "__builtin__": _BUILTINS,
    "numpy": frozenset({"ndarray", "dtype"}),
    "numpy.core.multiarray": _RECONSTRUCT,
    "numpy._core.multiarray": _RECONSTRUCT,
    "numpy.core.numeric": frozenset({"_frombuffer"}),
    "numpy._core.numeric": frozenset({"_frombuffer"}),
    "torch": _STORAGES | _TENSORS | _DTYPES | {"Size", "Tensor", "device"},
    "torch.cuda": _STORAGES | _TENSORS,
    "torch.storage": frozenset({"TypedStorage", "UntypedStorage", "_TypedStorage", "_UntypedStorage"}),
    "torch.nn.parameter": frozenset({"Parameter"}),
    "torch.serialization": frozenset({"_get_layout"}),
    "torch._tensor": frozenset({"_rebuild_from_type_v2"}),
    "torch._utils": frozenset(
        {
            "_rebuild_device_tensor_from_cpu_tensor",
            "_rebuild_device_tensor_from_numpy",
            "_rebuild_meta_tensor_no_storage",
            "_rebuild_nested_tensor",
            "_rebuild_parameter",
            "_rebuild_parameter_with_state",
            "_rebuild_qtensor",
            "_rebuild_sparse_tensor",
            "_rebuild_tensor",
            "_rebuild_tensor_v2",
            "_rebuild_tensor_v3",
            "_rebuild_wrapper_subclass",
        }
    ),
}
