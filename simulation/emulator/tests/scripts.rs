//! Lua on the emulated switch: what a script is given, what it is not, and how it shares the switch with others.
#![allow(clippy::unwrap_used, reason = "it is test code, which clippy sees only in #[test]")]
#![allow(clippy::disallowed_methods, reason = "the deployed scripts are listed from the real disk")]

mod common;

use common::{Bench, FIRST, SECOND, frames};
use fipple_emulator::Config;

/// A switch that has these scripts, and a controller that has logged in and hears events.
fn with(scripts: &[(&str, &str)]) -> Bench {
    let lua_scripts = scripts.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    let mut bench = Bench::connected(Config { lua_scripts, ..Config::default() });
    bench.say(FIRST, "auth ClueCon\n\nevent plain ALL");
    bench.take(FIRST);
    bench
}

/// What a script writes as an API command.
fn output(text: &str) -> String {
    with(&[("test.lua", text)]).ask("api lua test.lua one 'two words' 3")
}

#[test]
fn every_script_that_is_deployed_compiles_and_is_on_the_default_switch() {
    let scripts = Config::default().lua_scripts;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/freeswitch/scripts");
    let mut files = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(scripts[path.file_name().unwrap().to_str().unwrap()], text);
        // As luac does: loaded, not run.
        let lua = mlua::Lua::new();
        lua.load(&text).into_function().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        files += 1;
    }
    assert_eq!(files, scripts.len());
}

#[test]
fn arguments_come_as_words() {
    assert_eq!(output("stream:write(argv[0] .. '|' .. table.concat(argv, '|'))"), "test.lua|one|two words|3");
    assert_eq!(output("stream:write(tostring(session) .. tostring(argv[4]))"), "nilnil");
}

#[test]
fn a_run_depends_on_its_inputs_alone() {
    let absent = "for _, name in ipairs({'io', 'os', 'package', 'coroutine', 'load', 'loadfile', 'dofile', 'require', \
                  'next', 'debug', 'collectgarbage'}) do if _G[name] then stream:write(name .. ' ') end end \
                  stream:write(tostring(math.random))";
    assert_eq!(output(absent), "nil");
    let ordered = "local t = {} for _, key in ipairs({'z', 'b', 7, 'a', 2, true}) do t[key] = 1 end \
                   for key in pairs(t) do stream:write(tostring(key) .. ' ') end stream:write(tostring(t))";
    assert_eq!(output(ordered), "true 2 7 a b z table");
}

#[test]
fn a_script_has_its_bounds() {
    let refused = "-ERR Cannot execute script\n";
    assert_eq!(output("local t = {} while true do t[#t + 1] = ('x'):rep(1000000) .. #t end"), refused);
    assert_eq!(output("while true do end"), refused);
    assert_eq!(output("return (('x'):gsub('x', function() while true do end end))"), refused);
    assert_eq!(output("local function f() return f() + 1 end f()"), refused);
    // A thousand years would pass otherwise.
    assert_eq!(output("freeswitch.msleep(1e15)"), refused);
    let nested = "stream:write('.' .. freeswitch.API():execute('lua', 'test.lua'))";
    assert_eq!(output(nested), format!("{}{refused}", ".".repeat(8)));
}

#[test]
fn what_a_script_calls_and_fires_is_told() {
    let script = "local api = freeswitch.API() \
                  stream:write(api:executeString('echo  a b') .. '|' .. api:execute('strepoch')) \
                  local event = freeswitch.Event('CUSTOM', 'test::mine') event:addHeader('X', 'a b') \
                  event:addBody('the body') stream:write('|' .. tostring(event:fire())) \
                  freeswitch.Event('nonsense'):fire() stream:write('|' .. api:execute('nosuch', ''))";
    let mut bench = with(&[("test.lua", script)]);
    let reply = bench.ask("api lua test.lua");
    assert_eq!(reply, " a b|1795406400|true|-ERR nosuch Command not found!\n");
    let events = bench.events();
    let names: Vec<_> =
        events.iter().map(|event| format!("{} {}", event.name(), event.get("API-Command"))).collect();
    assert_eq!(names, ["API echo", "API strepoch", "CUSTOM ", "MESSAGE ", "API nosuch", "API lua"]);
    assert_eq!(events[2].get("Event-Subclass"), "test::mine");
    assert_eq!((events[2].get("X"), events[2].get("Content-Length")), ("a b", "8"));
    assert_eq!(events[2].get("Event-Calling-File"), "switch_cpp.cpp");
}

