"""A module with a failpoint in each shape of code that Python has."""

from __future__ import annotations

import functools
import json
import os
from contextlib import contextmanager


def put(store, key, value):
    old = store.get(key)
    # failpoint: cas-put-before-write
    store[key] = value
    return old


def save(path, text):
    part = path + ".part"
    descriptor = os.open(part, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)  # failpoint: save-open
    try:
        # failpoint: save-write
        os.write(descriptor, text.encode())
        # failpoint: save-fsync
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    # failpoint: save-rename
    os.replace(part, path)
    # failpoint: save-end


def branches(n):
    """Text first."""
    # failpoint: begin
    if n == 1:
        pass
        # failpoint: in-if
    elif n == 2:
        pass
        # failpoint: in-elif
    else:
        # failpoint: in-else
        pass
    for _ in range(n):
        pass
        # failpoint: in-loop
    # failpoint: after-loop
    try:
        if n == 5:
            raise ValueError
    except ValueError:
        # failpoint: in-except
        n = 6
    else:
        pass
        # failpoint: in-try-else
    match n:
        case 6:
            # failpoint: in-case
            pass
    return n
    # failpoint: never


class Base:
    def __init__(self):
        self.n = 1
        # failpoint: in-init

    def method(self):
        return 1


class Child(Base):
    text = "# failpoint: not-one"
    # failpoint: in-class

    def method(self):
        # failpoint: in-method
        return super().method() + 1

    @property
    def prop(self):
        # failpoint: in-property
        return 3

    @classmethod
    def made(cls):
        # failpoint: in-classmethod
        return cls()

    @staticmethod
    def static():
        # failpoint: in-static
        return 4


def adder(start):
    total = start

    def add(n):
        nonlocal total
        # failpoint: in-closure
        total += n
        return total

    return add


def decorated_by(function):
    @functools.wraps(function)
    def wrapper(*arguments):
        return function(*arguments)

    return wrapper


@decorated_by
def decorated():
    # failpoint: in-decorated
    return 5


@functools.lru_cache
def cached(n):
    # failpoint: in-cached
    return n


async def fetch(n):
    # failpoint: in-async
    return n


def numbers():
    # failpoint: in-generator
    yield 1
    yield 2


async def async_numbers():
    # failpoint: in-async-generator
    yield 1
    yield 2


@contextmanager
def opened():
    # failpoint: in-context
    yield 6


def call(a, /, b=2, *rest, c, d=4, **more):
    return (a, b, rest, c, d, more)


def dump(value):
    return json.dumps(value)


# failpoint: at-module-level
