// Node's modesl believes that the emulated switch is a FreeSWITCH.
'use strict';

const net = require('node:net');
const assert = require('node:assert/strict');
const esl = require('modesl');

const STEP_MS = 15_000;
const [host, port, password] = process.argv.slice(2);

/** A connection, ready to be used; the library has subscribed to what it needs, in JSON. */
function connected() {
    return new Promise((resolve, reject) => {
        const connection = new esl.Connection(host, Number(port), password, () => resolve(connection));
        connection.on('error', reject);
        connection.on('esl::event::auth::fail', () => reject(new Error('it was not let in')));
    });
}

async function withConnection(use) {
    const connection = await connected();
    try {
        return await use(connection);
    } finally {
        connection.disconnect();
    }
}

const api = (connection, command) =>
    new Promise(resolve => connection.api(command, event => resolve(event.getBody())));
const background = (connection, command, argument, job) =>
    new Promise(resolve => connection.bgapi(command, argument, job, resolve));
const subscribe = (connection, names) => new Promise(resolve => connection.subscribe(names, resolve));
const execute = (connection, application, argument, uuid) =>
    new Promise(resolve => connection.execute(application, argument, uuid, resolve));
const event = (connection, name) => new Promise(resolve => connection.once(`esl::event::${name}`, resolve));
const pause = ms => new Promise(resolve => setTimeout(resolve, ms));

async function originate(connection, argument) {
    const reply = await api(connection, `originate ${argument}`);
    assert.match(reply, /^\+OK /);
    return reply.slice(4).trim();
}

