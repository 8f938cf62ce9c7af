"""Python's greenswitch (gevent) believes that the emulated switch is a FreeSWITCH."""

import gevent
import gevent.monkey

gevent.monkey.patch_all()

import sys

import gevent.event
import greenswitch

from checks import Checks, equal, in_order

STEP_SECONDS = 15
host, port, password = sys.argv[1], int(sys.argv[2]), sys.argv[3]
checks = Checks("greenswitch")


class Client:
    """A connection that keeps what it hears."""

    def __init__(self):
        self.events = []
        self.more = gevent.event.Event()
        self.esl = greenswitch.InboundESL(host, port, password)

    def __enter__(self):
        self.esl.connect()
        self.esl.register_handle("*", self.hear)
        return self

    def __exit__(self, *_):
        self.esl.stop()

    def hear(self, event):
        self.events.append(event.headers)
        self.more.set()

    def api(self, command):
        return self.esl.send(f"api {command}").data

    def originate(self, arguments):
        reply = self.api(f"originate {arguments}")
        assert reply.startswith("+OK "), reply
        return reply.removeprefix("+OK ").strip()

    def execute(self, uuid, application, argument, event_uuid):
        reply = self.esl.send(
            f"sendmsg {uuid}\ncall-command: execute\nexecute-app-name: {application}\n"
            f"execute-app-arg: {argument}\nEvent-UUID: {event_uuid}"
        )
        equal(reply.data, "+OK")

    def wait_for(self, name, **headers):
        wanted = {key.replace("_", "-"): value for key, value in headers.items()}
        wanted["Event-Name"] = name
        while True:
            for event in self.events:
                if all(event.get(key) == value for key, value in wanted.items()):
                    return event
            self.more.clear()
            self.more.wait()

    def names_of(self, uuid):
        return [event["Event-Name"] for event in self.events if event.get("Unique-ID") == uuid]


def refuses_a_wrong_password():
    esl = greenswitch.InboundESL(host, port, "not the password")
    try:
        esl.connect()
    except ValueError:
        return
    raise AssertionError("it was let in")


def asks_the_switch():
    with Client() as client:
        assert client.api("status").startswith("UP ")
        equal(client.api("nonsense"), "-ERR nonsense Command not found!\n")
        equal(client.esl.send("nonsense").data, "-ERR command not found")
        equal(client.api("originate error/USER_BUSY &park()"), "-ERR USER_BUSY\n")


def originates_and_hears_of_a_whole_call():
    with Client() as client:
        equal(client.esl.send("event plain ALL").data, "+OK event listener enabled plain")
        uuid = client.originate("{tenant=acme}null/green &park()")
        parked = client.wait_for("CHANNEL_PARK", Unique_ID=uuid)
        equal(parked["variable_tenant"], "acme")
        equal(client.api(f"uuid_kill {uuid} USER_BUSY"), "+OK\n")
        ended = client.wait_for("CHANNEL_HANGUP_COMPLETE", Unique_ID=uuid)
        equal(ended["Hangup-Cause"], "USER_BUSY")
        client.wait_for("CHANNEL_STATE", Unique_ID=uuid, Channel_State="CS_DESTROY")
        order = ["CHANNEL_CREATE", "CHANNEL_ANSWER", "CHANNEL_PARK", "CHANNEL_HANGUP"]
        in_order(client.names_of(uuid), [*order, "CHANNEL_HANGUP_COMPLETE", "CHANNEL_DESTROY"])


def executes_applications():
    with Client() as client:
        client.esl.send("event plain CHANNEL_EXECUTE CHANNEL_EXECUTE_COMPLETE")
        uuid = client.originate("null/play &park()")
        client.execute(uuid, "playback", "tone_stream://%(200,0,440)", "play-1")
        played = client.wait_for("CHANNEL_EXECUTE_COMPLETE", Application_UUID="play-1")
        equal(played["Application-Response"], "FILE PLAYED")
        client.execute(uuid, "set", "greeting=žluťoučký kůň", "set-1")
        complete = client.wait_for("CHANNEL_EXECUTE_COMPLETE", Application_UUID="set-1")
        equal(complete["variable_greeting"], "žluťoučký kůň")
        equal(client.api(f"uuid_getvar {uuid} greeting"), "žluťoučký kůň")
        client.api(f"uuid_kill {uuid}")


def collects_digits():
    with Client() as client:
        client.esl.send("event plain DTMF CHANNEL_EXECUTE_COMPLETE")
        uuid = client.originate("null/digits &park()")
        arguments = "2 6 1 5000 # silence_stream://100 silence_stream://100 choice \\d+ 2000"
        client.execute(uuid, "play_and_get_digits", arguments, "digits-1")
        gevent.sleep(0.3)
        equal(client.api(f"uuid_recv_dtmf {uuid} 4711#"), f"+OK {uuid} received DTMF 4711#.\n")
        complete = client.wait_for("CHANNEL_EXECUTE_COMPLETE", Application_UUID="digits-1")
        equal(complete["variable_choice"], "4711")
        pressed = [event["DTMF-Digit"] for event in client.events if event["Event-Name"] == "DTMF"]
        equal("".join(pressed), "4711#")
        client.api(f"uuid_kill {uuid}")


