"""Values to plain JSON and back by their annotations; arrays lie beside it in ``.npy`` files, small ones in it.

For talk between processes where one side reads untrusted bytes: nothing is made of what comes but the types that
the annotations name, and dataclasses check themselves as they are built.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import math
import struct
import types
from collections.abc import Callable, Iterator, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
from pydantic import BaseModel

from core.types import Array

LENGTH = struct.Struct(">I")
MAX_MESSAGE_BYTES = 2**28  # the headers of a long series take some megabytes
INLINE_BYTES = 2**16  # up to here making a file costs more than sending the values

StoreArray = Callable[[Array], str]
LoadArray = Callable[[str], Array]
Reader = Callable[[Any, LoadArray], Any]


def pack(message: dict[str, Any]) -> bytes:
    """Return a message as JSON behind its length.

    Raises:
        ValueError: for a message past the limit.
    """
    body = json.dumps(message, allow_nan=False, separators=(",", ":")).encode("ascii")
    if len(body) > MAX_MESSAGE_BYTES:
        raise ValueError(f"a message must have at most {MAX_MESSAGE_BYTES} bytes, got {len(body)}.")
    return LENGTH.pack(len(body)) + body


def unpack(body: bytes) -> dict[str, Any]:
    """Return the message of a JSON body.

    Raises:
        ValueError: when it is no JSON object.
    """
    try:
        message = json.loads(body)
    except RecursionError as error:
        raise ValueError("a message is nested too deep.") from error
    if not isinstance(message, dict):
        raise ValueError(f"a message must be an object, got {type(message).__name__}.")
    return message


def to_plain(value: Any, store_array: StoreArray) -> Any:
    """Return a value as what JSON has.

    Args:
        value: plain values, paths, arrays, dataclasses, frozen pydantic models, and containers of them.
        store_array: puts a large array into a file and returns the file's name.

    Raises:
        ValueError: for numbers that JSON does not have (NaN, infinite).
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"JSON has no number {value}.")
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, np.generic):
        return to_plain(value.item(), store_array)
    if isinstance(value, np.ndarray):
        return {"array": _inline(value) if value.nbytes <= INLINE_BYTES else store_array(value)}
    if isinstance(value, Path):
        return str(value if value.is_absolute() else value.absolute())
    if isinstance(value, BaseModel):
        return _model_text(value)
    if dataclasses.is_dataclass(value):
        fields = {
            field.name: to_plain(getattr(value, field.name), store_array)
            for field in dataclasses.fields(value)
        }
        return {"is": type(value).__name__, "fields": fields}
    if isinstance(value, dict):
        return {str(key): to_plain(item, store_array) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item, store_array) for item in value]
    raise TypeError(f"{type(value).__name__} cannot be written as JSON.")


def from_plain(hint: Any, data: Any, load_array: LoadArray) -> Any:
    """Rebuild a value from ``to_plain``'s JSON.

    Args:
        hint: the type it must have, as ``typing.get_type_hints`` gives it.
        data: what came.
        load_array: opens the file of an array by its name.

    Raises:
        ValueError: when it does not have that type.
    """
    return _reader(hint)(data, load_array)


def result_type(function: Callable[..., Any]) -> tuple[Any, bool]:
    """Return what a function gives by its annotations, and whether it gives many of them (an Iterator)."""
    hint = _hints(function)["return"]
    if get_origin(hint) is Iterator:
        return get_args(hint)[0], True
    return hint, False


def argument_types(function: Callable[..., Any]) -> list[Any]:
    """Return the types of a function's arguments, in order."""
    return [hint for name, hint in _hints(function).items() if name != "return"]


@cache
def _hints(annotated: Any) -> dict[str, Any]:
    return get_type_hints(annotated)


@cache
def _reader(hint: Any) -> Reader:
    """Return the function that rebuilds values of a type; made once for each."""
    origin, options = get_origin(hint), get_args(hint)
    if hint is Any:
        return lambda data, _: data
    if hint in SCALARS:
        return SCALARS[hint]
    if origin in (Union, types.UnionType):
        return _union_reader([_reader(option) for option in options])
    if origin is Literal:
        return lambda data, _: _checked(data, data in options, hint)
    if hint is np.ndarray or origin is np.ndarray:
        return _read_array
    if origin is tuple and options[-1] is not Ellipsis:
        return _fixed_tuple_reader([_reader(option) for option in options])
    if origin in (tuple, list, Sequence):
        return _sequence_reader(tuple if origin is tuple else list, _reader(options[0]))
    if origin is dict:
        return _dict_reader(_reader(options[0]), _reader(options[1]))
    if dataclasses.is_dataclass(hint):
        return _dataclass_reader(hint)
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return lambda data, _: _model(hint, _checked(data, isinstance(data, str), hint))
    raise TypeError(f"{hint} is no type that is sent between processes.")


