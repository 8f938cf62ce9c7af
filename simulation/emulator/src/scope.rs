//! Variables that live as long as one application: `%[a=b]...` or `%;[a=b;c=d]...` before its argument.

use crate::channel::Channel;
use crate::event::Event;
use crate::separate;

/// The variables of one application that is running.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    pub(crate) variables: Vec<(String, String)>,
    /// How many applications were running outside of it.
    depth: usize,
}

/// Takes the variables off an argument; `None` if there are none.
pub(crate) fn parse(argument: &str) -> Option<(Vec<(String, String)>, &str)> {
    /// As many as FreeSWITCH takes.
    const VARIABLES_MAX: usize = 1_024;
    let rest = argument.strip_prefix('%')?;
    let (delimiter, inside) = match rest.strip_prefix('[') {
        Some(inside) => (',', inside),
        None => {
            let delimiter = rest.chars().next()?;
            (delimiter, rest[delimiter.len_utf8()..].strip_prefix('[')?)
        }
    };
    let end = end_of(inside)?;
    let assignments = separate::fields(&inside[..end], delimiter, VARIABLES_MAX);
    let variables = assignments.iter().filter_map(|assignment| {
        let mut pair = separate::fields(assignment, '=', 2).into_iter();
        Some((pair.next()?, pair.next()?))
    });
    Some((variables.collect(), &inside[end + 1..]))
}

fn end_of(inside: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (index, character) in inside.char_indices() {
        match character {
            '[' => depth += 1,
            ']' if depth == 0 => return Some(index),
            ']' => depth -= 1,
            _ => {}
        }
    }
    None
}

impl Channel {
    /// An application begins that has variables of its own.
    pub(crate) fn open_scope(&mut self, variables: Vec<(String, String)>) {
        self.scopes.push(Scope { variables, depth: self.stack.len() });
    }

    /// The application on top has ended and told so.
    pub(crate) fn close_scope(&mut self) {
        let depth = self.stack.len();
        self.scopes.retain(|scope| scope.depth < depth);
    }

    /// Adds the headers of all scopes, the innermost first.
    pub(crate) fn add_scopes<'a>(&'a self, event: &mut Event<'a>) {
        let mut told: Vec<&str> = Vec::new();
        for (name, value) in self.scopes.iter().rev().flat_map(|scope| &scope.variables) {
            if !told.contains(&name.as_str()) {
                told.push(name);
                event.add(format!("scope_variable_{name}"), value.as_str());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_before_an_argument() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let (variables, rest) = parse("%[a=1,b=x=y]rest").unwrap();
        assert_eq!((variables, rest), (vec![pair("a", "1"), pair("b", "x=y")], "rest"));
        let (variables, rest) = parse("%;[a=1,2;b=p:q[0]]step XML fipple").unwrap();
        assert_eq!((variables, rest), (vec![pair("a", "1,2"), pair("b", "p:q[0]")], "step XML fipple"));
        for plain in ["", "a=1", "%", "%(200,0,440)", "%[a=1", "[a=1]x"] {
            assert!(parse(plain).is_none(), "{plain}");
        }
    }
}
