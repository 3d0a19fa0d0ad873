# SPDX-License-Identifier: MIT
"""The client and the worker for asyncio: `Client`, `Worker`, and the jobs that they show. Errors and types are fastgear's.

>>> import asyncio, fastgear.aio
>>> async def reverse(job):
...     await asyncio.sleep(0.01)
...     return job.workload[::-1]
>>> async def main(address):
...     worker = fastgear.aio.Worker(address, concurrency=100)
...     worker.register("reverse", reverse)
...     working = asyncio.create_task(worker.run())
...     async with fastgear.aio.Client(address) as client:
...         print(await (await client.submit("reverse", b"hello")))
...     worker.stop()
...     await working
>>> with fastgear.Server("127.0.0.1:0") as server:
...     asyncio.run(main(server.address))
b'olleh'
"""

from fastgear.client.aio import Client
from fastgear.client.aio_job import Job
from fastgear.worker.aio import Worker
from fastgear.worker.aio_job import WorkerJob

__all__ = ["Client", "Job", "Worker", "WorkerJob"]