def gets_a_background_job_by_its_uuid():
    with Client() as client:
        client.esl.send("event plain BACKGROUND_JOB")
        slow = client.esl.send("bgapi msleep 300\nJob-UUID: slow-job")
        equal(slow.headers["Job-UUID"], "slow-job")
        quick = client.esl.send("bgapi originate null/job &park()").headers["Job-UUID"]
        done = client.wait_for("BACKGROUND_JOB", Job_UUID=quick)
        # This library takes the event's body for the rest of its last header.
        result = done["Content-Length"].split("\n")[-1]
        assert result.startswith("+OK "), done
        client.wait_for("BACKGROUND_JOB", Job_UUID="slow-job")
        equal([event["Job-UUID"] for event in client.events], [quick, "slow-job"])
        client.api(f"uuid_kill {result.removeprefix('+OK ')}")


def hears_only_what_its_filter_lets_through():
    with Client() as client:
        client.esl.send("event plain CHANNEL_CREATE CHANNEL_ANSWER")
        equal(
            client.esl.send("filter variable_tenant acme").data,
            "+OK filter added. [variable_tenant]=[acme]",
        )
        other = client.originate("{tenant=other}null/a &park()")
        own = client.originate("{tenant=acme}null/b &park()")
        client.wait_for("CHANNEL_ANSWER", Unique_ID=own)
        equal(client.names_of(other), [])
        equal(client.names_of(own), ["CHANNEL_CREATE", "CHANNEL_ANSWER"])
        client.api(f"uuid_kill {other}")
        client.api(f"uuid_kill {own}")


def with_outbound_call(talk, watch):
    """Brings a call to `talk(session)` by the application `socket`, while `watch(client, uuid)` looks on."""
    outcome = gevent.event.AsyncResult()

    class Flow:
        def __init__(self, session):
            self.session = session

        def run(self):
            try:
                self.session.connect()
                self.session.myevents()
                self.session.linger()
                outcome.set(talk(self.session))
            except BaseException as error:
                outcome.set_exception(error)

    server = greenswitch.OutboundESLServer("127.0.0.1", list(range(18084, 18184)), Flow)
    serving = gevent.spawn(server.listen)
    while not server.bound_port:
        gevent.sleep(0.01)
    try:
        with Client() as client:
            client.esl.send("event plain CHANNEL_HANGUP_COMPLETE CHANNEL_EXECUTE")
            uuid = client.originate(f"null/out &socket(127.0.0.1:{server.bound_port} async full)")
            watch(client, uuid)
            equal(outcome.get(), uuid)
            return client.wait_for("CHANNEL_HANGUP_COMPLETE", Unique_ID=uuid)
    finally:
        server.stop()
        serving.kill()


def controls_a_call_that_the_switch_brings():
    def talk(session):
        equal(session.answer(), "+OK")
        played = session.playback("silence_stream://200")
        equal(played.headers["Application-Response"], "FILE PLAYED")
        digits = gevent.spawn(
            session.play_and_get_digits,
            "2", "6", "1", "5000", "#", "silence_stream://100", "silence_stream://100",
            "choice", "\\d+", "2000", "",
        )  # fmt: skip
        gevent.sleep(0.3)
        session.send(f"api uuid_recv_dtmf {session.uuid} 4711#")
        equal(digits.get(), "4711")
        session.hangup("USER_BUSY")
        return session.uuid

    ended = with_outbound_call(talk, lambda client, uuid: None)
    equal(ended["Hangup-Cause"], "USER_BUSY")


def notices_that_its_caller_has_gone():
    def talk(session):
        played = session.playback("silence_stream://60000")
        equal(played.headers["Application-Response"], "PLAYBACK ERROR")
        try:
            session.raise_if_disconnected()
        except greenswitch.esl.OutboundSessionHasGoneAway:
            return session.uuid
        raise AssertionError("its caller is still there")

    def watch(client, uuid):
        client.wait_for("CHANNEL_EXECUTE", Unique_ID=uuid, Application="playback")
        client.api(f"uuid_kill {uuid} ORIGINATOR_CANCEL")

    ended = with_outbound_call(talk, watch)
    equal(ended["Hangup-Cause"], "ORIGINATOR_CANCEL")


STEPS = [
    refuses_a_wrong_password,
    asks_the_switch,
    originates_and_hears_of_a_whole_call,
    executes_applications,
    collects_digits,
    gets_a_background_job_by_its_uuid,
    hears_only_what_its_filter_lets_through,
    controls_a_call_that_the_switch_brings,
    notices_that_its_caller_has_gone,
]

for step in STEPS:
    what = step.__name__.replace("_", " ")
    try:
        with gevent.Timeout(STEP_SECONDS, TimeoutError(f"not done after {STEP_SECONDS} s")):
            step()
    except Exception as error:
        checks.failed_by(what, error)
    else:
        checks.passed(what)
checks.end()
