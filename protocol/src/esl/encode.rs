//! What a switch writes to a controller: replies, and events in the three formats.
//!
//! The escaping is FreeSWITCH's own, measured in the transcripts h_encoding_misc: which characters become `%XX`,
//! that a `%` before two upper-case hex digits stays as it is, and that JSON and XML escape in their own way.

use std::fmt::Write as _;

use super::raw_text;

/// In which form a connection gets its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventFormat {
    /// `Name: percent-encoded value` lines.
    Plain,
    /// One JSON object.
    Json,
    /// An `<event>` element.
    Xml,
}

impl EventFormat {
    /// The word that names it in `event <format> ...`, in its reply and in `text/event-<format>`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Json => "json",
            Self::Xml => "xml",
        }
    }
}

/// What [`write_event`] writes: headers in their order, and a body if the event has one.
pub trait EventSource {
    /// Calls `visit` with each header's name and value, undecorated.
    fn visit_headers(&self, visit: &mut dyn FnMut(&str, &str));
    /// The event's own body.
    fn body(&self) -> Option<&str>;
}

/// The separator between the elements of an array, after [`ARRAY_PREFIX`].
pub const ARRAY_SEPARATOR: &str = "|:";

/// How a value that is an array begins.
pub const ARRAY_PREFIX: &str = "ARRAY::";

/// Appends `text` with every byte that FreeSWITCH encodes as `%XX`.
pub fn percent_encode(output: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let bytes = text.as_bytes();
    // Most values have nothing to encode: what stays is copied in runs.
    let mut run_start = 0;
    let mut index = 0;
    while let Some(&byte) = bytes.get(index) {
        if !MUST_ENCODE[usize::from(byte)] || (byte == b'%' && is_encoded(&bytes[index..])) {
            index += 1;
            continue;
        }
        output.extend_from_slice(&bytes[run_start..index]);
        let (byte, size_bytes) = raw_text::first_byte(&bytes[index..]);
        output.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        index += size_bytes;
        run_start = index;
    }
    output.extend_from_slice(&bytes[run_start..]);
}

/// [`must_encode`] of every byte.
const MUST_ENCODE: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = must_encode(byte as u8);
        byte += 1;
    }
    table
};

const fn must_encode(byte: u8) -> bool {
    byte < b'!'
        || byte > b'~'
        || matches!(
            byte,
            b'#' | b'%'
                | b'&'
                | b'+'
                | b':'
                | b';'
                | b'<'
                | b'='
                | b'>'
                | b'?'
                | b'@'
                | b'['
                | b'\\'
                | b']'
                | b'^'
                | b'`'
                | b'{'
                | b'|'
                | b'}'
                | b'"'
        )
}

/// Whether `%` is followed by two upper-case hex digits: FreeSWITCH then takes it for encoded already.
fn is_encoded(bytes: &[u8]) -> bool {
    matches!(bytes, [b'%', high, low, ..] if is_upper_hex(*high) && is_upper_hex(*low))
}

fn is_upper_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'A'..=b'F')
}

/// Appends a whole event frame: its two outer headers and the event in `format`.
pub fn write_event(output: &mut Vec<u8>, format: EventFormat, event: &dyn EventSource) {
    // The head tells the content's length, and is not longer than this with the longest length there can be.
    const HEAD_MAX_BYTES: usize = 72;
    let start = output.len();
    let content_start = start + HEAD_MAX_BYTES;
    output.resize(content_start, 0);
    match format {
        EventFormat::Plain => write_plain(output, event),
        EventFormat::Json => write_json(output, event),
        EventFormat::Xml => write_xml(output, event),
    }
    let length = output.len() - content_start;
    let head = format!("Content-Length: {length}\nContent-Type: text/event-{}\n\n", format.name());
    let head_end = start + head.len();
    output[start..head_end].copy_from_slice(head.as_bytes());
    output.copy_within(content_start.., head_end);
    output.truncate(head_end + length);
}

/// Appends an event as `Name: value` lines, a blank line and its body: the content of a `text/event-plain` frame,
/// and what `uuid_dump` answers.
pub fn write_plain(output: &mut Vec<u8>, event: &dyn EventSource) {
    event.visit_headers(&mut |name, value| {
        output.extend_from_slice(name.as_bytes());
        output.extend_from_slice(b": ");
        percent_encode(output, plain_value(value));
        output.push(b'\n');
    });
    match event.body() {
        Some(body) => {
            let size_bytes = raw_text::size_bytes(body);
            output.extend_from_slice(format!("Content-Length: {size_bytes}\n\n").as_bytes());
            raw_text::write(output, body);
        }
        None => output.push(b'\n'),
    }
}