def _checked(data: Any, fits: bool, hint: Any) -> Any:
    if not fits:
        raise ValueError(f"expected {hint}, got {type(data).__name__}.")
    return data


def _read_none(data: Any, _: LoadArray) -> None:
    _checked(data, data is None, None)


def _read_bool(data: Any, _: LoadArray) -> bool:
    return bool(_checked(data, isinstance(data, bool), bool))


def _read_int(data: Any, _: LoadArray) -> int:
    return int(_checked(data, isinstance(data, int) and not isinstance(data, bool), int))


def _read_float(data: Any, _: LoadArray) -> float:
    is_number = isinstance(data, int | float) and not isinstance(data, bool)
    return float(_checked(data, is_number and math.isfinite(data), float))


def _read_str(data: Any, _: LoadArray) -> str:
    text: str = _checked(data, isinstance(data, str), str)
    return (
        text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
    )  # no halves of characters


def _read_path(data: Any, _: LoadArray) -> Path:
    return Path(_checked(data, isinstance(data, str) and "\0" not in data, Path))


def _read_array(data: Any, load_array: LoadArray) -> Array:
    inside = data.get("array") if isinstance(data, dict) else None
    if isinstance(inside, dict):
        return _from_inline(inside)
    return load_array(_checked(inside, isinstance(inside, str), np.ndarray))


def _inline(array: Array) -> dict[str, Any]:
    values = base64.b64encode(np.ascontiguousarray(array).data).decode("ascii")
    return {"dtype": array.dtype.name, "shape": list(array.shape), "values": values}


def _from_inline(data: dict[str, Any]) -> Array:
    shape = _INLINE_SHAPE(data.get("shape"), _no_file)
    kind = np.dtype(_INLINE_KIND(data.get("dtype"), _no_file))
    values = base64.b64decode(_read_str(data.get("values"), _no_file), validate=True)
    _checked(data, min(shape, default=0) > 0 and math.prod(shape) * kind.itemsize == len(values), np.ndarray)
    return np.frombuffer(values, kind).reshape(shape)  # read-only, as bytes are


def _no_file(name: str) -> Array:
    raise ValueError(f"{name} is no array.")


SCALARS: dict[Any, Reader] = {
    type(None): _read_none,
    bool: _read_bool,
    int: _read_int,
    float: _read_float,
    str: _read_str,
    Path: _read_path,
}


def _union_reader(options: list[Reader]) -> Reader:
    def read(data: Any, load_array: LoadArray) -> Any:
        reasons = []
        for option in options:
            try:
                return option(data, load_array)
            except ValueError as error:
                reasons.append(str(error))
        raise ValueError(" ".join(reasons))

    return read


def _fixed_tuple_reader(options: list[Reader]) -> Reader:
    def read(data: Any, load_array: LoadArray) -> Any:
        _checked(data, isinstance(data, list) and len(data) == len(options), tuple)
        return tuple(option(item, load_array) for option, item in zip(options, data, strict=True))

    return read


def _sequence_reader(kind: type, option: Reader) -> Reader:
    def read(data: Any, load_array: LoadArray) -> Any:
        return kind(option(item, load_array) for item in _checked(data, isinstance(data, list), kind))

    return read


def _dict_reader(key: Reader, value: Reader) -> Reader:
    def read(data: Any, load_array: LoadArray) -> Any:
        items = _checked(data, isinstance(data, dict), dict).items()
        return {key(name, load_array): value(item, load_array) for name, item in items}

    return read


def _dataclass_reader(hint: Any) -> Reader:
    hints = _hints(hint)
    readers = {field.name: _reader(hints[field.name]) for field in dataclasses.fields(hint)}

    def read(data: Any, load_array: LoadArray) -> Any:
        fits = (
            isinstance(data, dict)
            and data.get("is") == hint.__name__
            and isinstance(data.get("fields"), dict)
        )
        fields = _checked(data, fits, hint)["fields"]
        _checked(data, fields.keys() == readers.keys(), hint)
        return hint(**{name: readers[name](item, load_array) for name, item in fields.items()})

    return read


@lru_cache(maxsize=8)
def _model(hint: type[BaseModel], text: str) -> BaseModel:
    return hint.model_validate_json(text)


@lru_cache(maxsize=8)
def _model_text(model: BaseModel) -> str:
    return model.model_dump_json()


_INLINE_SHAPE: Reader = _reader(tuple[int, ...])
_INLINE_KIND: Reader = _reader(
    Literal[
        "bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"
    ]
)