#[test]
fn a_script_in_a_channel_holds_that_channel_alone() {
    let script = "session:setVariable('first', tostring(session:ready())) \
                  session:execute('playback', 'tone_stream://%(500,0,440)') \
                  freeswitch.msleep(500) \
                  session:setVariable('second', session:getVariable('current_application_response') or 'nothing') \
                  session:setVariable('third', tostring(session:getVariable('never')))";
    let mut bench = with(&[("test.lua", script)]);
    bench.park("u");
    bench.park("v");
    bench.execute("u", "lua", "test.lua", "\nevent-lock: true");
    bench.execute("u", "set", "behind=1", "\nevent-lock: true");
    let get =
        |bench: &mut Bench, uuid: &str, name: &str| bench.ask(&format!("api uuid_getvar {uuid} {name}"));
    bench.wait_ms(900);
    assert_eq!(get(&mut bench, "u", "first"), "true");
    assert_eq!(get(&mut bench, "u", "second"), "_undef_");
    bench.execute("v", "set", "other=1", "");
    assert_eq!(get(&mut bench, "v", "other"), "1");
    bench.wait_ms(100);
    assert_eq!(get(&mut bench, "u", "second"), "FILE PLAYED");
    assert_eq!(get(&mut bench, "u", "third"), "nil");
    assert_eq!(get(&mut bench, "u", "behind"), "1");
}

#[test]
fn a_script_may_hang_up_and_goes_on_to_its_end() {
    let script = "session:hangup('USER_BUSY') session:execute('playback', 'tone_stream://%(500,0,440)') \
                  session:execute('set', 'after=' .. tostring(session:ready()))";
    let mut bench = with(&[("test.lua", script)]);
    bench.park("u");
    bench.take(FIRST);
    bench.execute("u", "lua", "test.lua", "");
    let events = bench.events();
    let starts: Vec<_> = events.iter().filter(|event| event.name() == "CHANNEL_EXECUTE").collect();
    let applications: Vec<_> = starts.iter().map(|event| event.get("Application")).collect();
    assert_eq!(applications, ["lua", "set"], "a dead channel plays nothing");
    let ended = events.iter().find(|event| event.name() == "CHANNEL_HANGUP_COMPLETE").unwrap();
    assert_eq!((ended.get("variable_after"), ended.get("Hangup-Cause")), ("false", "USER_BUSY"));
    assert_eq!(bench.switch.ledger().call("u").unwrap().cause, "USER_BUSY");
}

#[test]
fn a_script_that_sleeps_lets_others_go_on_and_answers_later() {
    let script =
        "freeswitch.msleep(200) stream:write('woken ' .. freeswitch.API():execute('global_getvar', 'x'))";
    let mut bench = with(&[("test.lua", script)]);
    bench.connect(SECOND);
    bench.say(SECOND, "auth ClueCon");
    bench.take(FIRST);
    bench.say(FIRST, "api lua test.lua\n\napi echo behind");
    bench.say(SECOND, "api global_setvar x=meanwhile");
    bench.wait_ms(199);
    assert!(bench.take(FIRST).is_empty());
    bench.wait_ms(1);
    let replies = frames(&bench.take(FIRST));
    let replies: Vec<_> = replies.iter().filter(|frame| frame.content_type() == "api/response").collect();
    assert_eq!([&*replies[0].body, &*replies[1].body], ["woken meanwhile", "behind"]);
}