/// An array of one element is written as that element.
fn plain_value(value: &str) -> &str {
    match value.strip_prefix(ARRAY_PREFIX) {
        Some(elements) if !elements.contains(ARRAY_SEPARATOR) => elements,
        _ => value,
    }
}

/// Appends an event as one JSON object; the body is `_body`.
pub fn write_json(output: &mut Vec<u8>, event: &dyn EventSource) {
    output.push(b'{');
    let mut first = true;
    event.visit_headers(&mut |name, value| {
        if !std::mem::take(&mut first) {
            output.push(b',');
        }
        write_json_string(output, name);
        output.push(b':');
        match value.strip_prefix(ARRAY_PREFIX) {
            Some(elements) => write_json_array(output, elements),
            None => write_json_string(output, value),
        }
    });
    if let Some(body) = event.body() {
        let separator = if first { "" } else { "," };
        let size_bytes = raw_text::size_bytes(body);
        output.extend_from_slice(
            format!("{separator}\"Content-Length\":\"{size_bytes}\",\"_body\":").as_bytes(),
        );
        write_json_string(output, body);
    }
    output.push(b'}');
}

fn write_json_array(output: &mut Vec<u8>, elements: &str) {
    output.push(b'[');
    for (index, element) in elements.split(ARRAY_SEPARATOR).enumerate() {
        if index > 0 {
            output.push(b',');
        }
        write_json_string(output, element);
    }
    output.push(b']');
}

/// Appends `text` as a JSON string: only quotes, backslashes and control characters are escaped.
pub fn write_json_string(output: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let mut index = 0;
    output.push(b'"');
    while index < bytes.len() {
        let (byte, size_bytes) = raw_text::first_byte(&bytes[index..]);
        index += size_bytes;
        match byte {
            b'"' => output.extend_from_slice(b"\\\""),
            b'\\' => output.extend_from_slice(b"\\\\"),
            b'\n' => output.extend_from_slice(b"\\n"),
            b'\r' => output.extend_from_slice(b"\\r"),
            b'\t' => output.extend_from_slice(b"\\t"),
            0x08 => output.extend_from_slice(b"\\b"),
            0x0c => output.extend_from_slice(b"\\f"),
            0..=0x1f => output.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => output.push(byte),
        }
    }
    output.push(b'"');
}

/// Appends an event as an `<event>` element; values are percent-encoded, the body is not.
pub fn write_xml(output: &mut Vec<u8>, event: &dyn EventSource) {
    output.extend_from_slice(b"<event>\n  <headers>\n");
    // An array has an element for each item (transcript h_encoding_misc/sendevent_values_xml).
    event.visit_headers(&mut |name, value| match value.strip_prefix(ARRAY_PREFIX) {
        Some(items) => items.split(ARRAY_SEPARATOR).for_each(|item| write_xml_header(output, name, item)),
        None => write_xml_header(output, name, value),
    });
    output.extend_from_slice(b"  </headers>\n");
    if let Some(body) = event.body() {
        output.extend_from_slice(
            format!("  <Content-Length>{}</Content-Length>\n  <body>", raw_text::size_bytes(body)).as_bytes(),
        );
        output.extend_from_slice(xml_text(body).as_bytes());
        // Where the body's last line has ended, the closing tag is indented as a line of its own.
        output.extend_from_slice(if body.ends_with('\n') { &b"  </body>\n"[..] } else { b"</body>\n" });
    }
    output.extend_from_slice(b"</event>\n");
}

fn write_xml_header(output: &mut Vec<u8>, name: &str, value: &str) {
    output.extend_from_slice(b"    <");
    output.extend_from_slice(name.as_bytes());
    output.push(b'>');
    percent_encode(output, value);
    output.extend_from_slice(b"</");
    output.extend_from_slice(name.as_bytes());
    output.extend_from_slice(b">\n");
}

fn xml_text(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            _ if character.is_ascii() => escaped.push(character),
            _ => {
                // Writing to a String cannot fail.
                let _ = write!(escaped, "&#x{:X};", u32::from(character));
            }
        }
    }
    escaped
}

/// Appends a `command/reply` with its text.
pub fn write_command_reply(output: &mut Vec<u8>, text: &str) {
    raw_text::write(output, &format!("Content-Type: command/reply\nReply-Text: {text}\n\n"));
}

/// Appends the reply to `bgapi`, which names the job twice.
pub fn write_job_reply(output: &mut Vec<u8>, job_uuid: &str) {
    output.extend_from_slice(
        format!(
            "Content-Type: command/reply\nReply-Text: +OK Job-UUID: {job_uuid}\nJob-UUID: {job_uuid}\n\n"
        )
        .as_bytes(),
    );
}

