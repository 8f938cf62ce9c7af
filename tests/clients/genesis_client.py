"""Python's genesis (asyncio) believes that the emulated switch is a FreeSWITCH."""

import asyncio
import sys

from genesis import Channel, Consumer, Inbound, Outbound
from genesis.exceptions import AuthenticationError
from genesis.types import ChannelState

from checks import Checks, equal, in_order

STEP_SECONDS = 15
host, port, password = sys.argv[1], int(sys.argv[2]), sys.argv[3]
checks = Checks("genesis")


class Ear:
    """Hears events of some names, and waits for one that fits."""

    def __init__(self, client, *names):
        self.events = []
        self.more = asyncio.Event()
        for name in names:
            client.on(name, self.hear)

    async def hear(self, event):
        self.events.append(event)
        self.more.set()

    async def wait_for(self, name, **headers):
        def fits(event):
            wanted = {key.replace("_", "-"): value for key, value in headers.items()}
            return event.get("Event-Name") == name and all(
                event.get(key) == value for key, value in wanted.items()
            )

        while True:
            for event in self.events:
                if fits(event):
                    return event
            self.more.clear()
            await self.more.wait()

    def names_of(self, uuid):
        return [event["Event-Name"] for event in self.events if event.get("Unique-ID") == uuid]


def connected():
    return Inbound(host, port, password)


async def refuses_a_wrong_password():
    try:
        async with Inbound(host, port, "not the password"):
            pass
    except AuthenticationError:
        return
    raise AssertionError("it was let in")


async def asks_the_switch():
    async with connected() as client:
        status = await client.send("api status")
        assert status.body.startswith("UP "), status.body
        version = await client.send("api version")
        assert version.body.startswith("FreeSWITCH Version 1."), version.body
        nonsense = await client.send("api nonsense")
        equal(nonsense.body, "-ERR nonsense Command not found!\n")
        nonsense = await client.send("nonsense")
        equal(nonsense["Reply-Text"], "-ERR command not found")


async def originates_and_follows_a_channel():
    async with connected() as client:
        ear = Ear(client, "CHANNEL_CREATE", "CHANNEL_ANSWER", "CHANNEL_PARK", "CHANNEL_HANGUP_COMPLETE")
        channel = await Channel.create(client, "null/genesis", {"tenant": "acme"})
        parked = await ear.wait_for("CHANNEL_PARK", Unique_ID=channel.uuid)
        equal(parked["variable_tenant"], "acme")
        equal(parked["Answer-State"], "answered")
        # The library hands events to its own handlers and to ours in no order.
        while channel.state != ChannelState.EXECUTE:
            await asyncio.sleep(0.01)
        await channel.hangup("USER_BUSY")
        ended = await ear.wait_for("CHANNEL_HANGUP_COMPLETE", Unique_ID=channel.uuid)
        # The header stands twice in this event, which this library shows as a list.
        equal(set(ended["Hangup-Cause"]), {"USER_BUSY"})
        order = ["CHANNEL_CREATE", "CHANNEL_ANSWER", "CHANNEL_PARK", "CHANNEL_HANGUP_COMPLETE"]
        in_order(ear.names_of(channel.uuid), order)
        await channel.wait(ChannelState.DESTROY, timeout=5)


async def finds_a_channel_that_is_there():
    async with connected() as client:
        reply = await client.send("api originate {flow=menu}null/there &park()")
        uuid = reply.body.removeprefix("+OK ").strip()
        channel = await client.get_channel(uuid)
        equal(channel.context["variable_flow"], "menu")
        equal(channel.state, ChannelState.EXECUTE)
        await client.send(f"api uuid_kill {uuid}")


async def executes_applications_and_awaits_them():
    async with connected() as client:
        channel = await Channel.create(client, "null/play")
        played = await channel.playback("tone_stream://%(200,0,440)", block=True, timeout=10)
        equal(played["Application"], "playback")
        equal(played["Application-Response"], "FILE PLAYED")
        missing = await channel.playback("/nonexistent/x.wav", block=True, timeout=10)
        equal(missing["Application-Response"], "FILE NOT FOUND")
        greeting = "žluťoučký kůň, 100 % & more"
        await channel._sendmsg_or_send("execute", "set", f"greeting={greeting}", block=True)
        reply = await client.send(f"api uuid_getvar {channel.uuid} greeting")
        equal(reply.body, greeting)
        await channel.hangup()


async def collects_digits():
    async with connected() as client:
        channel = await Channel.create(client, "null/digits")
        pressed = []

        @channel.on_dtmf()
        async def on_digit(digit):
            pressed.append(digit)

        collecting = asyncio.create_task(
            channel.play_and_get_digits(
                tries=1,
                timeout=5000,
                terminators="#",
                file="silence_stream://100",
                minimal=2,
                maximum=6,
                invalid_file="silence_stream://100",
                var_name="choice",
                regexp="\\d+",
                digit_timeout=2000,
                sendmsg_timeout=10,
            )
        )
        await asyncio.sleep(0.3)
        reply = await client.send(f"api uuid_recv_dtmf {channel.uuid} 4711#")
        assert reply.body.startswith("+OK"), reply.body
        complete = await collecting
        equal(complete["variable_choice"], "4711")
        equal("".join(pressed), "4711#")
        await channel.hangup()


