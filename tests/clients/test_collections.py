"""Tasks by the hundred, added by the clients' own bulk calls."""

from bulksubmit.emulator import Service
from tests.clients.calls import Client


async def test_add(client: Client, service: Service) -> None:
    job = service.create_job("night-1")
    results = await client(
        "add_tasks",
        job_id="night-1",
        tasks=[{"id": f"t{n}", "commandLine": "true"} for n in range(1250)],
        threads=4,
    )

    assert len(results) == 1250
    assert len(job) == 1250