/// Appends an `api/response`. An empty result is `-ERR no reply`.
pub fn write_api_response(output: &mut Vec<u8>, result: &str) {
    let result = if result.is_empty() { "-ERR no reply\n" } else { result };
    let size_bytes = raw_text::size_bytes(result);
    output.extend_from_slice(
        format!("Content-Type: api/response\nContent-Length: {size_bytes}\n\n").as_bytes(),
    );
    raw_text::write(output, result);
}

/// Appends the `auth/request` that greets a controller.
pub fn write_auth_request(output: &mut Vec<u8>) {
    output.extend_from_slice(b"Content-Type: auth/request\n\n");
}

/// Appends the notice that is a connection's last frame.
pub fn write_disconnect_notice(output: &mut Vec<u8>) {
    const TEXT: &str = "Disconnected, goodbye.\nSee you at ClueCon! http://www.cluecon.com/\n";
    output.extend_from_slice(
        format!("Content-Type: text/disconnect-notice\nContent-Length: {}\n\n{TEXT}", TEXT.len()).as_bytes(),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Event(&'static [(&'static str, &'static str)], Option<&'static str>);

    impl EventSource for Event {
        fn visit_headers(&self, visit: &mut dyn FnMut(&str, &str)) {
            self.0.iter().for_each(|(name, value)| visit(name, value));
        }

        fn body(&self) -> Option<&str> {
            self.1
        }
    }

    fn encoded(text: &str) -> String {
        let mut output = Vec::new();
        percent_encode(&mut output, text);
        String::from_utf8(output).unwrap()
    }

    /// The values and encodings of transcript h_encoding_misc/sendevent_values_plain.
    #[test]
    fn values_are_encoded_as_freeswitch_does() {
        for (value, expected) in [
            ("%", "%25"),
            ("%41", "%41"),
            ("100%", "100%25"),
            ("a%zz", "a%25zz"),
            ("%25", "%25"),
            ("a%2f", "a%252f"),
            ("a b", "a%20b"),
            ("a+b", "a%2Bb"),
            ("žluť", "%C5%BElu%C5%A5"),
            ("tab\tx", "tab%09x"),
            ("quote\"'", "quote%22'"),
            ("<>&", "%3C%3E%26"),
            ("[x]{y}", "%5Bx%5D%7By%7D"),
            ("a,b;c", "a,b%3Bc"),
            ("a=b&c", "a%3Db%26c"),
            ("~!*()", "~!*()"),
            ("back\\slash", "back%5Cslash"),
            ("a:b|c", "a%3Ab%7Cc"),
            ("trail ", "trail%20"),
        ] {
            assert_eq!(encoded(value), expected, "of {value:?}");
        }
    }

    #[test]
    fn the_three_formats() {
        let event =
            Event(&[("Event-Name", "CUSTOM"), ("a", "ARRAY::x|:y"), ("one", "ARRAY::z")], Some("<é>\n"));
        let mut output = Vec::new();
        write_event(&mut output, EventFormat::Plain, &event);
        let content = "Event-Name: CUSTOM\na: ARRAY%3A%3Ax%7C%3Ay\none: z\nContent-Length: 5\n\n<é>\n";
        let head = format!("Content-Length: {}\nContent-Type: text/event-plain\n\n", content.len());
        assert_eq!(String::from_utf8(output).unwrap(), head + content);

        let mut output = Vec::new();
        write_json(&mut output, &event);
        let json =
            r#"{"Event-Name":"CUSTOM","a":["x","y"],"one":["z"],"Content-Length":"5","_body":"<é>\n"}"#;
        assert_eq!(String::from_utf8(output).unwrap(), json);

        let mut output = Vec::new();
        write_xml(&mut output, &event);
        let xml = "<event>\n  <headers>\n    <Event-Name>CUSTOM</Event-Name>\n    <a>x</a>\n    <a>y</a>\n    \
                   <one>z</one>\n  </headers>\n  <Content-Length>5</Content-Length>\n  \
                   <body>&lt;&#xE9;&gt;\n  </body>\n</event>\n";
        assert_eq!(String::from_utf8(output).unwrap(), xml);
    }

    #[test]
    fn an_empty_result_has_a_text_of_its_own() {
        let mut output = Vec::new();
        write_api_response(&mut output, "");
        assert_eq!(output, b"Content-Type: api/response\nContent-Length: 14\n\n-ERR no reply\n");
    }
}
