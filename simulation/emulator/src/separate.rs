//! How FreeSWITCH takes its arguments apart (`switch_separate_string`): single quotes and `\` protect the delimiter.

/// Splits at `delimiter` into at most `most` fields; the last holds all the rest. A text that begins with `^^` names
/// its own delimiter.
pub(crate) fn fields(text: &str, delimiter: char, most: usize) -> Vec<String> {
    let named = text.strip_prefix("^^").and_then(|rest| {
        let delimiter = rest.chars().next()?;
        let rest = &rest[delimiter.len_utf8()..];
        (!rest.is_empty()).then_some((rest, delimiter))
    });
    let (text, delimiter) = named.unwrap_or((text, delimiter));
    if delimiter == ' ' {
        return words(text, most);
    }
    split(text, most, delimiter, false).iter().map(|field| clean(field, Some(delimiter))).collect()
}

/// Splits at runs of spaces into at most `most` words; the last holds all the rest.
pub(crate) fn words(text: &str, most: usize) -> Vec<String> {
    split(text, most, ' ', true).iter().map(|word| clean(word, None)).collect()
}

fn split(text: &str, most: usize, delimiter: char, skip_runs: bool) -> Vec<&str> {
    let mut fields = Vec::new();
    let mut start = 0;
    let mut quoted = false;
    let mut characters = text.char_indices().peekable();
    while let Some((index, character)) = characters.next() {
        let in_run = skip_runs && start == index && character == ' ';
        if in_run {
            start += 1;
            continue;
        }
        match character {
            '\\' => {
                characters.next();
            }
            '\'' if quoted || skip_runs || text[index + 1..].contains('\'') => quoted = !quoted,
            _ if character == delimiter && !quoted => {
                if fields.len() + 1 >= most {
                    break;
                }
                fields.push(&text[start..index]);
                start = index + delimiter.len_utf8();
            }
            _ => {}
        }
    }
    if start < text.len() {
        fields.push(&text[start..]);
    }
    fields
}

/// Takes quotes, escapes and the spaces at both ends away.
fn clean(field: &str, delimiter: Option<char>) -> String {
    let mut cleaned = String::with_capacity(field.len());
    let mut kept = 0;
    let mut quoted = false;
    let mut rest = field.trim_start_matches(' ');
    while let Some(character) = rest.chars().next() {
        rest = &rest[character.len_utf8()..];
        let next = rest.chars().next().filter(|_| character == '\\');
        if let Some((next, meant)) = next.and_then(|next| Some((next, unescape(next, delimiter)?))) {
            rest = &rest[next.len_utf8()..];
            cleaned.push(meant);
            kept = cleaned.len();
        } else if character == '\'' && (quoted || rest.contains('\'')) {
            quoted = !quoted;
            if quoted {
                kept = cleaned.len();
            }
        } else {
            cleaned.push(character);
            if character != ' ' || quoted {
                kept = cleaned.len();
            }
        }
    }
    cleaned.truncate(kept);
    cleaned
}

fn unescape(next: char, delimiter: Option<char>) -> Option<char> {
    match next {
        '\'' | '"' | '\\' => Some(next),
        _ if Some(next) == delimiter => Some(next),
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        's' => Some(' '),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_escapes_protect() {
        assert_eq!(words("'a b'  c\\ d e", 9), ["a b", "c\\ d", "e"]);
        assert_eq!(words(" a b  c d", 3), ["a", "b", "c d"]);
        assert_eq!(fields("a,'b,c', d ,", ',', 9), ["a", "b,c", "d"]);
        assert_eq!(fields(r"x\,y,z\n", ',', 9), ["x,y", "z\n"]);
        assert_eq!(fields("^^:a:b,c", ',', 9), ["a", "b,c"]);
        assert_eq!(fields("a//b/c/d", '/', 4), ["a", "", "b", "c/d"]);
        assert_eq!(fields("it's", ',', 9), ["it's"]);
        assert!(words("", 9).is_empty() && words("   ", 9).is_empty());
    }
}
