"""Where the server waits for the disk: in the event loop's own pool of threads, which is bounded.

Decides nothing else. The pool is the loop's default executor; its size is set once, when the server starts.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def bound(threads: int) -> None:
    """Let no more than so many threads wait for the disk, in the running loop."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(threads, thread_name_prefix="modelcast-disk"))


async def work(function: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
    """Call ``function`` in a thread and return what it returns."""
    call = partial(function, *args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(None, call)