async def gets_a_background_job_by_its_uuid():
    async with connected() as client:
        ear = Ear(client, "BACKGROUND_JOB")
        await client.send("event plain BACKGROUND_JOB")
        slow = await client.send("bgapi msleep 300\nJob-UUID: slow-job")
        equal(slow["Job-UUID"], "slow-job")
        quick = await client.send("bgapi originate null/job &park()")
        done = await ear.wait_for("BACKGROUND_JOB", Job_UUID=quick["Job-UUID"])
        equal(done["Job-Command"], "originate")
        assert done.body.startswith("+OK "), done.body
        await ear.wait_for("BACKGROUND_JOB", Job_UUID="slow-job")
        equal([event["Job-UUID"] for event in ear.events], [quick["Job-UUID"], "slow-job"])
        await client.send(f"api uuid_kill {done.body.removeprefix('+OK ').strip()}")


async def bridges_two_channels():
    async with connected() as client:
        ear = Ear(client, "CHANNEL_BRIDGE", "CHANNEL_UNBRIDGE", "CHANNEL_HANGUP_COMPLETE")
        first = await Channel.create(client, "null/first")
        second = await Channel.create(client, "null/second")
        reply = await first.bridge(second)
        equal(reply.body, f"+OK {second.uuid}\n")
        bridged = await ear.wait_for("CHANNEL_BRIDGE", Unique_ID=first.uuid)
        equal(bridged["Bridge-B-Unique-ID"], second.uuid)
        await first.hangup()
        await ear.wait_for("CHANNEL_HANGUP_COMPLETE", Unique_ID=second.uuid)


async def consumes_what_it_has_decorated_for():
    consumer = Consumer(host, port, password)
    answered = []
    heard = asyncio.Event()

    @consumer.handle("CHANNEL_ANSWER")
    async def on_answer(event):
        answered.append(event["variable_tenant"])
        heard.set()

    consuming = asyncio.create_task(consumer.start())
    try:
        while not consumer.protocol.is_connected:
            await asyncio.sleep(0.01)
        # It subscribes and filters on its own connection.
        await asyncio.sleep(0.3)
        async with connected() as client:
            reply = await client.send("api originate {tenant=acme}null/consumed &park()")
            await heard.wait()
            equal(answered, ["acme"])
            await client.send(f"api uuid_kill {reply.body.removeprefix('+OK ').strip()}")
    finally:
        await consumer.stop()
        consuming.cancel()


async def controls_a_call_that_the_switch_brings():
    finished = asyncio.get_running_loop().create_future()

    async def handle(session):
        try:
            answer = await session.sendmsg("execute", "answer", block=True, timeout=5)
            equal(answer["Application"], "answer")
            played = await session.channel.playback("silence_stream://200", timeout=5)
            equal(played["Application-Response"], "FILE PLAYED")
            name = await session.send("getvar tenant")
            equal(name["Reply-Text"], "acme")
            equal(session.context["variable_tenant"], "acme")
            await session.sendmsg("hangup", "", "USER_BUSY")
            finished.set_result(session.uuid)
        except BaseException as error:
            if not finished.done():
                finished.set_exception(error)

    server = Outbound(handle, "127.0.0.1", 0)
    await server.start(block=False)
    own_port = server.server.sockets[0].getsockname()[1]
    try:
        async with connected() as client:
            ear = Ear(client, "CHANNEL_HANGUP_COMPLETE")
            await client.send("event plain CHANNEL_HANGUP_COMPLETE")
            reply = await client.send(
                f"api originate {{tenant=acme}}null/out &socket(127.0.0.1:{own_port} async full)"
            )
            uuid = reply.body.removeprefix("+OK ").strip()
            equal(await finished, uuid)
            ended = await ear.wait_for("CHANNEL_HANGUP_COMPLETE", Unique_ID=uuid)
            equal(set(ended["Hangup-Cause"]), {"USER_BUSY"})
    finally:
        await server.stop()


STEPS = [
    refuses_a_wrong_password,
    asks_the_switch,
    originates_and_follows_a_channel,
    finds_a_channel_that_is_there,
    executes_applications_and_awaits_them,
    collects_digits,
    gets_a_background_job_by_its_uuid,
    bridges_two_channels,
    consumes_what_it_has_decorated_for,
    controls_a_call_that_the_switch_brings,
]


async def main():
    for step in STEPS:
        what = step.__name__.replace("_", " ")
        try:
            await asyncio.wait_for(step(), STEP_SECONDS)
        except asyncio.TimeoutError:
            checks.failed_by(what, TimeoutError(f"not done after {STEP_SECONDS} s"))
        except Exception as error:
            checks.failed_by(what, error)
        else:
            checks.passed(what)


asyncio.run(main())
checks.end()
