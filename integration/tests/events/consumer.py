"""Reads a stream of garrison's events from its beginning, as any program may that knows NATS and JSON
Schema: with a durable consumer, each event validated against the schema that the coordinator publishes for
its topic, and acknowledged. Prints a line for each: its id, a blank, and its subject.

usage: consumer.py NATS COORDINATOR COUNT
"""

import asyncio
import json
import sys
import urllib.request
from datetime import datetime

import nats
from jsonschema import Draft202012Validator


def validators(coordinator):
    """Gives the validators of a topic's events, and of any event."""
    known = {}

    def load(path):
        if path not in known:
            with urllib.request.urlopen(f"{coordinator}/schemas/events/v1{path}") as answer:
                schema = json.load(answer)
            Draft202012Validator.check_schema(schema)
            known[path] = Draft202012Validator(schema)
        return known[path]

    return lambda topic: (load(f"/{topic}"), load(""))


async def main(server, coordinator, count):
    of = validators(coordinator)
    connection = await nats.connect(server)
    stream = connection.jetstream()
    subscription = await stream.pull_subscribe("garrison.>", durable="python", stream="GARRISON")
    while count > 0:
        for message in await subscription.fetch(min(count, 50), timeout=20):
            event = json.loads(message.data)
            _, _, topic = message.subject.split(".", 2)
            for validator in of(topic):
                validator.validate(event)
            datetime.fromisoformat(event["time"])
            assert message.headers["Nats-Msg-Id"] == event["id"]
            assert message.headers["content-type"].startswith("application/cloudevents+json")
            print(event["id"], message.subject)
            await message.ack_sync()
            count -= 1
    await connection.close()


asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