const steps = {
    async 'refuses a wrong password'() {
        const connection = new esl.Connection(host, Number(port), 'not the password');
        const reply = await event(connection, 'auth::fail');
        assert.equal(reply.getHeader('Reply-Text'), '-ERR invalid');
    },

    async 'asks the switch'() {
        await withConnection(async connection => {
            assert.match(await api(connection, 'status'), /^UP /);
            assert.equal(await api(connection, 'nonsense'), '-ERR nonsense Command not found!\n');
            assert.equal(await api(connection, 'originate error/USER_BUSY &park()'), '-ERR USER_BUSY\n');
        });
    },

    async 'lists the channels'() {
        await withConnection(async connection => {
            const uuid = await originate(connection, '{origination_caller_id_name=Žofie}null/list &park()');
            await pause(500);
            const list = await new Promise((resolve, reject) =>
                connection.show('channels', (error, parsed) => (error ? reject(error) : resolve(parsed))));
            const row = list.rows.find(row => row.uuid === uuid);
            assert.equal(row.application, 'park');
            assert.equal(list.row_count, list.rows.length);
            assert.equal(await api(connection, `uuid_kill ${uuid}`), '+OK\n');
        });
    },

    async 'originates and hears of a whole call'() {
        await withConnection(async connection => {
            const heard = [];
            connection.on('esl::event::*::*', event => heard.push(event));
            await subscribe(connection, ['CHANNEL_CREATE', 'CHANNEL_ANSWER', 'CHANNEL_PARK', 'CHANNEL_HANGUP_COMPLETE']);
            const uuid = 'modesl-call';
            const parked = event(connection, `CHANNEL_PARK::${uuid}`);
            await originate(connection, `{origination_uuid=${uuid},greeting='žluťoučký kůň'}null/x &park()`);
            assert.equal((await parked).getHeader('variable_greeting'), 'žluťoučký kůň');
            const ended = event(connection, `CHANNEL_HANGUP_COMPLETE::${uuid}`);
            await api(connection, `uuid_kill ${uuid} USER_BUSY`);
            assert.equal((await ended).getHeader('Hangup-Cause'), 'USER_BUSY');
            const own = heard.filter(event => event.getHeader('Unique-ID') === uuid);
            const names = own.map(event => event.getHeader('Event-Name')).filter(name => !name.includes('EXECUTE'));
            assert.deepEqual(names, ['CHANNEL_CREATE', 'CHANNEL_ANSWER', 'CHANNEL_PARK', 'CHANNEL_HANGUP_COMPLETE']);
        });
    },

    async 'executes applications and awaits them'() {
        await withConnection(async connection => {
            const uuid = await originate(connection, 'null/play &park()');
            const played = await execute(connection, 'playback', 'tone_stream://%(200,0,440)', uuid);
            assert.equal(played.getHeader('Application-Response'), 'FILE PLAYED');
            const set = await execute(connection, 'set', 'answer=42', uuid);
            assert.equal(set.getHeader('variable_answer'), '42');
            await api(connection, `uuid_kill ${uuid}`);
        });
    },

    async 'collects digits'() {
        await withConnection(async connection => {
            const uuid = await originate(connection, 'null/digits &park()');
            const silence = 'silence_stream://100';
            const argument = `2 6 1 5000 # ${silence} ${silence} choice \\d+ 2000`;
            const collected = execute(connection, 'play_and_get_digits', argument, uuid);
            await pause(300);
            await api(connection, `uuid_recv_dtmf ${uuid} 4711#`);
            assert.equal((await collected).getHeader('variable_choice'), '4711');
            await api(connection, `uuid_kill ${uuid}`);
        });
    },

    async 'gets a background job by its uuid'() {
        await withConnection(async connection => {
            const slow = background(connection, 'msleep', '300', 'modesl-slow');
            const quick = await background(connection, 'originate', 'null/job &park()');
            assert.match(quick.getBody(), /^\+OK /);
            assert.equal(quick.getHeader('Job-Command'), 'originate');
            assert.equal((await slow).getHeader('Job-UUID'), 'modesl-slow');
            await api(connection, `uuid_kill ${quick.getBody().slice(4).trim()}`);
        });
    },

    async 'sends an event to another client'() {
        await withConnection(async sender => withConnection(async receiver => {
            await subscribe(receiver, ['CUSTOM', 'lab::news']);
            const news = event(receiver, 'CUSTOM::*');
            const sent = new esl.Event('CUSTOM', 'lab::news');
            sent.addHeader('colour', 'modrá');
            sent.addBody('two\nlines');
            await new Promise(resolve => sender.sendEvent(sent, resolve));
            const received = await news;
            assert.equal(received.getHeader('colour'), 'modrá');
            assert.equal(received.getBody(), 'two\nlines');
        }));
    },

    async 'controls a call that the switch brings'() {
        const listener = net.createServer();
        await new Promise(resolve => listener.listen(0, '127.0.0.1', resolve));
        const server = new esl.Server({ server: listener, myevents: true });
        try {
            await withConnection(async connection => {
                const arrived = new Promise(resolve => server.on('connection::ready', resolve));
                await subscribe(connection, ['CHANNEL_HANGUP_COMPLETE']);
                const socket = `&socket(127.0.0.1:${listener.address().port} async full)`;
                const uuid = await originate(connection, `{tenant=acme}null/out ${socket}`);
                const call = await arrived;
                assert.equal(call.getInfo().getHeader('Unique-ID'), uuid);
                assert.equal(call.getInfo().getHeader('variable_tenant'), 'acme');
                const ended = event(connection, `CHANNEL_HANGUP_COMPLETE::${uuid}`);
                await new Promise(resolve => call.execute('answer', '', resolve));
                const played = await new Promise(resolve => call.execute('playback', 'silence_stream://200', resolve));
                assert.equal(played.getHeader('Application-Response'), 'FILE PLAYED');
                call.execute('hangup', 'USER_BUSY');
                assert.equal((await ended).getHeader('Hangup-Cause'), 'USER_BUSY');
            });
        } finally {
            listener.close();
        }
    },
};

async function main() {
    let failed = 0;
    for (const [what, step] of Object.entries(steps)) {
        const late = new Promise((_, reject) => {
            setTimeout(() => reject(new Error(`not done after ${STEP_MS / 1000} s`)), STEP_MS).unref();
        });
        try {
            await Promise.race([step(), late]);
            console.log(`passed modesl: ${what}`);
        } catch (error) {
            failed += 1;
            console.log(`FAILED modesl: ${what}: ${String(error.message).replace(/\s+/g, ' ')}`);
        }
    }
    process.exit(failed ? 1 : 0);
}

main();
