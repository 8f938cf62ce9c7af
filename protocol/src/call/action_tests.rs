use serde_json::{Value, json};

use super::*;

fn lowered(step: Value) -> Result<String, String> {
    let action: Action = serde_json::from_value(step).map_err(|error| error.to_string())?;
    let step = action.lower().map_err(|error| error.to_string())?;
    Ok(format!("{} {}", step.application, step.argument))
}

fn digits(changed: Value) -> Value {
    let mut step = json!({
        "do": "collect_digits", "min": 1, "max": 4, "timeout_ms": 5000, "prompt": "/s/menu.wav", "variable": "choice",
    });
    let fields = step.as_object_mut().unwrap();
    fields.extend(changed.as_object().unwrap().clone());
    step
}

#[test]
fn each_step_is_one_application() {
    let all = json!({
        "tries": 3, "terminators": "#*", "invalid_prompt": "/s/wrong.wav", "pattern": r"^[12]\d{1,3}$",
    });
    for (step, words) in [
        (json!({"do": "answer"}), "answer "),
        (json!({"do": "play", "file": "two words.wav"}), "playback two words.wav"),
        (
            digits(json!({})),
            r"play_and_get_digits 1 4 1 5000 none /s/menu.wav silence_stream://250 choice \d+",
        ),
        (digits(all), r"play_and_get_digits 1 4 3 5000 #* /s/menu.wav /s/wrong.wav choice ^[12]\d{1,3}$"),
        (json!({"do": "record", "path": "/r/a.wav"}), "record /r/a.wav"),
        (json!({"do": "record", "path": "/r/a.wav", "limit_seconds": 60}), "record /r/a.wav 60"),
        (
            json!({"do": "record", "path": "/r/${uuid}.wav", "silence_threshold": 200, "silence_seconds": 3}),
            "record /r/${uuid}.wav 0 200 3",
        ),
        (json!({"do": "record_session", "path": "/r/a b.wav"}), "record_session /r/a b.wav"),
        (
            json!({"do": "record_session", "path": "http_cache://h/a.wav", "limit_seconds": 9}),
            "record_session http_cache://h/a.wav +9",
        ),
        (json!({"do": "bridge", "to": "user/1001"}), "bridge user/1001"),
        (
            json!({"do": "bridge", "to": "{a='x y'}[b=1]user/${choice}|user/2", "timeout_seconds": 20}),
            "bridge {originate_timeout=20}{a='x y'}[b=1]user/${choice}|user/2",
        ),
        (json!({"do": "hangup"}), "hangup NORMAL_CLEARING"),
        (json!({"do": "hangup", "cause": "USER_BUSY"}), "hangup USER_BUSY"),
        (json!({"do": "execute", "application": "sleep", "argument": "20"}), "sleep 20"),
    ] {
        assert_eq!(lowered(step.clone()).as_deref(), Ok(words), "{step}");
    }
}

#[test]
fn what_the_application_would_take_otherwise_is_refused_by_its_field() {
    for (step, field) in [
        (json!({"do": "play", "file": ""}), "file"),
        (json!({"do": "play", "file": " a.wav"}), "file"),
        (json!({"do": "play", "file": "a.wav\n\nexit"}), "file"),
        (digits(json!({"min": 0})), "min"),
        (digits(json!({"min": 5})), "min"),
        (digits(json!({"max": 129})), "max"),
        (digits(json!({"tries": 0})), "tries"),
        (digits(json!({"timeout_ms": 0})), "timeout_ms"),
        (digits(json!({"terminators": "#x"})), "terminators"),
        (digits(json!({"prompt": "a menu.wav"})), "prompt"),
        (digits(json!({"prompt": "it's.wav"})), "prompt"),
        (digits(json!({"invalid_prompt": "a\\nb.wav"})), "invalid_prompt"),
        (digits(json!({"variable": "a b"})), "variable"),
        (digits(json!({"variable": "Fipple_done"})), "variable"),
        (digits(json!({"pattern": ""})), "pattern"),
        (digits(json!({"pattern": r"\d \d"})), "pattern"),
        (digits(json!({"pattern": r"\s+"})), "pattern"),
        (digits(json!({"pattern": "1\\"})), "pattern"),
        (json!({"do": "record", "path": "a.wav"}), "path"),
        (json!({"do": "record", "path": "/r/a"}), "path"),
        (json!({"do": "record", "path": "/r/a b.wav"}), "path"),
        (json!({"do": "record", "path": "/r/a.wav", "limit_seconds": 0}), "limit_seconds"),
        (json!({"do": "record", "path": "/r/a.wav", "silence_threshold": 9}), "silence_seconds"),
        (json!({"do": "record", "path": "/r/a.wav", "silence_seconds": 9}), "silence_threshold"),
        (json!({"do": "record_session", "path": "recordings/a.wav"}), "path"),
        (json!({"do": "bridge", "to": ""}), "to"),
        (json!({"do": "bridge", "to": "{a=b user/1"}), "to"),
        (json!({"do": "bridge", "to": "user/1]"}), "to"),
        (json!({"do": "bridge", "to": "user/1", "timeout_seconds": 0}), "timeout_seconds"),
        (json!({"do": "hangup", "cause": "USER_BUSSY"}), "cause"),
        (json!({"do": "answer", "file": "a.wav"}), "file"),
        (json!({"do": "play"}), "file"),
        (json!({"do": "play", "file": "a.wav", "volume": 1}), "volume"),
        (json!({"do": "dance"}), "dance"),
    ] {
        let said = lowered(step.clone()).unwrap_err();
        assert!(said.contains(&format!("`{field}`")), "{step}: {said}");
    }
}
