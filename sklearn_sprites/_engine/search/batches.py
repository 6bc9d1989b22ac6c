"""Work on some rows of a record, in batches of one size.

A record is a tuple of tensors, or of such records, whose first dimensions are images.
Batches are filled up by repetition, so that every row passes the same kernels whatever
the number and the company of rows.
"""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor

BATCH = 16
Record = TypeVar("Record", bound=tuple[Any, ...])


def parts(rows: Tensor, size: int) -> list[Tensor]:
    """Rows (n,) in batches of one `size`; the last is filled with the last row.

    So no row is in two batches: work on the first may be what the second would see.
    """
    missing = -len(rows) % size
    if missing:
        rows = torch.cat([rows, rows[-1:].expand(missing)])
    return list(rows.view(-1, size))


def each(record: Record, change: Callable[[Tensor], Tensor]) -> Record:
    """The record of changed tensors."""
    values = (change(v) if isinstance(v, Tensor) else each(v, change) for v in record)
    return type(record)(*values)


def tensors(record: tuple[Any, ...]) -> Iterator[Tensor]:
    """All tensors of a record."""
    for value in record:
        if isinstance(value, Tensor):
            yield value
        else:
            yield from tensors(value)


def take(record: Record, rows: Tensor) -> Record:
    """Some rows."""
    return each(record, lambda old: old.index_select(0, rows))


def put(record: Record, rows: Tensor, new: Record) -> Record:
    """The record with new rows, in place."""
    for old, value in zip(tensors(record), tensors(new), strict=True):
        old.index_copy_(0, rows, value)
    return record


def joined(records: list[Record]) -> Record:
    """One record of all rows of several."""
    columns = zip(*map(tensors, records), strict=True)
    whole = iter([torch.cat(column) for column in columns])
    return each(records[0], lambda _: next(whole))


def by_parts(
    work: Callable[[Tensor], Record], n: int, size: int, device: torch.device
) -> Record:
    """What `work` makes of all n rows, batch by batch."""
    every = torch.arange(n, device=device)
    whole = joined([work(part) for part in parts(every, size)])
    return whole if n % size == 0 else each(whole, lambda values: values[:n])