#[test]
fn a_script_waits_for_what_it_calls() {
    let outer = "local api = freeswitch.API() \
                 local result = api:execute('lua', 'inner.lua') .. api:execute('originate', 'user/9 &park()') \
                 if stream then stream:write(result) else session:setVariable('got', result) end";
    let inner = "freeswitch.msleep(100) stream:write('inner;')";
    let mut bench = with(&[("outer.lua", outer), ("inner.lua", inner)]);
    bench.park("u");
    bench.take(FIRST);
    bench.say(FIRST, "api lua outer.lua");
    bench.wait_ms(250);
    assert!(bench.take(FIRST).is_empty());
    bench.wait_ms(100);
    let reply = frames(&bench.take(FIRST)).remove(0);
    assert!(reply.body.starts_with("inner;+OK "), "{}", reply.body);
    bench.execute("u", "lua", "outer.lua", "");
    bench.execute("u", "set", "behind=1", "");
    bench.wait_ms(250);
    assert_eq!(bench.ask("api uuid_getvar u behind"), "_undef_");
    bench.wait_ms(100);
    assert!(bench.ask("api uuid_getvar u got").starts_with("inner;+OK "));
    assert_eq!(bench.ask("api uuid_getvar u behind"), "1");
}

#[test]
fn a_switch_without_mod_lua_knows_no_lua() {
    let mut bench = Bench::connected(Config { mod_lua: false, ..Config::default() });
    bench.say(FIRST, "auth ClueCon");
    assert_eq!(bench.ask("api lua fipple_step.lua version"), "-ERR lua Command not found!\n");
    assert_eq!(bench.ask("api module_exists mod_lua"), "false");
    assert!(!bench.ask("api show interfaces").contains("lua"));
    bench.park("u");
    bench.execute("u", "lua", "fipple_step.lua 1 1 answer", "");
    assert_eq!(bench.switch.ledger().call("u").unwrap().cause, "DESTINATION_OUT_OF_ORDER");
}

#[test]
fn variables_are_expanded_with_pieces_elements_and_commands() {
    let mut bench = Bench::logged_in();
    bench.park("u");
    for (argument, value) in [
        ("plain=12345", "12345"),
        ("piece=${plain:1:2}${plain:-1}", "235"),
        ("inner=<${${name}}>", "<>"),
        ("name=plain", "plain"),
        ("inner=<${${name}}>", "<12345>"),
        ("twice=${inner}", "<12345>"),
        (r"escaped=\${plain}", "${plain}"),
        ("called=${echo(a ${plain} (b))}.${nosuch(x)}.", "a 12345 (b).."),
        ("global=$${domain}", "lab.local"),
        ("%[deep=1]scoped=${deep}", ""),
        ("circle=${circle}${circle}", ""),
    ] {
        bench.execute("u", "set", argument, "");
        let name = argument.trim_start_matches("%[deep=1]").split('=').next().unwrap().to_owned();
        let expected = if value.is_empty() { "_undef_" } else { value };
        assert_eq!(bench.ask(&format!("api uuid_getvar u {name}")), expected, "{argument}");
    }
    // The scope begins when the argument has been expanded.
    bench.execute("u", "push", "list=a", "");
    bench.execute("u", "push", "list=b", "");
    bench.execute("u", "set", "second=${list[1]}${list[2]}", "");
    assert_eq!(bench.ask("api uuid_getvar u second"), "b");
    assert_eq!(bench.ask("api uuid_getvar u list[0]"), "a");
    assert_eq!(bench.ask("api uuid_getvar u list[2]"), "_undef_");
    assert_eq!(bench.ask("api uuid_setvar u list[2] c"), "+OK\n");
    assert_eq!(bench.ask("api uuid_getvar u list"), "ARRAY::a|:b|:c");
    // What calls itself comes to an end.
    bench.ask("api uuid_setvar u circle ${circle}${circle}");
    bench.execute("u", "set", "circle=x${circle}", "");
    assert_eq!(bench.ask("api uuid_exists u"), "true");
}
